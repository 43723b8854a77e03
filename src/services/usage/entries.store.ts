import { DAY_MS, ceilTo, joined, within, type Column, type ReportPlan, type Span } from './report-plan';
import type { ScopedFilter } from './usage-scope';
import { allOf, whereSettled, type Parameters } from './usage-where.store';
import type { UsageFigures } from './usage.types';

const COLUMNS_OF: Record<keyof UsageFigures, readonly string[]> = {
  calls: [],
  failedCalls: ['failed_calls'],
  promptTokens: ['prompt_tokens'],
  cacheReadTokens: ['cache_read_tokens'],
  cacheWriteTokens: ['cache_write_tokens'],
  completionTokens: ['completion_tokens'],
  reasoningTokens: ['reasoning_tokens'],
  totalTokens: ['prompt_tokens', 'completion_tokens'],
  cost: ['cost', 'priced_calls'],
  unpricedCalls: ['unpriced_calls'],
  averageLatencyMs: ['latency_count', 'latency_ms'],
  p50LatencyMs: ['latency_count', 'latency_histogram'],
  p95LatencyMs: ['latency_count', 'latency_histogram'],
  averageTimeToFirstTokenMs: ['first_token_count', 'first_token_ms'],
  p95TimeToFirstTokenMs: ['first_token_count', 'first_token_histogram'],
};
const NUMERIC: ReadonlySet<string> = new Set(['cost', 'latency_histogram', 'first_token_histogram']);
export const ALL_FIGURES = Object.keys(COLUMNS_OF) as (keyof UsageFigures)[];

/** The columns that figures are made of, named alike in cubes and entries. */
export const measuresOf = (figures: readonly (keyof UsageFigures)[]): string[] => [
  ...new Set(['calls', ...figures.flatMap((figure) => COLUMNS_OF[figure])]),
];
/** Counts stay `bigint`, of which Postgres would make `numeric`. */
export const sumsOf = (measures: readonly string[]): string =>
  measures.map((name) => `sum(${name})${NUMERIC.has(name) ? '' : '::bigint'} AS ${name}`).join(', ');

/** What is not in the cubes, and what single rows are changed by. */
export interface Rest {
  /** When the calls of the batches that are not folded were made; null: there are none. */
  tail: Span | null;
  /** Price changes: which calls they can concern by their time, and up to which time they are folded. */
  changes: { book: number; span: Span; foldedBefore: number }[];
}
export interface Selection {
  plan: ReportPlan;
  /** Without its span. */
  filter: ScopedFilter;
  /**
   * Where the filter names nobody: all organisations, since the indexes of tables that are kept by organisation begin
   * with it. null: not needed.
   */
  organizations: readonly string[] | null;
  keys: readonly Column[];
  /** null: no intervals. */
  starts: readonly number[] | null;
  asOf: number | null;
  /** Names of columns. */
  measures: readonly string[];
  rest: Rest;
}

const time = (at: number): string => new Date(at).toISOString();
const date = (at: number): string => time(at).slice(0, 10);
const inText = { date, timestamptz: time };

/**
 * Every entry that a report is made of, as one statement without sums: columns of the keys ('' for none), `bucket`
 * (which start, from 1) and
 * the measures. null: there is nothing to read. In one snapshot these exclude each other and are complete:
 *
 * - cubes: everything that is folded, of the spans that they answer;
 * - the rows of batches that are not folded, and the price changes of calls whose part is not folded, of the same
 * spans;
 * - of the other spans: all rows, with all price changes.
 */
