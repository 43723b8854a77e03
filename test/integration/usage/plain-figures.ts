import type { Db } from '../../../src/database/pool';
import { Decimal } from '../../../src/lib/decimal';
import { pricedCall } from '../../../src/database/priced-call';
import type { UsageDimension, UsageFigures, UsageFilter } from '../../../src/services/usage/usage.types';
import { percentileOf } from '../../support/percentiles';

/** A row of `llm_usage` with what it costs by the price book of a time. */
export interface Entry {
  organization_id: string;
  user_id: string;
  project_id: string | null;
  model: string;
  provider: string | null;
  scenario: string;
  agent: string | null;
  upstream: string;
  status: string;
  conversation_id: string | null;
  occurred_at: Date;
  sign: number;
  prompt_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  total_tokens: number;
  latency_ms: number | null;
  time_to_first_token_ms: number | null;
  price: string | null;
}

/**
 * Every row that was there at a time (null: now), at what it cost then: row by row, without cubes, histograms or
 * entries of prices.
 */
export const entriesAsOf = (db: Db, asOf: Date | null): Promise<Entry[]> =>
  db.query<Entry>(
    `SELECT u.*, (weir.cost_as_of(${pricedCall('u')}, $1::timestamptz)).cost::text AS price FROM llm_usage AS u WHERE $1::timestamptz IS NULL OR u.settled_at <= $1`,
    [asOf],
  );

export const FIELDS: Record<UsageDimension, [keyof Entry, string]> = {
  ORGANIZATION: ['organization_id', 'organizationId'],
  USER: ['user_id', 'userId'],
  PROJECT: ['project_id', 'projectId'],
  MODEL: ['model', 'model'],
  PROVIDER: ['provider', 'provider'],
  SCENARIO: ['scenario', 'scenario'],
  AGENT: ['agent', 'agent'],
  UPSTREAM: ['upstream', 'upstream'],
  STATUS: ['status', 'status'],
};
const LISTS: [keyof UsageFilter, keyof Entry][] = [
  ['organizationIds', 'organization_id'],
  ['userIds', 'user_id'],
  ['projectIds', 'project_id'],
  ['models', 'model'],
  ['providers', 'provider'],
  ['scenarios', 'scenario'],
  ['agents', 'agent'],
  ['statuses', 'status'],
];

export function matches(entry: Entry, filter: UsageFilter): boolean {
  if (filter.from && entry.occurred_at < filter.from) return false;
  if (filter.to && entry.occurred_at >= filter.to) return false;
  if (filter.conversationId && entry.conversation_id !== filter.conversationId) return false;
  return LISTS.every(([field, column]) => !filter[field] || (filter[field] as unknown[]).includes(entry[column]));
}

/** Sums in plain arithmetic; percentiles from the values themselves. */
export function figuresOf(entries: readonly Entry[]): UsageFigures {
  const sum = (of: (entry: Entry) => number): number => entries.reduce((total, entry) => total + of(entry), 0);
  /** What is left of the values when reversals have taken theirs away. */
  const values = (of: (entry: Entry) => number | null): number[] => {
    const counts = new Map<number, number>();
    for (const entry of entries) {
      const value = of(entry);
      if (value !== null) counts.set(value, (counts.get(value) ?? 0) + entry.sign);
    }
    return [...counts].flatMap(([value, count]) => Array.from({ length: count }, () => value));
  };
  const average = (all: number[]): number | null =>
    all.length > 0 ? all.reduce((a, b) => a + b, 0) / all.length : null;
  const calls = sum((entry) => entry.sign);
  const priced = sum((entry) => (entry.price === null ? 0 : entry.sign));
  const latencies = values((entry) => entry.latency_ms);
  const firsts = values((entry) => entry.time_to_first_token_ms);
  return {
    calls,
    failedCalls: sum((entry) => (entry.status === 'FAILED' || entry.status === 'LOST' ? entry.sign : 0)),
    promptTokens: sum((entry) => entry.prompt_tokens),
    cacheReadTokens: sum((entry) => entry.cache_read_tokens),
    cacheWriteTokens: sum((entry) => entry.cache_write_tokens),
    completionTokens: sum((entry) => entry.completion_tokens),
    reasoningTokens: sum((entry) => entry.reasoning_tokens),
    totalTokens: sum((entry) => entry.total_tokens),
    cost:
      calls > 0 && priced === 0
        ? null
        : entries.reduce((total, entry) => total.plus(Decimal.parse(entry.price ?? '0')), Decimal.ZERO).toString(),
    unpricedCalls: sum((entry) => (entry.price === null && entry.total_tokens !== 0 ? entry.sign : 0)),
    averageLatencyMs: average(latencies),
    p50LatencyMs: percentileOf(latencies, 50),
    p95LatencyMs: percentileOf(latencies, 95),
    averageTimeToFirstTokenMs: average(firsts),
    p95TimeToFirstTokenMs: percentileOf(firsts, 95),
  };
}
