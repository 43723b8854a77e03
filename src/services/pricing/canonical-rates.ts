import { canonicalDecimal, Decimal } from '../../lib/decimal';
import type { RateTier, Rates } from './pricing.types';

/**
 * `model_info` of the proxy's /v1/model/info, or an entry of /model_group/info: dollars per token as JSON numbers, null
 * or absent where unknown.
 */
export type ModelInfo = Record<string, unknown>;

/**
 * The rates that the proxy reports for a deployment, or null where it knows none. Zero is not a price: the proxy fills
 * in zeros for models that it has no price for, so that input and output both zero, with nothing else priced, mean
 * "unknown" unless somebody wrote those zeros into the deployment's configuration (`freeOnPurpose`). An input price
 * without an output price is no price either, except for models that put out no tokens (embeddings). Batch, flex and
 * priority rates and off-peak discounts are not taken: the standard rate is booked.
 */
export function ratesOfModelInfo(info: ModelInfo, freeOnPurpose = false): Rates | null {
  const input = price(info.input_cost_per_token);
  const output = price(info.output_cost_per_token) ?? (info.mode === 'embedding' ? '0' : null);
  const perRequest = price(info.input_cost_per_request);
  const tables = rangeTable(info);
  if (tables) return tables;
  if (input === null || output === null) return null;
  if (input === '0' && output === '0' && (perRequest ?? '0') === '0' && !freeOnPurpose) return null;
  const base = {
    input,
    output,
    cacheRead: price(info.cache_read_input_token_cost),
    cacheWrite: price(info.cache_creation_input_token_cost),
    cacheWriteOneHour: price(info.cache_creation_input_token_cost_above_1hr),
    reasoning: price(info.output_cost_per_reasoning_token),
    perRequest: perRequest === '0' ? null : perRequest,
  };
  return canonicalRates({ ...withoutNulls(base), input, output, tiers: lengthTiers(info, { ...base, input, output }) });
}

/** Whether the configuration of the deployment itself names the zeros: then they are a price. */
export function isFreeOnPurpose(info: ModelInfo, litellmParams: Record<string, unknown>): boolean {
  const overrides = Array.isArray(info.pricing_overrides) ? info.pricing_overrides : [];
  return ['input_cost_per_token', 'output_cost_per_token'].every(
    (field) => overrides.includes(field) || price(litellmParams[field]) !== null,
  );
}

/** No prompt is longer than what a column of type integer holds. */
const LONGEST_PROMPT = 2 ** 31 - 1;

/**
 * One written form for equal rates: plain decimals, fixed order of fields, tiers ascending, buckets that are not priced
 * left out. Of tiers with the same bound the first counts, as in `priceCall`; bounds that are no length of a prompt are
 * left out: one slip at the proxy must not keep all prices out.
 */
export function canonicalRates(rates: Rates): Rates {
  const tiers = [...(rates.tiers ?? [])]
    .filter(
      ({ abovePromptTokens: bound }, index, all) =>
        Number.isInteger(bound) &&
        bound >= 0 &&
        bound < LONGEST_PROMPT &&
        all.findIndex((other) => other.abovePromptTokens === bound) === index,
    )
    .sort((a, b) => a.abovePromptTokens - b.abovePromptTokens)
    .map(canonicalTier);
  return {
    input: canonicalDecimal(rates.input),
    output: canonicalDecimal(rates.output),
    ...decimals(rates, ['cacheRead', 'cacheWrite', 'cacheWriteOneHour', 'reasoning', 'perRequest']),
    ...(tiers.length > 0 ? { tiers } : {}),
  };
}

/** Equal for equal rates, whatever their decimals look like. */
export const ratesKey = (rates: Rates): string => JSON.stringify(canonicalRates(rates));

const canonicalTier = (tier: RateTier): RateTier => ({
  abovePromptTokens: tier.abovePromptTokens,
  input: canonicalDecimal(tier.input),
  output: canonicalDecimal(tier.output),
  ...decimals(tier, ['cacheRead', 'cacheWrite', 'cacheWriteOneHour', 'reasoning']),
});

