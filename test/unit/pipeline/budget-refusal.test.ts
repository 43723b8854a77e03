import type { Budget } from '../../../src/domain/budget';
import { budgetExceeded, modelUnpriced, type NotAdmitted } from '../../../src/services/pipeline/budget-refusal';
import type { ChatInput } from '../../../src/domain/chat';
import { worstCaseCost } from '../../../src/services/ledger/bound';
import type { CatalogModel } from '../../../src/domain/model';
import type { Plan } from '../../../src/domain/plan';
import type { Rates } from '../../../src/services/pricing/pricing.types';
import { worstRates } from '../../../src/services/pricing/worst-rates';
import type { Refusal } from '../../../src/domain/refusal';
import { ChatPrompt } from '../../../src/services/pipeline/operations/chat';
import { PromptBound } from '../../../src/services/pipeline/operations/prompt-bound';

type Exceeded = Extract<Refusal, { kind: 'BudgetExceeded' }>;

const model = (id: string, fields: Partial<CatalogModel> = {}): CatalogModel => ({
  id,
  label: id,
  provider: 'house',
  mode: 'CHAT',
  contextWindow: 100_000,
  maxOutputTokens: 8_000,
  capabilities: [],
  fallbacks: [],
  ...fields,
});
const planOf = (maxOutputTokens: number | null = null): Plan => ({
  id: 'pro',
  name: 'Pro',
  models: ['house/*'],
  defaultModel: null,
  limits: { requestsPerMinute: null, tokensPerMinute: null, parallelCalls: null, maxOutputTokens, monthlyBudget: null },
});
const budget = (fields: Partial<Budget> = {}): Budget => ({
  id: 'bud_1',
  organizationId: 'org_1',
  scope: 'ORGANIZATION',
  subjectId: 'org_1',
  period: 'MONTH',
  limit: '1',
  softLimit: null,
  timeZone: 'UTC',
  alertAtPercent: [80, 90],
  planId: null,
  byOperator: false,
  spent: '0.876',
  held: '0',
  remaining: '0.124',
  overage: '0',
  periodStart: new Date('2026-11-01T00:00:00Z'),
  resetsAt: new Date('2026-12-01T00:00:00Z'),
  ...fields,
});

/** Dollars per token. `dear` was asked for. */
const PRICES: Record<string, Rates> = {
  dear: { input: '0.00001', output: '0.0001' },
  cheap: { input: '0.000001', output: '0.000002' },
  free: { input: '0', output: '0' },
  reserve: { input: '0.001', output: '0.001' },
};

interface Scene {
  asked?: CatalogModel;
  models?: CatalogModel[];
  input?: Partial<ChatInput>;
  maxTokens?: number;
  room?: string;
  on?: Budget;
  onlyHeld?: boolean;
  plan?: Plan;
  prices?: Record<string, Rates>;
}

function refuse({
  asked = model('dear'),
  models = [],
  input: fields = {},
  maxTokens = 4_000,
  room = '0.124',
  on = budget(),
  onlyHeld = false,
  plan = planOf(),
  prices: rates = PRICES,
}: Scene = {}): { refusal: Exceeded; call: NotAdmitted } {
  const input: ChatInput = {
    scenario: 'DEFAULT',
    messages: [{ role: 'USER', content: 'Tell me about cats.' }],
    ...fields,
  };
  const prices: NotAdmitted['prices'] = {
    worstRates: ([first, ...rest], organizationId, promptTokens) => {
      expect(organizationId).toBe('org_1');
      const known = [first!, ...rest].flatMap((id) => (rates[id] ? [rates[id]] : []));
      return rates[first!] ? worstRates(known, promptTokens) : null;
    },
  };
  const all = [asked, ...models];
  const promptBound = new PromptBound(input.messages, input).tokensFor(asked);
  const found = prices.worstRates([asked.id, ...asked.fallbacks], 'org_1', promptBound);
  const call: NotAdmitted = {
    admission: { kind: 'BUDGET_EXCEEDED', budget: on, room, onlyHeld },
    needed: found ? worstCaseCost(promptBound, maxTokens, found) : '1',
    prepared: {
      caller: {
        viewer: {
          userId: 'usr_1',
          organizationId: 'org_1',
          role: 'MEMBER',
          planId: 'pro',
          tokenId: null,
          sessionId: null,
          expiresAtMs: null,
        },
        plan,
      },
      operation: { mode: 'CHAT' },
      model: asked,
      maxTokens,
      prompt: new ChatPrompt(input, []),
    },
    promptBound,
    catalog: {
      models: all,
      byId: new Map(all.map((one) => [one.id, one])),
      asOf: new Date(),
      stale: false,
      source: 'PROXY',
    },
    prices,
  };
  return { refusal: budgetExceeded(call) as Exceeded, call };
}

