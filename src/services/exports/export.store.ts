import { pricedCall } from '../../database/priced-call';
import type { Db } from '../../database/pool';
import { COST_COLUMNS, LINE, ROW_COLUMNS } from './export-columns.store';
import type { ExportLink } from './export-link';
import type { ScopedFilter } from '../usage/usage-scope';
import { allOf, CALL_ID, Parameters, whereOf } from '../usage/usage-where.store';

/** Where a page ends: time with microseconds as text, then organisation and call. */
export interface ExportKey {
  at: string;
  organizationId: string;
  callId: string;
}
/** A page is of calls after a key, or from a time on, and before another time. */
export interface ExportSpan {
  after: ExportKey | null;
  from: Date;
  before: Date;
}
export interface ExportPage {
  rows: number;
  /** Its lines; only their length where that alone was asked for. */
  text: string | null;
  bytes: number;
  /** null without rows. */
  last: ExportKey | null;
  /** Of the names that the page may have; another sum than that of the link: the page is of another file. */
  names: string;
  /** Rows of calls before this time were removed; null: none ever. */
  droppedBefore: Date | null;
}
/** A price change that the file knows: what it may concern. */
export interface KnownChange {
  book: string;
  model: string;
  startsAt: Date;
  endsAt: Date;
}

const KEY_COLUMNS = `to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, organization_id, call_id`;
const DROPPED = `(SELECT nullif(dropped_before, '-infinity') FROM usage_retention)`;
/** The first and the last moment that the graph has a form for. */
const BEGINNING_OF_TIME = new Date('0001-01-01T00:00:00Z');
export const END_OF_TIME = new Date('9999-12-31T23:59:59.999Z');
const ORDER = 'occurred_at, organization_id, call_id';

/**
 * Single calls as lines of a file, a page at a time: each page is a statement of its own, and no connection waits for a
 * client.
 */
export class ExportStore {
  constructor(private readonly db: Db) {}

  /** This moment of the database, to the next whole millisecond; and what is no longer there. */
  async clock(): Promise<{ now: Date; droppedBefore: Date | null }> {
    const [row] = await this.db.query<{ now: Date; dropped_before: Date | null }>(
      `SELECT date_trunc('milliseconds', weir.clock() + interval '999 microseconds') AS now, ${DROPPED} AS dropped_before`,
    );
    return { now: row!.now, droppedBefore: row!.dropped_before };
  }

  /** The sum of all names that the file may have: of those who were there at its time. */
  async names(filter: ScopedFilter, asOf: Date): Promise<string> {
    const parameters = new Parameters();
    const [row] = await this.db.query<{ names: string }>(
      `SELECT ${namesOf(filter, parameters.add(asOf), parameters)} AS names`,
      parameters.values,
    );
    return row!.names;
  }

  /** Price changes of a time and before: none can come to these later. */
  async changes(asOf: Date): Promise<KnownChange[]> {
    const rows = await this.db.query<{ book: string; model: string; starts_at: Date | number; ends_at: Date | number }>(
      'SELECT book, model, starts_at, ends_at FROM price_changes WHERE recorded_at <= $1',
      [asOf],
    );
    // Infinity is no date.
    const within = (time: Date | number): Date =>
      time instanceof Date ? time : time < 0 ? BEGINNING_OF_TIME : END_OF_TIME;
    return rows.map((row) => ({
      book: row.book,
      model: row.model,
      startsAt: within(row.starts_at),
      endsAt: within(row.ends_at),
    }));
  }

