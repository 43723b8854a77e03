import type { Db, Tx } from '../../entities/data-source';
import { canonicalDecimal } from '../../lib/decimal';
import type { ScopedFilter } from './usage-scope';
import { allOf, anyCorrected, Parameters, readSnapshot, spanOf, trueRows, whereSettled } from './usage-where.store';
import type { UsageDimension, UsageFigures, UsageGroupRow, UsageInterval, UsageOrder } from './usage.types';

const COLUMNS: Record<UsageDimension, string> = {
  ORGANIZATION: 'organization_id',
  USER: 'user_id',
  PROJECT: 'project_id',
  MODEL: 'model',
  PROVIDER: 'provider',
  SCENARIO: 'scenario',
  AGENT: 'agent',
  UPSTREAM: 'upstream',
  STATUS: 'status',
};
const ORDERS: Record<UsageOrder, string> = { COST_DESC: 'cost DESC NULLS LAST, calls DESC', CALLS_DESC: 'calls DESC', TOKENS_DESC: 'total_tokens DESC, calls DESC' };
// Steps that reach every interval in every time zone: days of 23 hours, zones that are a quarter of an hour off.
const STEPS: Record<UsageInterval, string> = { HOUR: '15 minutes', DAY: '6 hours', WEEK: '1 day', MONTH: '1 day' };

// Percentiles over the raw rows: exact. A lost call failed for whoever waited for it.
const FIGURES = `
  count(*) AS calls, count(*) FILTER (WHERE status IN ('FAILED', 'LOST')) AS failed_calls,
  coalesce(sum(prompt_tokens), 0) AS prompt_tokens, coalesce(sum(cache_read_tokens), 0) AS cache_read_tokens, coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens,
  coalesce(sum(completion_tokens), 0) AS completion_tokens, coalesce(sum(reasoning_tokens), 0) AS reasoning_tokens, coalesce(sum(total_tokens), 0) AS total_tokens,
  sum(cost) AS cost, count(*) FILTER (WHERE cost IS NULL AND total_tokens > 0) AS unpriced_calls,
  avg(latency_ms)::float8 AS average_latency, percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50_latency, percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95_latency,
  avg(time_to_first_token_ms)::float8 AS average_first_token, percentile_cont(0.95) WITHIN GROUP (ORDER BY time_to_first_token_ms) AS p95_first_token`;

interface FiguresSql {
  calls: string; failed_calls: string; prompt_tokens: string; cache_read_tokens: string; cache_write_tokens: string; completion_tokens: string; reasoning_tokens: string;
  total_tokens: string; cost: string | null; unpriced_calls: string; average_latency: number | null; p50_latency: number | null; p95_latency: number | null;
  average_first_token: number | null; p95_first_token: number | null;
}
interface GroupSql extends FiguresSql { key: string; at: Date | null; organization_id?: string; user_id?: string; project_id?: string | null; model?: string; provider?: string | null; scenario?: string; agent?: string | null; upstream?: string; status?: string }

export interface ReportQuery {
  /** With `from` and `to`. */
  filter: ScopedFilter;
  groupBy: UsageDimension[];
  interval: UsageInterval | null;
  /** IANA name. */
  timeZone: string;
  orderBy: UsageOrder;
  /** Groups. */
  limit: number;
}
export interface ReportAnswer { totals: UsageFigures; rows: UsageGroupRow[]; truncated: boolean }

export const NO_USAGE: UsageFigures = Object.freeze({
  calls: 0, failedCalls: 0, promptTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, completionTokens: 0, reasoningTokens: 0, totalTokens: 0, cost: '0', unpricedCalls: 0,
  averageLatencyMs: null, p50LatencyMs: null, p95LatencyMs: null, averageTimeToFirstTokenMs: null, p95TimeToFirstTokenMs: null,
});

/** Sums over the true rows of `llm_usage`, one per call. */
export class UsageReportStore {
  constructor(private readonly db: Db) {}

  /** The time by the database, and the start of its month in a time zone. null: Postgres does not know the zone. */
  async clock(timeZone: string): Promise<{ now: Date; monthStart: Date } | null> {
    try {
      const [row] = await this.db.query<{ now: Date; month_start: Date }>(`SELECT weir.now() AS now, date_trunc('month', weir.now(), $1) AS month_start`, [timeZone]);
      return { now: row!.now, monthStart: row!.month_start };
    } catch (error) {
      // invalid_parameter_value
      if ((error as { code?: string }).code === '22023') return null;
      throw error;
    }
  }

  /** Totals and rows of one snapshot. `tooMany` is asked before the rows are read, and throws where it does not like their number. */
  async report(query: ReportQuery, tooMany: (rows: number) => void): Promise<ReportAnswer> {
    return readSnapshot(this.db, async (tx) => {
      const parameters = new Parameters();
      const corrected = await anyCorrected(tx, spanOf(query.filter, parameters), parameters.values);
      const totals = await this.totals(tx, query.filter, corrected);
      const found = query.groupBy.length > 0 ? await this.groups(tx, query, corrected) : [{ ...totals, key: '[]', at: null }];
      const groups = found.slice(0, query.limit);
      const truncated = found.length > query.limit;
      const rows = query.interval === null ? groups.map((row) => mapGroup(row, row.at)) : await this.intervals(tx, query, query.interval, corrected, groups, truncated, tooMany);
      return { totals: mapFigures(totals), rows, truncated };
    });
  }

  /** Figures of today (UTC) of one user. */
  async today(organizationId: string, userId: string): Promise<UsageFigures> {
    const [row] = await this.figures('', ['organization_id = $1', 'user_id = $2', `occurred_at >= date_trunc('day', weir.now(), 'UTC')`], [organizationId, userId]);
    return mapFigures(row!);
  }