function decimals<K extends string>(from: { [key in K]?: string }, keys: readonly K[]): { [key in K]?: string } {
  const out: { [key in K]?: string } = {};
  for (const key of keys) if (from[key] !== undefined) out[key] = canonicalDecimal(from[key]);
  return out;
}

/** A JSON number as an exact decimal text. Null, absent, negative or not a number: no price. */
function price(value: unknown): string | null {
  if (typeof value !== 'number' && typeof value !== 'string') return null;
  try {
    const decimal = Decimal.parse(value);
    return decimal.isNegative ? null : decimal.toString();
  } catch {
    return null;
  }
}

type Buckets = {
  [key in 'input' | 'output' | 'cacheRead' | 'cacheWrite' | 'cacheWriteOneHour' | 'reasoning']?: string | null;
};
const FIELDS = {
  input: 'input_cost_per_token',
  output: 'output_cost_per_token',
  cacheRead: 'cache_read_input_token_cost',
  cacheWrite: 'cache_creation_input_token_cost',
  cacheWriteOneHour: 'cache_creation_input_token_cost_above_1hr',
  reasoning: 'output_cost_per_reasoning_token',
} as const;

/**
 * From `input_cost_per_token_above_200k_tokens` and its like. As the proxy does it, a field that the tier lacks keeps
 * the rate of the tier below.
 */
function lengthTiers(info: ModelInfo, base: Buckets): RateTier[] {
  const bounds = new Map<number, string>();
  for (const key of Object.keys(info)) {
    const match =
      /^(?:input_cost_per_token|output_cost_per_token|cache_read_input_token_cost|cache_creation_input_token_cost)_above_(\d+)(k?)_tokens$/.exec(
        key,
      );
    if (match && price(info[key]) !== null)
      bounds.set(Number(match[1]) * (match[2] ? 1000 : 1), `${match[1]}${match[2]}`);
  }
  // xAI charges the higher tier from the bound itself on, everybody else above it.
  const inclusive = info.litellm_provider === 'xai' ? 1 : 0;
  const tiers: RateTier[] = [];
  let below: Buckets = base;
  for (const [bound, text] of [...bounds].sort(([a], [b]) => a - b)) {
    const own: Buckets = {};
    for (const [bucket, field] of Object.entries(FIELDS))
      own[bucket as keyof Buckets] =
        price(info[`${field}_above_${text}_tokens`]) ?? below[bucket as keyof Buckets] ?? null;
    tiers.push({ ...withoutNulls(own), abovePromptTokens: bound - inclusive, input: own.input!, output: own.output! });
    below = own;
  }
  return tiers;
}

/** From `tiered_pricing` (Dashscope): a list of rates with the range of prompt tokens that each holds for. */
function rangeTable(info: ModelInfo): Rates | null {
  if (!Array.isArray(info.tiered_pricing)) return null;
  const tiers: RateTier[] = [];
  for (const row of info.tiered_pricing as ModelInfo[]) {
    const from = Array.isArray(row?.range) ? Number(row.range[0]) : Number.NaN;
    const input = price(row?.input_cost_per_token);
    const output = price(row?.output_cost_per_token);
    if (!Number.isInteger(from) || input === null || output === null) return null;
    const rest: Buckets = {};
    for (const bucket of ['cacheRead', 'cacheWrite', 'cacheWriteOneHour', 'reasoning'] as const)
      rest[bucket] = price(row[FIELDS[bucket]]);
    tiers.push({ ...withoutNulls(rest), abovePromptTokens: from, input, output });
  }
  tiers.sort((a, b) => a.abovePromptTokens - b.abovePromptTokens);
  const [first, ...higher] = tiers;
  if (!first) return null;
  const { abovePromptTokens: _bound, ...base } = first;
  return canonicalRates({ ...base, tiers: higher });
}

/** Drops the buckets that have no price. */
function withoutNulls<K extends string>(buckets: { [key in K]?: string | null }): { [key in K]?: string } {
  const out: { [key in K]?: string } = {};
  for (const [key, value] of Object.entries(buckets) as [K, string | null][]) if (value !== null) out[key] = value;
  return out;
}