export function entriesOf(selection: Selection, parameters: Parameters): string | null {
  const { plan, filter, organizations, starts, asOf, rest } = selection;
  const columns = [
    ...selection.keys.map((key) => (key === 'agent' ? `coalesce(agent, '') AS agent` : key)),
    ...selection.measures,
  ].join(', ');
  const conditions = (byOrganization = false): string[] => {
    const found = whereSettled({ ...filter, from: null, to: null }, parameters, false);
    return byOrganization && organizations
      ? [...found, `organization_id = ANY (${parameters.add(organizations)}::text[])`]
      : found;
  };
  const bucket = (column: string, type: 'date' | 'timestamptz'): string => {
    if (!starts) return '1';
    // A day belongs to the last interval that begins with it or before: those that begin within it are later than
    // anything that there is.
    const edges = type === 'date' ? starts.map((start) => date(ceilTo(DAY_MS, start))) : starts.map(time);
    return `width_bucket(${column}, ${parameters.add(edges)}::${type}[])`;
  };
  const parts: string[] = [];
  const part = (table: string, column: string, type: 'date' | 'timestamptz', where: string[]): void => {
    parts.push(`SELECT ${columns}, ${bucket(column, type)} AS bucket FROM ${table} WHERE ${allOf(where)}`);
  };
  const known = (column: 'entry_at' | 'settled_at'): string[] =>
    asOf === null ? [] : [`${column} <= ${parameters.add(time(asOf))}::timestamptz`];
  /**
   * Span by span, by an index that begins with whose rows they are: not pulled apart by Postgres, which would read what
   * lies between, too.
   */
  const bySpans = (table: string, column: string, spans: readonly Span[], where: string[]): void => {
    const narrowed =
      filter.organizationIds !== null ||
      filter.userIds !== null ||
      (organizations !== null && table !== 'usage_quarter_hourly');
    if (spans.length === 1 || !narrowed)
      return part(table, column, 'timestamptz', [...where, ...inSpans(column, 'timestamptz', spans, parameters)]);
    const [from, to] = [
      parameters.add(spans.map((span) => time(span.from))),
      parameters.add(spans.map((span) => time(span.to))),
    ];
    const outer = inSpans(column, 'timestamptz', [{ from: spans[0]!.from, to: spans.at(-1)!.to }], parameters);
    parts.push(`SELECT e.* FROM unnest(${from}::timestamptz[], ${to}::timestamptz[]) AS span (span_from, span_to) CROSS JOIN LATERAL (
      SELECT ${columns}, ${bucket(column, 'timestamptz')} AS bucket FROM ${table} WHERE ${allOf([...where, ...outer, `${column} >= span_from AND ${column} < span_to`])} OFFSET 0) AS e`);
  };

  if (plan.days.length > 0)
    part(plan.cube!, 'day', 'date', [
      ...conditions(plan.cube !== 'usage_daily_overall'),
      ...inSpans('day', 'date', plan.days, parameters),
      ...known('entry_at'),
    ]);
  if (plan.quarters.length > 0)
    bySpans('usage_quarter_hourly', 'at', plan.quarters, [...conditions(), ...known('entry_at')]);
  if (plan.raw.length > 0)
    bySpans('weir.row_entries', 'occurred_at', plan.raw, [...conditions(true), ...known('settled_at')]);

  const inCubes = joined([...plan.days, ...plan.quarters]);
  const tail = rest.tail ? within(inCubes, rest.tail) : [];
  if (tail.length > 0) {
    const batches = [
      `to_at >= ${parameters.add(time(tail[0]!.from))}::timestamptz`,
      `from_at < ${parameters.add(time(tail.at(-1)!.to))}::timestamptz`,
    ];
    if (filter.organizationIds)
      batches.push(`organization_id = ANY (${parameters.add(filter.organizationIds)}::text[])`);
    part('weir.row_entries', 'occurred_at', 'timestamptz', [
      // An array, and no join: what Postgres knows of this table's size is seldom true.
      ...conditions(),
      `batch_id = ANY (ARRAY(SELECT id FROM usage_batches WHERE ${allOf(batches)}))`,
      ...inSpans('occurred_at', 'timestamptz', tail, parameters),
      ...known('entry_at'),
    ]);
  }
  const priced = (spans: readonly Span[], changes: Rest['changes'], more: string[]): void => {
    const concerned = changes.filter((change) => within(spans, change.span).length > 0);
    if (concerned.length === 0) return;
    const span = {
      from: Math.min(...concerned.map((change) => change.span.from)),
      to: Math.max(...concerned.map((change) => change.span.to)),
    };
    bySpans('weir.price_entries', 'occurred_at', within(spans, span), [
      ...conditions(true),
      `book = ANY (${parameters.add(concerned.map((change) => change.book))}::bigint[])`,
      ...more,
    ]);
  };
  priced(
    inCubes,
    rest.changes.map((change) => ({
      ...change,
      span: { from: Math.max(change.span.from, change.foldedBefore), to: change.span.to },
    })),
    ['occurred_at >= folded_before'],
  );
  priced(plan.raw, rest.changes, []);
  return parts.length > 0 ? parts.join('\nUNION ALL ') : null;
}

/**
 * That a time is in one of many spans: sorted bounds, of which every second one begins a span. The outer ones stand
 * apart, for indexes and partitions.
 */
export function inSpans(
  column: string,
  type: 'date' | 'timestamptz',
  spans: readonly Span[],
  parameters: Parameters,
): string[] {
  const text = inText[type];
  const outer = [
    `${column} >= ${parameters.add(text(spans[0]!.from))}::${type}`,
    `${column} < ${parameters.add(text(spans.at(-1)!.to))}::${type}`,
  ];
  if (spans.length === 1) return outer;
  const bounds = parameters.add(spans.flatMap((span) => [text(span.from), text(span.to)]));
  return [...outer, `width_bucket(${column}, ${bounds}::${type}[]) % 2 = 1`];
}