  async byConversation(ids: readonly string[]): Promise<Map<string, UsageFigures>> {
    const rows = await this.figures('conversation_id', ['conversation_id = ANY ($1::text[])'], [ids]);
    return new Map(rows.map((row) => [row.conversation_id!, mapFigures(row)]));
  }

  private figures(column: '' | 'conversation_id', span: string[], values: unknown[]): Promise<(FiguresSql & { conversation_id?: string })[]> {
    return readSnapshot(this.db, async (tx) => {
      const where = allOf((await anyCorrected(tx, span, values)) ? [...span, trueRows(span)] : span);
      return tx.query(column ? `SELECT ${column}, ${FIGURES} FROM llm_usage WHERE ${where} GROUP BY ${column}` : `SELECT ${FIGURES} FROM llm_usage WHERE ${where}`, values);
    });
  }

  private async totals(tx: Tx, filter: ScopedFilter, corrected: boolean): Promise<FiguresSql> {
    const parameters = new Parameters();
    const [row] = await tx.query<FiguresSql>(`SELECT ${FIGURES} FROM llm_usage WHERE ${allOf(whereSettled(filter, parameters, corrected))}`, parameters.values);
    return row!;
  }

  /** One more than the limit: the last one only tells that there are more. */
  private async groups(tx: Tx, { filter, groupBy, orderBy, limit }: ReportQuery, corrected: boolean): Promise<GroupSql[]> {
    const parameters = new Parameters();
    const columns = columnsOf(groupBy);
    return tx.query<GroupSql>(
      `SELECT ${columns}, jsonb_build_array(${columns})::text AS key, NULL AS at, ${FIGURES} FROM llm_usage WHERE ${allOf(whereSettled(filter, parameters, corrected))}
       GROUP BY ${columns} ORDER BY ${ORDERS[orderBy]}, ${columns} LIMIT ${parameters.add(limit + 1)}`,
      parameters.values,
    );
  }

  private async intervals(tx: Tx, query: ReportQuery, interval: UsageInterval, corrected: boolean, groups: GroupSql[], truncated: boolean, tooMany: (rows: number) => void): Promise<UsageGroupRow[]> {
    const { filter, groupBy, timeZone } = query;
    const starts = (
      await tx.query<{ at: Date }>(
        `SELECT DISTINCT date_trunc($1, moment, $2) AS at
         FROM (SELECT generate_series($3::timestamptz, $4::timestamptz - interval '1 microsecond', $5::interval) AS moment UNION ALL SELECT $4::timestamptz - interval '1 microsecond') AS moments ORDER BY at`,
        [interval.toLowerCase(), timeZone, filter.from, filter.to, STEPS[interval]],
      )
    ).map((row) => row.at);
    tooMany(starts.length * groups.length);

    const parameters = new Parameters();
    const columns = columnsOf(groupBy);
    const key = columns ? `jsonb_build_array(${columns})::text` : `'[]'`;
    const at = `date_trunc(${parameters.add(interval.toLowerCase())}, occurred_at, ${parameters.add(timeZone)})`;
    const conditions = whereSettled(filter, parameters, corrected);
    if (truncated) conditions.push(`${key} = ANY (${parameters.add(groups.map((group) => group.key))}::text[])`);
    const rows = await tx.query<FiguresSql & { key: string; at: Date }>(
      `SELECT key, at, ${FIGURES} FROM (SELECT *, ${key} AS key, ${at} AS at FROM llm_usage WHERE ${allOf(conditions)}) AS calls GROUP BY key, at`,
      parameters.values,
    );
    const figures = new Map(rows.map((row) => [`${row.at.getTime()} ${row.key}`, mapFigures(row)]));
    return groups.flatMap((group) => starts.map((start) => ({ ...mapGroup(group, start), figures: figures.get(`${start.getTime()} ${group.key}`) ?? NO_USAGE })));
  }
}

const columnsOf = (groupBy: readonly UsageDimension[]): string => groupBy.map((dimension) => COLUMNS[dimension]).join(', ');

const mapGroup = (row: GroupSql, at: Date | null): UsageGroupRow => ({
  at,
  organizationId: row.organization_id ?? null,
  userId: row.user_id ?? null,
  projectId: row.project_id ?? null,
  model: row.model ?? null,
  provider: row.provider ?? null,
  scenario: (row.scenario as UsageGroupRow['scenario']) ?? null,
  agent: row.agent ?? null,
  upstream: (row.upstream as UsageGroupRow['upstream']) ?? null,
  status: (row.status as UsageGroupRow['status']) ?? null,
  figures: mapFigures(row),
});

// Sums of tokens stay below 2^53 for 285 years of a million tokens a second.
const mapFigures = (row: FiguresSql): UsageFigures => ({
  calls: Number(row.calls),
  failedCalls: Number(row.failed_calls),
  promptTokens: Number(row.prompt_tokens),
  cacheReadTokens: Number(row.cache_read_tokens),
  cacheWriteTokens: Number(row.cache_write_tokens),
  completionTokens: Number(row.completion_tokens),
  reasoningTokens: Number(row.reasoning_tokens),
  totalTokens: Number(row.total_tokens),
  cost: row.cost !== null ? canonicalDecimal(row.cost) : Number(row.calls) === 0 ? '0' : null,
  unpricedCalls: Number(row.unpriced_calls),
  averageLatencyMs: row.average_latency,
  p50LatencyMs: row.p50_latency,
  p95LatencyMs: row.p95_latency,
  averageTimeToFirstTokenMs: row.average_first_token,
  p95TimeToFirstTokenMs: row.p95_first_token,
});
