import { priceCall } from './price-call';
import type { PriceRecord } from './pricing.types';
import { isFree, type UsageSource } from '../../domain/call';
import type { CostParts, TokenBuckets } from '../../domain/money';

/** The price book, as far as pricing a call needs it. */
export interface Prices {
  /**
   * The record in force at a time that a call is priced with, from memory; null: no price is known. `serviceTier` null:
   * the provider's usual one.
   */
  forCall(
    servedModel: string,
    deployment: string | null,
    organizationId: string,
    at: Date,
    serviceTier: string | null,
  ): PriceRecord | null;
  /** The highest number that `forCall` knows. */
  readonly number: number;
  /** Reads what was appended since. */
  reload(): Promise<void>;
}
export interface UsedCall {
  organizationId: string;
  /** RFC 3339, or as Postgres writes it. */
  occurredAt: string;
  model: string;
  servedModel: string;
  deployment: string | null;
  serviceTier: string | null;
  tokens: TokenBuckets;
  usageSource: UsageSource;
  /** The budgets that the call was held on. */
  heldOn: readonly unknown[];
}
export interface PricedUsage {
  priceNumber: number | null;
  /** null: no price is known. */
  cost: CostParts | null;
  /** The newest record that was known: the settlement is refused if the models have a newer one by then. */
  priceBook: number;
}

const NO_COST: CostParts = {
  input: '0',
  cacheRead: '0',
  cacheWrite: '0',
  output: '0',
  reasoning: '0',
  request: '0',
  total: '0',
};

/** What a call costs by the book as it is now, at the time when it was made. */
export function priceUsage(call: UsedCall, prices: Pick<Prices, 'forCall' | 'number'>): PricedUsage {
  const at = new Date(call.occurredAt);
  const record =
    prices.forCall(call.servedModel, call.deployment, call.organizationId, at, call.serviceTier) ??
    // Served by a fallback or a deployment that nobody knows the price of: under a budget unknown is not free, and what
    // was asked for has a price.
    (call.heldOn.length > 0 ? prices.forCall(call.model, null, call.organizationId, at, call.serviceTier) : null);
  return {
    priceNumber: record?.number ?? null,
    cost: costOf(call, record),
    priceBook: prices.number,
  };
}

function costOf({ usageSource, tokens }: UsedCall, record: PriceRecord | null): CostParts | null {
  // That an answer from the cache costs nothing is known without a price.
  if (usageSource === 'CACHE') return NO_COST;
  return record && (isFree(usageSource) ? NO_COST : priceCall(tokens, record.rates));
}
