import type { ReadTx } from '../../database/pool';
import { canonicalDecimal } from '../../lib/decimal';
import { ALL_FIGURES, entriesOf, inSpans, measuresOf, sumsOf, type Rest, type Selection } from './entries.store';
import { percentilesOf } from './histogram';
import type { Span } from './report-plan';
import type { ScopedFilter } from './usage-scope';
import { allOf, Parameters } from './usage-where.store';
import type { UsageFigures, UsageInterval, UsageOrder } from './usage.types';

const ORDERS: Record<UsageOrder, string> = {
  COST_DESC: 'CASE WHEN priced_calls > 0 THEN cost END DESC NULLS LAST, calls DESC',
  CALLS_DESC: 'calls DESC',
  TOKENS_DESC: 'prompt_tokens + completion_tokens DESC, calls DESC',
};
// Steps that reach every interval in every time zone: days of 23 hours, zones that are a quarter of an hour off.
const STEPS: Record<UsageInterval, string> = { HOUR: '15 minutes', DAY: '6 hours', WEEK: '1 day', MONTH: '1 day' };

export const NO_USAGE: UsageFigures = Object.freeze({
  calls: 0,
  failedCalls: 0,
  promptTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  completionTokens: 0,
  reasoningTokens: 0,
  totalTokens: 0,
  cost: '0',
  unpricedCalls: 0,
  averageLatencyMs: null,
  p50LatencyMs: null,
  p95LatencyMs: null,
  averageTimeToFirstTokenMs: null,
  p95TimeToFirstTokenMs: null,
});

/** What a snapshot is. Times that the database has more exactly are cut to the millisecond. */
export interface Snapshot {
  now: Date;
  monthStart: Date;
  book: number;
  droppedBefore: number;
  rest: Rest;
  tailRows: number;
}
export interface Group {
  keys: (string | null)[];
  figures: UsageFigures;
  /** By the number of the start, from 1. */ series: Map<number, UsageFigures>;
}
export interface Answer {
  totals: UsageFigures;
  groups: Group[];
}

/** Those that were not asked for are missing; all are null where nothing was summed up. */
type SumsSql = Partial<
  Record<
    | 'calls'
    | 'failed_calls'
    | 'prompt_tokens'
    | 'cache_read_tokens'
    | 'cache_write_tokens'
    | 'completion_tokens'
    | 'reasoning_tokens'
    | 'cost'
    | 'priced_calls'
    | 'unpriced_calls'
    | 'latency_count'
    | 'latency_ms'
    | 'latency_histogram'
    | 'first_token_count'
    | 'first_token_ms'
    | 'first_token_histogram',
    string | null
  >
>;
interface AnswerSql extends SumsSql {
  nr: number;
  bucket: number | null;
  keys: string[] | null;
}

interface SnapshotSql {
  now: Date;
  month_start: Date;
  book: string;
  dropped_before: number;
  tail_from: Date | null;
  tail_to: Date | null;
  tail_rows: string;
  changes: [book: number, from: number, to: number, foldedBefore: number][];
}

/** Beyond what a JavaScript date can tell: in the database these are infinite. */
const EVER = 8.64e15;
const ms = (column: string): string =>
  `CASE WHEN isfinite(${column}) THEN extract(epoch FROM ${column}) * 1000 WHEN ${column} > now() THEN ${EVER} ELSE -${EVER} END`;

