export type PriceSource = 'ADMIN' | 'PROXY' | 'FALLBACK';

/** Dollars per token (per request for `perRequest`), decimal strings. A bucket that is not there costs like input or output. */
export interface Rates {
  input: string;
  output: string;
  cacheRead?: string;
  cacheWrite?: string;
  cacheWriteOneHour?: string;
  reasoning?: string;
  perRequest?: string;
  /** Other rates for the whole call where the prompt is longer than `abovePromptTokens`; ascending. */
  tiers?: RateTier[];
}

/** A cache bucket that is not there costs like the tier's own input; the one-hour and reasoning rates stay those of the record unless the tier names its own. */
export interface RateTier {
  abovePromptTokens: number;
  input: string;
  output: string;
  cacheRead?: string;
  cacheWrite?: string;
  cacheWriteOneHour?: string;
  reasoning?: string;
}

/** What an upstream says about the price of one of its deployments. */
export interface ObservedPrice {
  /** Public name at the upstream. */
  model: string;
  /** null where the upstream has no deployments of its own. */
  deployment: string | null;
  /** null: the upstream knows no price. */
  rates: Rates | null;
  /** Names under which the fallback table may know the model, best first. */
  knownAs: string[];
}

/** One line of the append-only price book. */
export interface PriceRecord {
  /** Number in the book: higher is later knowledge. */
  number: number;
  model: string;
  /** The proxy's deployment id where deployments of one alias differ; null: the alias. */
  deployment: string | null;
  organizationId: string | null;
  source: PriceSource;
  effectiveFrom: Date;
  effectiveTo: Date | null;
  recordedAt: Date;
  serviceTier: string | null;
  rates: Rates;
}

/** Disjoint token buckets of one call. */
export interface TokenBuckets {
  uncachedPrompt: number;
  cacheRead: number;
  /** All cache writes, one-hour ones included. */
  cacheWrite: number;
  cacheWriteOneHour: number;
  /** Completion without reasoning. */
  output: number;
  reasoning: number;
}

/** Dollars, decimal strings; the parts add up to `total` exactly. */
export interface CostParts { input: string; cacheRead: string; cacheWrite: string; output: string; reasoning: string; request: string; total: string }