describe('a call that does not fit a budget', () => {
  it('is told the budget, what it needs, when there is new money, and both figures in words', () => {
    const on = budget();
    const { refusal, call } = refuse({ on });
    expect(refusal).toMatchObject({
      kind: 'BudgetExceeded',
      code: 'BUDGET_EXCEEDED',
      needed: call.needed,
      resetsAt: new Date('2026-12-01T00:00:00Z'),
    });
    expect(refusal.budget).toBe(on);
    expect(refusal.message).toBe(
      'The monthly budget of the organisation has $0.12 left; this call may cost up to $0.41.',
    );
  });

  it('is told in words whose budget it is', () => {
    const words = (fields: Partial<Budget>): string =>
      refuse({ on: budget(fields) }).refusal.message.replace(/ has .*/, '');
    expect(words({ scope: 'PROJECT', period: 'DAY' })).toBe('The daily budget of the project');
    expect(words({ scope: 'USER', period: 'WEEK' })).toBe('The weekly budget of the user');
    expect(words({ scope: 'API_TOKEN' })).toBe('The monthly budget of the API token');
    expect(words({ scope: 'USER', planId: 'pro' })).toBe('The monthly budget of the plan Pro');
  });

  it('reads less left than there is and more needed than it may be, never the other way round', () => {
    const words = (remaining: string, needed: string): string[] => {
      const { call } = refuse({ on: budget({ remaining }) });
      return budgetExceeded({ ...call, needed })
        .message.match(/\$[\d.]+\d/g)!
        .slice(0, 2);
    };
    expect(words('0.129', '0.121')).toEqual(['$0.12', '$0.13']);
    expect(words('5', '12.5')).toEqual(['$5.00', '$12.50']);
    expect(words('0', '0.999')).toEqual(['$0.00', '$1.00']);
    expect(words('0.000123', '0.00012301')).toEqual(['$0.00012', '$0.00013']);
    expect(words('0.00000000999', '0.00999')).toEqual(['$0.0000000099', '$0.01']);
  });

  it('may try again at once where only running calls hold the money, and not where it is spent', () => {
    const running = refuse({ on: budget({ spent: '0.3', held: '0.576', remaining: '0.124' }), onlyHeld: true }).refusal;
    expect(running).toMatchObject({ retryable: true, retryAfterMs: 1_000 });
    expect(running.message).toContain('Calls that still run hold $0.57 of it.');
    expect(refuse().refusal).toMatchObject({ retryable: false, retryAfterMs: null });
  });

  it('is told the longest answer that would fit: that one fits, one token more does not', () => {
    for (const room of ['0.124', '0.0123456789', '0.3', '0.001']) {
      const { refusal, call } = refuse({ room, maxTokens: 5_000 });
      const most = refusal.maxTokensThatFit!;
      const cost = (maxTokens: number): number =>
        Number(
          worstCaseCost(call.promptBound, maxTokens, {
            promptPerToken: '0.00001',
            outputPerToken: '0.0001',
            perRequest: '0',
          }),
        );
      expect(cost(most)).toBeLessThanOrEqual(Number(room));
      expect(cost(most + 1)).toBeGreaterThan(Number(room));
    }
  });

  it('is told that no answer fits where the prompt alone takes the room', () => {
    expect(refuse({ room: '0' }).refusal.maxTokensThatFit).toBeNull();
    const { call } = refuse();
    const prompt = worstCaseCost(call.promptBound, 0, {
      promptPerToken: '0.00001',
      outputPerToken: '0',
      perRequest: '0',
    });
    expect(refuse({ room: prompt }).refusal.maxTokensThatFit).toBeNull();
    expect(refuse({ prices: { dear: { ...PRICES.dear!, perRequest: '0.2' } } }).refusal.maxTokensThatFit).toBeNull();
    expect(refuse({ prices: {} }).refusal.maxTokensThatFit).toBeNull();
  });

  it('is never offered a longer answer than plan and model allow, nor, where neither says, than was asked for', () => {
    const prices = { dear: { input: '0.00001', output: '0' } };
    const most = (scene: Scene): number | null => refuse({ prices, room: '100', ...scene }).refusal.maxTokensThatFit;
    expect(most({})).toBe(8_000);
    expect(most({ plan: planOf(500) })).toBe(500);
    expect(most({ asked: model('dear', { maxOutputTokens: null }), plan: planOf(500) })).toBe(500);
    expect(most({ asked: model('dear', { maxOutputTokens: null }), maxTokens: 300 })).toBe(300);
  });

  it('counts the fallbacks of its model: what a fallback would make too dear does not fit', () => {
    const alone = refuse({ room: '0.2' }).refusal.maxTokensThatFit!;
    const withReserve = refuse({ room: '0.2', asked: model('dear', { fallbacks: ['reserve'] }) }).refusal
      .maxTokensThatFit!;
    expect(withReserve).toBeGreaterThan(0);
    expect(withReserve * 5).toBeLessThan(alone);
  });

  it('is told the other models that the same call fits: of the plan, priced, long enough, and cheap enough with their fallbacks', () => {
    const models = [
      model('cheap'),
      model('cheap-elsewhere', { provider: 'other' }),
      model('cheap-embedding', { mode: 'EMBEDDING' }),
      model('cheap-short', { contextWindow: 3_000 }),
      model('cheap-backed', { fallbacks: ['reserve'] }),
      model('cheap-endless', { contextWindow: null }),
      model('unpriced'),
      model('reserve'),
      model('reserve-brief', { maxOutputTokens: 10 }),
      model('free'),
    ];
    const cheap = PRICES.cheap!;
    const prices = {
      ...PRICES,
      'cheap-elsewhere': cheap,
      'cheap-embedding': cheap,
      'cheap-short': cheap,
      'cheap-backed': cheap,
      'cheap-endless': cheap,
      'reserve-brief': PRICES.reserve!,
    };
    expect(refuse({ models, prices }).refusal.modelsThatFit).toEqual([
      'cheap',
      'cheap-endless',
      'reserve-brief',
      'free',
    ]);
    expect(refuse({ models, prices, room: '0' }).refusal.modelsThatFit).toEqual(['free']);
    expect(refuse({ models: [] }).refusal.modelsThatFit).toEqual([]);
  });

  it('is told only models that can do what it uses, where the upstream says what models can do', () => {
    const models = [
      model('cheap', { capabilities: ['STREAMING'] }),
      model('free', { capabilities: ['STREAMING', 'TOOLS', 'VISION'] }),
    ];
    const input: Partial<ChatInput> = {
      tools: [{ name: 'weather' }],
      messages: [{ role: 'USER', parts: [{ imageUrl: 'https://example.com/cat.png' }] }],
    };
    const asked = (capabilities: CatalogModel['capabilities']): Scene => ({
      models,
      input,
      asked: model('dear', { capabilities }),
    });
    expect(refuse(asked(['STREAMING', 'TOOLS'])).refusal.modelsThatFit).toEqual(['free']);
    expect(refuse(asked(['VISION'])).refusal.modelsThatFit).toEqual(['free']);
    expect(refuse(asked(['STREAMING'])).refusal.modelsThatFit).toEqual(['cheap', 'free']);
  });
});

describe('a model without a price, under a budget', () => {
  it('is refused by name, and for good', () => {
    expect(modelUnpriced('mystery')).toMatchObject({
      kind: 'ModelUnpriced',
      code: 'MODEL_UNPRICED',
      model: 'mystery',
      retryable: false,
      retryAfterMs: null,
      message: expect.stringContaining('mystery'),
    });
  });
});