/** The statements of reports, all for one snapshot. Values only as parameters; names from the lists of the plan. */
export class UsageReportStore {
  /**
   * The first statement of a snapshot: what is asked before anything is read. Of price changes those that concern calls
   * since `from` (default:
   * the month's start) and were known at `asOf`. null: Postgres does not know the time zone.
   */
  async snapshot(
    tx: ReadTx,
    {
      organizationIds,
      timeZone,
      from,
      asOf,
    }: { organizationIds: string[] | null; timeZone: string; from: Date | null; asOf: Date | null },
  ): Promise<Snapshot | null> {
    const parameters = new Parameters();
    const [zone, since, at] = [
      parameters.add(timeZone),
      `${parameters.add(from?.toISOString())}::timestamptz`,
      `${parameters.add(asOf?.toISOString())}::timestamptz`,
    ];
    const organizations = organizationIds && `${parameters.add(organizationIds)}::text[]`;
    // As of midnight of the first: the month that has just ended.
    const monthStart = `weir.local_midnight(date_trunc('month', coalesce(${at} - interval '1 millisecond', weir.clock()) AT TIME ZONE ${zone})::date, ${zone})`;
    const sql = `
      SELECT weir.clock() AS now, ${monthStart} AS month_start, (SELECT coalesce(max(number), 0) FROM model_prices WHERE ${asOf ? `recorded_at <= ${at}` : 'true'}) AS book,
        (SELECT ${ms('dropped_before')} FROM usage_retention)::float8 AS dropped_before, t.tail_from, t.tail_to, t.tail_rows,
        ARRAY(SELECT json_build_array(c.book, floor(${ms('c.starts_at')}), ceil(${ms("least(c.ends_at, c.recorded_at + interval '1 millisecond')")}), floor(${ms('c.folded_before')})) FROM price_changes AS c
          WHERE least(c.ends_at, c.recorded_at + interval '1 millisecond') > coalesce(${since}, ${monthStart}) ${asOf ? `AND c.recorded_at <= ${at}` : ''}
            AND EXISTS (SELECT FROM price_change_parts AS p WHERE p.book = c.book ${organizations ? `AND (NOT p.organizations_listed OR p.organizations && ${organizations})` : ''})) AS changes
      FROM (SELECT min(from_at) AS tail_from, max(to_at) AS tail_to, coalesce(sum(rows), 0) AS tail_rows FROM usage_batches ${organizations ? `WHERE organization_id = ANY (${organizations})` : ''}) AS t`;
    let row;
    try {
      [row] = await tx.named<SnapshotSql>(
        `usage-snapshot${organizations ? '-organizations' : ''}${asOf ? '-as-of' : ''}`,
        sql,
        parameters.values,
      );
    } catch (error) {
      // invalid_parameter_value
      if ((error as { code?: string }).code === '22023') return null;
      throw error;
    }
    const { now, month_start, book, dropped_before, tail_from, tail_to, tail_rows, changes } = row!;
    return {
      now,
      monthStart: month_start,
      book: Number(book),
      droppedBefore: dropped_before,
      tailRows: Number(tail_rows),
      rest: {
        tail: tail_from && tail_to && { from: tail_from.getTime(), to: tail_to.getTime() + 1 },
        changes: changes.map(([number, start, end, foldedBefore]) => ({
          book: number,
          span: { from: start, to: end },
          foldedBefore,
        })),
      },
    };
  }

  /** The start of the day (UTC). */
  async midnight(tx: ReadTx): Promise<Date> {
    const [row] = await tx.query<{ at: Date }>(`SELECT date_trunc('day', weir.clock(), 'UTC') AS at`);
    return row!.at;
  }

  /** Where the intervals of a span begin, ascending. */
  async starts(tx: ReadTx, interval: UsageInterval, timeZone: string, { from, to }: Span): Promise<number[]> {
    // By its local date: where a clock that is set back makes a midnight happen twice, the day begins with the first
    // one.
    const start =
      interval === 'HOUR'
        ? 'date_trunc($1, moment, $2)'
        : 'weir.local_midnight(date_trunc($1, moment AT TIME ZONE $2)::date, $2)';
    const rows = await tx.query<{ at: Date }>(
      `SELECT DISTINCT ${start} AS at
       FROM (SELECT generate_series($3::timestamptz, $4::timestamptz - interval '1 microsecond', $5::interval) AS moment UNION ALL SELECT $4::timestamptz - interval '1 microsecond') AS moments ORDER BY at`,
      [interval.toLowerCase(), timeZone, new Date(from).toISOString(), new Date(to).toISOString(), STEPS[interval]],
    );
    return rows.map((row) => row.at.getTime());
  }