  /**
   * When the first call at or after a time was made, of whoever the filter is about; what else it asks is not looked
   * at. null: none.
   */
  async next(filter: ScopedFilter, from: Date | null): Promise<{ at: Date | null; droppedBefore: Date | null }> {
    const parameters = new Parameters();
    const span = whereOf({ organizationIds: null, userIds: null, from, to: filter.to }, parameters);
    // An index has the calls of one organisation, or of one user, in the order of time: each of them is asked for its
    // first one.
    const { userIds, organizationIds } = filter;
    const organizations = organizationIds
      ? `unnest(${parameters.add(organizationIds)}::text[])`
      : '(SELECT id FROM organizations)';
    const users = userIds ? `unnest(${parameters.add(userIds)}::text[])` : `(SELECT NULL::text)`;
    const [row] = await this.db.query<{ at: Date | null; dropped_before: Date | null }>(
      `SELECT min(first.occurred_at) AS at, ${DROPPED} AS dropped_before FROM ${organizations} AS o(id) CROSS JOIN ${users} AS u(id) CROSS JOIN LATERAL (
         SELECT occurred_at FROM llm_usage WHERE ${allOf(['organization_id = o.id', ...(userIds ? ['user_id = u.id'] : []), ...span])} ORDER BY occurred_at LIMIT 1) AS first`,
      parameters.values,
    );
    return { at: row!.at, droppedBefore: row!.dropped_before };
  }

  /**
   * At most `limit` calls of the span, as they were true at the link's time and at the costs of that time, in the order
   * of `(occurred_at, organization_id, call_id)`.
   */
  async page(
    { filter, asOf }: Pick<ExportLink, 'filter' | 'asOf'>,
    changes: readonly KnownChange[],
    span: ExportSpan,
    limit: number,
    lengthOnly: boolean,
  ): Promise<ExportPage> {
    const parameters = new Parameters();
    const at = `${parameters.add(asOf)}::timestamptz`;
    const from = `${parameters.add(span.after?.at ?? span.from)}::timestamptz`;
    const before = `${parameters.add(span.before)}::timestamptz`;
    const conditions = [
      ...whereOf(filter, parameters),
      `occurred_at >= ${from}`,
      `occurred_at < ${before}`,
      `kind <> 'REVERSAL'`,
      `settled_at <= ${at}`,
    ];
    if (filter.providers) conditions.push(`provider = ANY (${parameters.add(filter.providers)}::text[])`);
    if (filter.statuses) conditions.push(`status = ANY (${parameters.add(filter.statuses)}::text[])`);
    if (span.after)
      conditions.push(
        `(occurred_at, organization_id, ${CALL_ID}) > (${from}, ${parameters.add(span.after.organizationId)}::text, ${parameters.add(span.after.callId)}::text)`,
      );
    // What was true then: nothing later was known of the call.
    conditions.push(`NOT EXISTS (SELECT FROM llm_usage AS later WHERE later.corrects_id = ${CALL_ID} AND later.organization_id = llm_usage.organization_id
      AND later.occurred_at = llm_usage.occurred_at AND later.correction > llm_usage.correction AND later.settled_at <= ${at} AND later.occurred_at >= ${from} AND later.occurred_at < ${before})`);
    const rows = `
      WITH page AS MATERIALIZED (
        SELECT ${ROW_COLUMNS}, ${COST_COLUMNS.join(', ')}, book_number, id, ${CALL_ID} AS call_id FROM llm_usage WHERE ${allOf(conditions)} ORDER BY ${ORDER} LIMIT ${parameters.add(limit)})`;
    const concerning = changes.filter(({ startsAt, endsAt }) => startsAt < span.before && endsAt > span.from);
    const calls = concerning.length === 0 ? 'page' : repriced(concerning, { at, from, before }, parameters);
    const sql = `${rows}
      SELECT lines.*, last.*, ${DROPPED} AS dropped_before, ${namesOf(filter, at, parameters)} AS names
      FROM (SELECT count(*)::integer AS rows, coalesce(sum(octet_length(line)), 0)::integer AS bytes, ${lengthOnly ? 'NULL' : `coalesce(string_agg(line, '' ORDER BY ${ORDER}), '')`} AS text
        FROM (SELECT c.occurred_at, c.organization_id, c.call_id, ${LINE} AS line FROM ${calls} AS c
          LEFT JOIN (SELECT id, name FROM organizations WHERE id = ANY (ARRAY(SELECT DISTINCT organization_id FROM page)) OFFSET 0) AS o ON o.id = c.organization_id
          LEFT JOIN ${named('users', 'user_id', 'AND n.deleted_at IS NULL')} AS u ON u.organization_id = c.organization_id AND u.id = c.user_id
          LEFT JOIN ${named('projects', 'project_id')} AS j ON j.organization_id = c.organization_id AND j.id = c.project_id OFFSET 0) AS named) AS lines
      LEFT JOIN (SELECT ${KEY_COLUMNS} FROM (SELECT ${ORDER} FROM page ORDER BY occurred_at DESC, organization_id DESC, call_id DESC LIMIT 1) AS key) AS last ON true`;
    // Not of a snapshot that is taken before the statement: that could have lost a partition, and not know it.
    const [row] = await this.db.query<{
      rows: number;
      bytes: number;
      text: string | null;
      at: string | null;
      organization_id: string;
      call_id: string;
      dropped_before: Date | null;
      names: string;
    }>(sql, parameters.values);
    const {
      at: lastAt,
      organization_id: organizationId,
      call_id: callId,
      dropped_before: droppedBefore,
      ...page
    } = row!;
    return { ...page, droppedBefore, last: lastAt === null ? null : { at: lastAt, organizationId, callId } };
  }
}

