import type { Page } from '../../lib/page';
import type { PriceSource } from '../pricing/pricing.types';
import type { TokenBuckets } from '../../domain/money';
import type { CallStatus, UsageSource } from '../../domain/call';

export type DifferenceKind = 'MISSING_HERE' | 'MISSING_AT_PROXY' | 'TOKENS_DIFFER' | 'COST_DIFFERS';

/** A call through the proxy that has ended, as it is known to be true. */
export interface OurCall {
  id: string;
  /** Of the row that is true now: the call itself, or its newest correction. */
  rowId: string;
  /** UTC with microseconds, which are part of the row's key. */
  occurredAt: string;
  organizationId: string;
  userId: string;
  status: Exclude<CallStatus, 'RUNNING'>;
  streamed: boolean;
  usageSource: UsageSource;
  servedModel: string;
  tokens: TokenBuckets;
  totalTokens: number;
  /** The usage object that the call itself had seen, booked or not. */
  rawUsage: unknown;
  /** Dollars at today's price book, decimal text; null: no price is known. */
  cost: string | null;
  cacheReadCost: string | null;
  cacheWriteCost: string | null;
  /** The record that priced it; null: none. */
  price: { number: number; source: PriceSource; /** The organisation's own. */ own: boolean; model: string } | null;
  /** What stood before reconciliation corrected it; null: it did not. */
  corrected: { at: Date; totalTokens: number; cost: string | null } | null;
}

export interface Difference {
  kind: DifferenceKind;
  /** Ours; null: we know of no such call. Of MISSING_HERE the call whose id was used a second time. */
  callId: string | null;
  /** When it was made, UTC with microseconds: the order of a list. */
  at: string;
  /** Unique among those of one moment. */
  key: string;
  /** The proxy's own id of its record; null: it has none. */
  proxyRequestId: string | null;
  ourTokens: number | null;
  proxyTokens: number | null;
  /** Dollars, decimal text; null: no price known, or nothing there. */
  ourCost: string | null;
  proxyCost: string | null;
  /** Why they differ, and what happens or can be done. */
  resolution: string;
  /** A correction has replaced our figures, which are shown as they were before. */
  isReplaced: boolean;
}

/** Of a span as far as it was compared. */
export interface ReconciliationSummary {
  comparedCalls: number;
  differences: number;
  /** Dollars, decimal text; null: nothing has a cost there. */
  ourCost: string | null;
  proxyCost: string | null;
  /** Everything before this time was compared. */
  comparedUpTo: Date;
}
export type ReconciliationPage = Page<Difference> & { summary: ReconciliationSummary };