  /** All organisations that have figures, by steps from one to the next in the index. */
  async organizations(tx: ReadTx): Promise<string[]> {
    const rows = await tx.query<{ id: string }>(`
      WITH RECURSIVE known AS (
        (SELECT organization_id AS id FROM usage_daily ORDER BY organization_id LIMIT 1)
        UNION ALL SELECT (SELECT d.organization_id FROM usage_daily AS d WHERE d.organization_id > known.id ORDER BY d.organization_id LIMIT 1) FROM known WHERE known.id IS NOT NULL)
      SELECT id FROM known WHERE id IS NOT NULL UNION SELECT organization_id FROM usage_batches`);
    return rows.map((row) => row.id);
  }

  /**
   * Calls that the cubes know of, day by day (UTC): of all organisations, or of those whose rows a filter makes a
   * report read.
   */
  async callsByDay(
    tx: ReadTx,
    days: readonly Span[],
    filter: Pick<ScopedFilter, 'organizationIds' | 'userIds'> | null,
  ): Promise<{ day: number; calls: number }[]> {
    const parameters = new Parameters();
    const where = inSpans('day', 'date', days, parameters);
    if (filter?.userIds) where.push(`user_id = ANY (${parameters.add(filter.userIds)}::text[])`);
    if (filter?.organizationIds)
      where.push(`organization_id = ANY (${parameters.add(filter.organizationIds)}::text[])`);
    const cube = filter?.userIds
      ? 'usage_daily_by_user'
      : filter?.organizationIds
        ? 'usage_daily'
        : 'usage_daily_overall';
    const rows = await tx.query<{ day: string; calls: string }>(
      `SELECT day::text, sum(calls) AS calls FROM ${cube} WHERE ${allOf(where)} GROUP BY day`,
      parameters.values,
    );
    return rows.map((row) => ({ day: Date.parse(row.day), calls: Number(row.calls) }));
  }

  /**
   * Totals, the first groups in an order, and their intervals where there are not more than `maxRows` (groups times
   * starts); one group more than the limit tells that there are more.
   */
  async answer(
    tx: ReadTx,
    selection: Selection,
    order: { orderBy: UsageOrder; limit: number; maxRows: number },
  ): Promise<Answer> {
    const parameters = new Parameters();
    const entries = entriesOf(selection, parameters);
    const { keys, starts, measures } = selection;
    if (entries === null) return { totals: NO_USAGE, groups: [] };
    const columns = keys.join(', ');
    const sums = sumsOf(measures);
    const shown = measures.map((name) => `s.${name}`).join(', ');
    const by = [...keys, ...(starts ? ['bucket'] : [])].join(', ');
    const limit = keys.length > 0 || starts ? parameters.add(order.limit) : '';
    // Of totals alone there is one group, whether there are calls or not.
    const first = `${ORDERS[order.orderBy]}, ${keys.map((key) => `nullif(${key}, '')`).join(', ')}`;
    const groups =
      keys.length === 0
        ? `SELECT 1 AS nr, ${sums} FROM sums`
        : `
      SELECT (row_number() OVER (ORDER BY ${first}))::int AS nr, g.* FROM (
        SELECT * FROM ${starts ? `(SELECT ${columns}, ${sums} FROM sums GROUP BY ${columns})` : 'sums'} AS s WHERE calls <> 0 ORDER BY ${first} LIMIT ${limit}::int + 1) AS g`;
    const series = `
      UNION ALL SELECT g.nr, s.bucket, NULL, ${shown} FROM groups AS g JOIN sums AS s ON ${keys.length > 0 ? keys.map((key) => `s.${key} = g.${key}`).join(' AND ') : 'true'}
      WHERE g.nr <= ${limit}::int AND (SELECT count(*) FROM groups WHERE nr <= ${limit}::int) * ${starts?.length ?? 0} <= ${order.maxRows}`;
    const rows = await tx.query<AnswerSql>(
      `WITH sums AS MATERIALIZED (SELECT ${by ? `${by},` : ''} ${sums} FROM (${entries}) AS entries ${by ? `GROUP BY ${by}` : ''}),
       groups AS MATERIALIZED (${groups})
       SELECT 0 AS nr, NULL::int AS bucket, NULL::text[] AS keys, ${shown} FROM (SELECT ${sums} FROM sums) AS s
       UNION ALL SELECT s.nr, NULL, ARRAY[${columns}]::text[], ${shown} FROM groups AS s ${starts ? series : ''}`,
      parameters.values,
    );
    return toAnswer(rows);
  }