/** Names of those who are in the page: each is looked up, where a join may read all there are for every page. */
const named = (table: string, column: string, more = ''): string => `(SELECT n.organization_id, n.id, n.name
  FROM (SELECT DISTINCT organization_id, ${column} AS id FROM page OFFSET 0) AS i JOIN ${table} AS n ON n.organization_id = i.organization_id AND n.id = i.id ${more} OFFSET 0)`;

/**
 * The page at the costs of a time. Only rows that a change may be about are priced again: it takes longer than
 * everything else about them.
 */
function repriced(
  changes: readonly KnownChange[],
  { at, from, before }: Record<'at' | 'from' | 'before', string>,
  parameters: Parameters,
): string {
  const list = (type: string, value: (change: KnownChange) => unknown): string =>
    `${parameters.add(changes.map(value))}::${type}[]`;
  const known = `unnest(${list('text', ({ model }) => model)}, ${list('bigint', ({ book }) => book)}, ${list('timestamptz', ({ startsAt }) => startsAt)}, ${list('timestamptz', ({ endsAt }) => endsAt)})`;
  const columns = [...ROW_COLUMNS.split(','), 'call_id'].map((name) => `touched.${name.trim()}`);
  const costs = COST_COLUMNS.map(
    (name) => `CASE WHEN touched.is_touched THEN (priced.parts).${name} ELSE touched.${name} END AS ${name}`,
  );
  return `(SELECT ${[...columns, ...costs].join(', ')}
    FROM (SELECT page.*, EXISTS (SELECT FROM ${known} AS change(model, book, starts_at, ends_at)
      WHERE change.model = page.served_model AND change.book > page.book_number AND page.occurred_at >= change.starts_at AND page.occurred_at < change.ends_at) AS is_touched FROM page OFFSET 0) AS touched
    LEFT JOIN LATERAL (SELECT weir.cost_as_of(${pricedCall('entry')}, ${at}) AS parts FROM llm_usage AS entry
      WHERE touched.is_touched AND entry.organization_id = touched.organization_id AND entry.occurred_at = touched.occurred_at AND entry.id = touched.id
        AND entry.occurred_at >= ${from} AND entry.occurred_at < ${before} OFFSET 0) AS priced ON true)`;
}

/**
 * Of organisations, users and projects that were there at a time: whoever came later has no call that was settled until
 * then.
 */
function namesOf({ organizationIds, userIds }: ScopedFilter, at: string, parameters: Parameters): string {
  const organizations = organizationIds && parameters.add(organizationIds);
  const users = userIds && parameters.add(userIds);
  const sum = (table: string, name: string, id: string, more = 'true'): string =>
    `coalesce((SELECT sum(hashtextextended(id || E'\\x01' || ${name}, 0)) FROM ${table} WHERE created_at <= ${at} AND ${organizations ? `${id} = ANY (${organizations}::text[])` : 'true'} AND ${more}), 0)`;
  return `concat(${[
    sum('organizations', 'name', 'id'),
    sum(
      'users',
      `CASE WHEN deleted_at IS NULL THEN name ELSE '' END`,
      'organization_id',
      users ? `id = ANY (${users}::text[])` : 'true',
    ),
    sum('projects', 'name', 'organization_id'),
  ].join(`, '/', `)})`;
}
