import type { CallStatus, Scenario, Upstream } from '../../domain/call';

export type UsageDimension =
  'ORGANIZATION' | 'USER' | 'PROJECT' | 'MODEL' | 'PROVIDER' | 'SCENARIO' | 'AGENT' | 'UPSTREAM' | 'STATUS';
export type UsageInterval = 'HOUR' | 'DAY' | 'WEEK' | 'MONTH';
export type UsageOrder = 'COST_DESC' | 'CALLS_DESC' | 'TOKENS_DESC';

export interface UsageFilter {
  from?: Date | null;
  to?: Date | null;
  organizationIds?: string[] | null;
  userIds?: string[] | null;
  projectIds?: string[] | null;
  models?: string[] | null;
  providers?: string[] | null;
  scenarios?: Scenario[] | null;
  agents?: string[] | null;
  statuses?: CallStatus[] | null;
  conversationId?: string | null;
  traceId?: string | null;
}
export interface UsageQuery {
  filter: UsageFilter;
  groupBy: UsageDimension[];
  interval: UsageInterval | null;
  timeZone: string;
  orderBy: UsageOrder;
  /** Groups. */
  limit: number;
  /** The figures as they stood at this time. Left out or null: as they are. */
  pricesAsOf?: Date | null;
  /**
   * The figures that are needed; others may be 0 or null in the answer. Left out: all. Each costs time, and percentiles
   * most.
   */
  figures?: readonly (keyof UsageFigures)[];
}
export interface UsageFigures {
  calls: number;
  failedCalls: number;
  promptTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  completionTokens: number;
  reasoningTokens: number;
  totalTokens: number;
  /** Dollars; "0" without calls, null when there are calls and none has a price. */
  cost: string | null;
  unpricedCalls: number;
  averageLatencyMs: number | null;
  p50LatencyMs: number | null;
  p95LatencyMs: number | null;
  averageTimeToFirstTokenMs: number | null;
  p95TimeToFirstTokenMs: number | null;
}
export interface UsageGroupRow {
  at: Date | null;
  organizationId: string | null;
  userId: string | null;
  projectId: string | null;
  model: string | null;
  provider: string | null;
  scenario: Scenario | null;
  agent: string | null;
  upstream: Upstream | null;
  status: CallStatus | null;
  figures: UsageFigures;
}
export interface UsageReport {
  from: Date;
  to: Date;
  totals: UsageFigures;
  rows: UsageGroupRow[];
  truncated: boolean;
  /** The moment whose knowledge the answer is made of. */
  pricesAsOf: Date;
  /** The number of the newest record of the price book at that moment; 0: the book was empty. */
  priceBook: number;
}
