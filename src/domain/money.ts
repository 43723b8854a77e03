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
export interface CostParts {
  input: string;
  cacheRead: string;
  cacheWrite: string;
  output: string;
  reasoning: string;
  request: string;
  total: string;
}

export const NO_TOKENS: TokenBuckets = {
  uncachedPrompt: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWriteOneHour: 0,
  output: 0,
  reasoning: 0,
};
