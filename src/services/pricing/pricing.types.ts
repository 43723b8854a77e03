export type PriceSource = 'ADMIN' | 'PROXY' | 'FALLBACK';

/**
 * Dollars per token (per request for `perRequest`), decimal strings. A bucket that is not there costs like input or
 * output.
 */
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

/**
 * A cache bucket that is not there costs like the tier's own input; the one-hour and reasoning rates stay those of the
 * record unless the tier names its own.
 */
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
  /** In lower case, as the provider names it; null: its usual one. */
  serviceTier: string | null;
  rates: Rates;
}

/** A record as it is appended: number and time of recording are given then. */
export type RecordToAdd = Omit<PriceRecord, 'number' | 'recordedAt'> & {
  note: string | null;
  /** The user who records it; absent: the installation itself. */ recordedBy?: string | null;
};

/** A price as an operator enters it. Rates are dollars per million tokens, `perRequest` dollars; decimal strings. */
export interface ModelPriceEdit {
  model: string;
  effectiveFrom: Date;
  effectiveTo?: Date | null;
  organizationId?: string | null;
  inputPerMillion: string;
  outputPerMillion: string;
  cacheReadPerMillion?: string | null;
  cacheWritePerMillion?: string | null;
  cacheWriteOneHourPerMillion?: string | null;
  reasoningPerMillion?: string | null;
  perRequest?: string | null;
  serviceTier?: string | null;
  tiers?: PriceTierEdit[] | null;
  note?: string | null;
}
export interface PriceTierEdit {
  abovePromptTokens: number;
  inputPerMillion: string;
  outputPerMillion: string;
  cacheReadPerMillion?: string | null;
  cacheWritePerMillion?: string | null;
}

/**
 * What a price change does to calls that have been settled: those whose cost becomes another, or known. Money in
 * dollars, decimal strings.
 */
export interface PriceImpact {
  affectedCalls: number;
  /** null: none of them had a price. */
  costBefore: string | null;
  costAfter: string | null;
}
export interface OrganizationImpact extends PriceImpact {
  organizationId: string;
}

export interface PriceChangeResult extends PriceImpact {
  price: PriceRecord;
  dryRun: boolean;
  /** The largest differences first. */
  byOrganization: OrganizationImpact[];
}
