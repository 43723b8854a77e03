import type { CheckRow } from '../baselines/group-by';
import { canonicalDecimal } from '../../src/lib/decimal';
import type { UsageFigures, UsageGroupRow, UsageReport } from '../../src/services/usage/usage.types';

/**
 * The histogram's buckets begin at these milliseconds, and each is told as one number: see docs/usage.md. Written down
 * again, so that a mistake there is seen.
 */
const BOUNDS = Array.from({ length: 63 }, (_, i) => Math.ceil(10 * 2 ** (i / 4) - 1e-9));
const TOLD = [
  5, 10.5, 13, 15.5, 18, 21.4, 25.9, 30.9, 36.4, 43.4, 51.8, 61.8, 73.3, 87.2, 104.2, 123.6, 146.5, 174.4, 207.8, 247.1,
  293.5, 348.7, 415, 493.7, 586.9, 697.9, 830.4, 987.3, 1173.7, 1395.8, 1660.3, 1974.2, 2347.2, 2791.5, 3320.1, 3948.2,
  4694.9, 5583.1, 6639.6, 7895.9, 9389.8, 11166.6, 13279.7, 15792.2, 18780, 22333.2, 26559.3, 31584.9, 37560.5, 44666.8,
  53118.5, 63169.3, 75120.9, 89334, 106237, 126338, 150241.8, 178668.5, 212474, 252675.5, 300483.5, 357337.4, 424948.5,
  463410,
];

/** The exact percentile is in the bucket that the product tells. */
const told = (ms: number | null): number | null =>
  ms === null ? null : TOLD[BOUNDS.filter((bound) => bound <= ms).length]!;
const average = (sum: string | null, count: string): number | null =>
  count === '0' ? null : Number(sum) / Number(count);

function figuresOf(row: CheckRow): UsageFigures {
  return {
    calls: Number(row.calls),
    failedCalls: Number(row.failed),
    promptTokens: Number(row.prompt),
    cacheReadTokens: Number(row.cache_read),
    cacheWriteTokens: Number(row.cache_write),
    completionTokens: Number(row.completion),
    reasoningTokens: Number(row.reasoning),
    totalTokens: Number(row.prompt) + Number(row.completion),
    cost: row.cost === null ? (row.calls === '0' ? '0' : null) : canonicalDecimal(row.cost),
    unpricedCalls: Number(row.unpriced),
    averageLatencyMs: average(row.latency_ms, row.latency_count),
    p50LatencyMs: told(row.p50),
    p95LatencyMs: told(row.p95),
    averageTimeToFirstTokenMs: average(row.first_token_ms, row.first_token_count),
    p95TimeToFirstTokenMs: told(row.first_token_p95),
  };
}

const keyOf = (row: UsageGroupRow): string =>
  JSON.stringify([
    row.at?.toISOString() ?? null,
    row.model,
    row.provider,
    row.userId,
    row.projectId,
    row.scenario,
    row.organizationId,
  ]);
const checkKey = (row: CheckRow): string =>
  JSON.stringify([
    row.at?.toISOString() ?? null,
    row.model ?? null,
    row.provider ?? null,
    row.user_id ?? null,
    row.project_id ?? null,
    row.scenario ?? null,
    row.organization_id ?? null,
  ]);

/**
 * null: every digit of every row is equal; else the first difference in words. Of a report that was cut, the rows that
 * are there.
 */
export function differenceOf(report: UsageReport, expected: readonly CheckRow[]): string | null {
  const rows = new Map(expected.map((row) => [checkKey(row), figuresOf(row)]));
  for (const row of report.rows) {
    const wanted = rows.get(keyOf(row));
    // A group has a row in each interval, also where it was not used.
    if (!wanted && row.figures.calls === 0 && row.at) continue;
    if (!wanted) return `${keyOf(row)} is not among the rows`;
    for (const field of Object.keys(wanted) as (keyof UsageFigures)[]) {
      if (row.figures[field] !== wanted[field])
        return `${keyOf(row)} ${field}: ${row.figures[field]} instead of ${wanted[field]}`;
    }
  }
  const filled = report.rows.filter(({ figures }) => figures.calls > 0).length;
  if (!report.truncated && filled !== expected.filter(({ calls }) => calls !== '0').length)
    return `${filled} rows instead of ${expected.length}`;
  const total = (field: 'calls' | 'promptTokens'): number =>
    [...rows.values()].reduce((sum, figures) => sum + figures[field], 0);
  if (report.totals.calls !== total('calls'))
    return `${report.totals.calls} calls in total instead of ${total('calls')}`;
  return null;
}