  /** All calls of conversations, from their rows: these have an index of their own. */
  async byConversation(tx: ReadTx, organizationId: string, ids: readonly string[]): Promise<Map<string, UsageFigures>> {
    const [known] = await tx.query<{ first: string | null; last: string | null; books: string[] }>(
      `SELECT r.first::text, r.last::text, ARRAY(SELECT c.book FROM price_changes AS c WHERE c.model = ANY (r.models) AND c.starts_at <= r.last AND c.ends_at > r.first) AS books
       FROM (SELECT min(occurred_at) AS first, max(occurred_at) AS last, array_agg(DISTINCT served_model) AS models FROM llm_usage
             WHERE organization_id = $1 AND conversation_id = ANY ($2::text[])) AS r`,
      [organizationId, ids],
    );
    const { first, last, books } = known!;
    if (first === null) return new Map();
    const measures = measuresOf(ALL_FIGURES);
    const names = measures.join(', ');
    const where =
      'organization_id = $1 AND conversation_id = ANY ($2::text[]) AND occurred_at >= $3::timestamptz AND occurred_at <= $4::timestamptz';
    const changes =
      books.length > 0
        ? `UNION ALL SELECT conversation_id, ${names} FROM weir.price_entries WHERE ${where} AND book = ANY ($5::bigint[])`
        : '';
    const rows = await tx.query<SumsSql & { conversation_id: string }>(
      `SELECT conversation_id, ${sumsOf(measures)} FROM (SELECT conversation_id, ${names} FROM weir.row_entries WHERE ${where} ${changes}) AS entries GROUP BY conversation_id`,
      [organizationId, ids, first, last, ...(books.length > 0 ? [books] : [])],
    );
    return new Map(rows.map((row) => [row.conversation_id, toFigures(row)]));
  }
}

function toAnswer(rows: readonly AnswerSql[]): Answer {
  let totals = NO_USAGE;
  const groups: Group[] = [];
  const series: AnswerSql[] = [];
  for (const row of rows) {
    if (row.nr === 0) totals = toFigures(row);
    else if (row.keys)
      groups[row.nr - 1] = { keys: row.keys.map((key) => key || null), figures: toFigures(row), series: new Map() };
    else series.push(row);
  }
  for (const row of series) groups[row.nr - 1]!.series.set(row.bucket!, toFigures(row));
  return { totals, groups };
}

// Sums of tokens stay below 2^53 for 285 years of a million tokens a second.
function toFigures(row: SumsSql): UsageFigures {
  const number = (value: string | null | undefined): number => Number(value ?? 0);
  const [calls, priced, latencies, firstTokens] = [
    number(row.calls),
    number(row.priced_calls),
    number(row.latency_count),
    number(row.first_token_count),
  ];
  if (calls === 0 && priced === 0) return NO_USAGE;
  const [p50, p95] = row.latency_histogram ? percentilesOf(row.latency_histogram, latencies, [50, 95]) : [null, null];
  const [p95FirstToken] = row.first_token_histogram
    ? percentilesOf(row.first_token_histogram, firstTokens, [95])
    : [null];
  return {
    calls,
    failedCalls: number(row.failed_calls),
    promptTokens: number(row.prompt_tokens),
    cacheReadTokens: number(row.cache_read_tokens),
    cacheWriteTokens: number(row.cache_write_tokens),
    completionTokens: number(row.completion_tokens),
    reasoningTokens: number(row.reasoning_tokens),
    totalTokens: number(row.prompt_tokens) + number(row.completion_tokens),
    cost: priced === 0 ? null : canonicalDecimal(row.cost ?? '0'),
    unpricedCalls: number(row.unpriced_calls),
    averageLatencyMs: row.latency_ms && latencies > 0 ? number(row.latency_ms) / latencies : null,
    p50LatencyMs: p50!,
    p95LatencyMs: p95!,
    averageTimeToFirstTokenMs: row.first_token_ms && firstTokens > 0 ? number(row.first_token_ms) / firstTokens : null,
    p95TimeToFirstTokenMs: p95FirstToken!,
  };
}
