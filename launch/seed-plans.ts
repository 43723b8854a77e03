import { PROVIDERS } from './litellm-providers';

/** A model as far as the demonstration's plans care. */
export interface SeedModel {
  id: string;
  provider: string | null;
  /** Dollars per output token; null: unknown. */
  outputPrice: number | null;
  chat: boolean;
}
export const SEED_PLANS = ['free', 'pro', 'team'] as const;
export type SeedPlan = (typeof SEED_PLANS)[number];
export interface PlanContent {
  models: string[];
  defaultModel: string | null;
  /** Dollars a month for each of its users; null: no limit. */
  monthlyBudget: string | null;
}

/** What a user of the smallest plan may spend in a month, in dollars: so that there is a budget to look at. */
const FREE_BUDGET = '5';

/**
 * Providers whose models the biggest plan has whether they are served today or not: a key that is added later needs no
 * edit.
 */
const USUAL_PROVIDERS = [
  ...PROVIDERS.map(({ name }) => name),
  'vertex_ai',
  'cohere',
  'openrouter',
  'together_ai',
  'fireworks_ai',
  'perplexity',
  'bedrock',
  'azure',
  'ollama',
  'demo',
  'direct',
];

/**
 * Divides what is served among three plans, each with less than the next: a third of the chat models, the cheap ones;
 * two thirds and what is not for chat; everything. With fewer than three models not all steps can be made: every plan
 * then keeps at least one that chats.
 */
export function dividePlans(models: readonly SeedModel[]): Record<SeedPlan, PlanContent> {
  const chat = sortBySize(models.filter((model) => model.chat)).map(({ id }) => id);
  const others = models
    .filter((model) => !model.chat)
    .map(({ id }) => id)
    .sort();
  const free = Math.max(1, Math.floor(chat.length / 3));
  const step = Math.max(free + 1, Math.floor((chat.length * 2) / 3));
  // The last one stays for the biggest plan, unless this plan would then be the smallest one again.
  const pro = Math.min(step, others.length > 0 || chat.length > 2 ? Math.max(free, chat.length - 1) : chat.length);
  const providers = new Set([
    ...models.flatMap(({ provider }) => (provider === null ? [] : [provider])),
    ...USUAL_PROVIDERS,
  ]);
  const nameless = models
    .filter(({ provider }) => provider === null)
    .map(({ id }) => id)
    .sort();
  const defaultModel = chat[0] ?? null;
  // Under a budget, a model without a price is refused.
  const isPriced = chat
    .slice(0, free)
    .every((id) => models.some((model) => model.id === id && (model.outputPrice ?? 0) > 0));
  return {
    free: {
      models: chat.slice(0, free),
      defaultModel,
      monthlyBudget: isPriced && chat.length > 0 ? FREE_BUDGET : null,
    },
    pro: { models: [...chat.slice(0, pro), ...others], defaultModel, monthlyBudget: null },
    team: {
      models: [...[...providers].sort().map((provider) => `${provider}/*`), ...nameless],
      defaultModel,
      monthlyBudget: null,
    },
  };
}

/** By price where all have one; else by what the names say. */
function sortBySize(models: SeedModel[]): SeedModel[] {
  const priced = models.every(({ outputPrice }) => outputPrice !== null);
  const size = (model: SeedModel): number => (priced ? model.outputPrice! : sizeOfName(model.id));
  return models.sort((a, b) => size(a) - size(b) || a.id.localeCompare(b.id));
}

const SMALL = /(^|[-_./])(nano|mini|lite|small|tiny|flash|haiku|instant|[1-9]b)($|[-_./:])/i;
const BIG = /(^|[-_./])(large|big|opus|ultra|max|pro|o1|o3|thinking|reasoner|[1-9]\d\db)($|[-_./:])/i;
const sizeOfName = (id: string): number => (SMALL.test(id) ? 0 : BIG.test(id) ? 2 : 1);
