import type { ProxyDeployment, ProxyModel, ProxyModelGroup, ProxyRouting } from '../upstream/litellm/admin';
import { isFreeOnPurpose, ratesOfModelInfo, type ModelInfo } from '../pricing/canonical-rates';
import type { ObservedPrice } from '../pricing/pricing.types';
import { modelLabel } from './model-label';
import { fallbacksOf, readRouting } from './proxy-fallbacks';
import type { ModelSourceAnswer, ModelSourceClient } from './model-source';
import type { CatalogModel, ModelCapability, ModelMode } from '../../domain/model';

/** The part of LitellmAdmin that is asked. */
export interface ProxyLists {
  models(): Promise<ProxyModel[]>;
  modelGroups(): Promise<ProxyModelGroup[]>;
  deployments(): Promise<ProxyDeployment[]>;
  routing(): Promise<ProxyRouting>;
}

/**
 * The proxy's models: which there are from /v1/models, what they can do from /model_group/info, what they cost from
 * /v1/model/info, what stands in for them from /router/settings.
 */
export class LitellmModelSource implements ModelSourceClient {
  readonly upstream = 'LITELLM';

  constructor(private readonly deps: { admin: ProxyLists }) {}

  async fetch(): Promise<ModelSourceAnswer> {
    const { admin } = this.deps;
    let fallbacksUnknown: unknown;
    const routing = admin.routing().catch((error: unknown) => {
      fallbacksUnknown = error;
      return {};
    });
    const [listed, groups, deployments, rules] = await Promise.all([
      admin.models(),
      admin.modelGroups(),
      admin.deployments(),
      routing.then(readRouting),
    ]);
    const groupOf = new Map(groups.map((group) => [group.model_group, group]));
    const deploymentsOf = new Map<string, ProxyDeployment[]>();
    for (const deployment of deployments)
      deploymentsOf.set(deployment.model_name, [...(deploymentsOf.get(deployment.model_name) ?? []), deployment]);

    const models: CatalogModel[] = [];
    const prices: ObservedPrice[] = [];
    for (const model of uniqueById(listed)) {
      const own = deploymentsOf.get(model.id) ?? [];
      models.push({
        ...mapModel(
          model,
          groupOf.get(model.id),
          own.map((deployment) => deployment.model_info ?? {}),
        ),
        fallbacks: fallbacksOf(model.id, rules),
      });
      prices.push(...pricesOf(model.id, own, groupOf.get(model.id)));
    }
    return fallbacksUnknown === undefined ? { models, prices } : { models, prices, fallbacksUnknown };
  }
}

// A pattern such as `openai/*` is a rule of the proxy's configuration, not a model that can be asked for.
const uniqueById = (models: ProxyModel[]): ProxyModel[] => [
  ...new Map(
    models
      .filter((model) => typeof model.id === 'string' && model.id !== '' && !model.id.includes('*'))
      .map((model) => [model.id, model]),
  ).values(),
];

function mapModel(
  model: ProxyModel,
  group: ProxyModelGroup | undefined,
  infos: ModelInfo[],
): Omit<CatalogModel, 'fallbacks'> {
  const facts: ModelInfo[] = [...(group ? [group as ModelInfo] : []), ...infos];
  const mode = modeOf(text(facts, 'mode') ?? model.mode ?? null);
  return {
    id: model.id,
    label: modelLabel(model.id),
    provider: group?.providers?.find((provider) => provider !== '') ?? text(infos, 'litellm_provider'),
    mode,
    contextWindow: count(facts, 'max_input_tokens') ?? positive(model.max_input_tokens),
    maxOutputTokens: count(facts, 'max_output_tokens') ?? positive(model.max_output_tokens),
    capabilities: [
      ...CAPABILITIES.filter(([field]) => facts.some((fact) => fact[field] === true)).map(
        ([, capability]) => capability,
      ),
      ...(mode === 'CHAT' || mode === 'COMPLETION' ? (['STREAMING'] as const) : []),
    ],
  };
}

/** One entry per deployment; for an alias that /v1/model/info does not have, what its group says. */
function pricesOf(model: string, deployments: ProxyDeployment[], group: ProxyModelGroup | undefined): ObservedPrice[] {
  if (deployments.length === 0)
    return [{ model, deployment: null, rates: group ? ratesOfModelInfo(group as ModelInfo) : null, knownAs: [model] }];
  return deployments.map((deployment) => {
    const info = deployment.model_info ?? {};
    const params = deployment.litellm_params ?? {};
    const served = typeof params.model === 'string' ? params.model : null;
    return {
      model,
      deployment: info.id ?? null,
      rates: ratesOfModelInfo(info, isFreeOnPurpose(info, params)),
      // The alias is only a name: `gpt-4o` may well stand before a model that runs in the cellar.
      knownAs: served === null ? [model] : [served],
    };
  });
}

const CAPABILITIES: readonly (readonly [field: string, capability: ModelCapability])[] = [
  ['supports_function_calling', 'TOOLS'],
  ['supports_vision', 'VISION'],
  ['supports_reasoning', 'REASONING'],
  ['supports_response_schema', 'STRUCTURED_OUTPUT'],
  ['supports_prompt_caching', 'PROMPT_CACHE'],
  ['supports_web_search', 'WEB_SEARCH'],
];

/** The proxy names no mode for models that it does not know: those are chat models until somebody says otherwise. */
function modeOf(mode: string | null): ModelMode {
  if (mode === null || mode === 'chat' || mode === 'responses') return 'CHAT';
  if (mode === 'embedding') return 'EMBEDDING';
  if (mode === 'completion') return 'COMPLETION';
  if (mode.startsWith('image')) return 'IMAGE';
  return mode.startsWith('audio') || mode === 'realtime' ? 'AUDIO' : 'OTHER';
}

const text = (facts: ModelInfo[], field: string): string | null => {
  const found = facts.map((fact) => fact[field]).find((value) => typeof value === 'string' && value !== '');
  return (found as string | undefined) ?? null;
};
// The smallest over the deployments: the router may choose any of them.
const count = (facts: ModelInfo[], field: string): number | null => {
  const found = facts.map((fact) => positive(fact[field])).filter((value) => value !== null);
  return found.length > 0 ? Math.min(...found) : null;
};
const positive = (value: unknown): number | null =>
  Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : null;
