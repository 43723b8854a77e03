import type { Db, ReadTx } from '../../database/pool';
import type { ScopedFilter } from './usage-scope';

/**
 * Reads from one snapshot, which is taken by the first statement of the work, behind a lock: a month of rows that is
 * removed is gone at once, for older snapshots too, and is removed before a report or after it. A statement that takes
 * 10 s is given up
 * (SERVICE_UNAVAILABLE): nobody waits
 * for it, and others wait behind it. Room to sum up some ten thousand groups without a file; few of these run at a
 * time. Other processes to help, or machine code, take longer to come about than most statements run.
 */
export const readSnapshot = <T>(db: Db, work: (tx: ReadTx) => Promise<T>): Promise<T> =>
  db.readTransaction(
    `START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = '10s'; SET LOCAL work_mem = '32MB'; SET LOCAL max_parallel_workers_per_gather = 0;
     LOCK TABLE ONLY llm_usage IN ACCESS SHARE MODE`,
    work,
  );

/** Collects the parameters of a statement; `$n` is what stands for them in its text. */
export class Parameters {
  readonly values: unknown[] = [];

  add(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}

/**
 * The columns that a filter looks at, which `llm_usage` and `calls_in_flight` have in common. Names here, values only
 * as parameters.
 */
const LISTS = [
  ['organizationIds', 'organization_id'],
  ['userIds', 'user_id'],
  ['projectIds', 'project_id'],
  ['models', 'model'],
  ['scenarios', 'scenario'],
  ['agents', 'agent'],
] as const;

/** Conditions of a filter, without provider and status: a call in flight has neither. */
export function whereOf(filter: ScopedFilter, parameters: Parameters): string[] {
  const conditions: string[] = [];
  for (const [field, column] of LISTS) {
    const values = filter[field];
    // With one value the index gives the rows in the order of time, and a page reads no more than it shows.
    if (values)
      conditions.push(
        values.length === 1
          ? `${column} = ${parameters.add(values[0])}::text`
          : `${column} = ANY (${parameters.add(values)}::text[])`,
      );
  }
  if (filter.conversationId != null) conditions.push(`conversation_id = ${parameters.add(filter.conversationId)}`);
  if (filter.traceId != null) conditions.push(`trace_id = ${parameters.add(filter.traceId)}`);
  if (filter.from) conditions.push(`occurred_at >= ${parameters.add(filter.from)}::timestamptz`);
  if (filter.to) conditions.push(`occurred_at < ${parameters.add(filter.to)}::timestamptz`);
  return conditions;
}

/** What no correction changes of a call: whose it is, and when it was. */
const spanOf = ({ organizationIds, userIds, from, to }: ScopedFilter, parameters: Parameters): string[] =>
  whereOf({ organizationIds, userIds, from, to }, parameters);

/** Conditions of a filter on what is true of settled calls. `corrected`: something in the filter's span may be. */
export function whereSettled(filter: ScopedFilter, parameters: Parameters, corrected: boolean): string[] {
  const conditions = whereOf(filter, parameters);
  if (filter.providers) conditions.push(`provider = ANY (${parameters.add(filter.providers)}::text[])`);
  if (filter.statuses) conditions.push(`status = ANY (${parameters.add(filter.statuses)}::text[])`);
  if (corrected) conditions.push(trueRows(spanOf(filter, parameters)));
  return conditions;
}

/**
 * A correction of a call is two further rows: the reversal of what was booked, and what is true. This leaves of each
 * call the row that is true: the newest correction, or the call itself. Filters, sums and percentiles are of that row
 * alone, its latency included.
 * `span`: conditions on what no
 * correction changes, so that no more corrections are looked through than there can be.
 */
export const trueRows = (span: readonly string[] = []): string =>
  `kind <> 'REVERSAL' AND NOT EXISTS (SELECT FROM llm_usage AS later WHERE ${allOf([
    'later.corrects_id IS NOT NULL',
    'later.organization_id = llm_usage.organization_id',
    'later.occurred_at = llm_usage.occurred_at',
    `later.corrects_id = ${CALL_ID}`,
    'later.correction > llm_usage.correction',
    ...span,
  ])})`;
/** The call's own id, on each of its rows. */
export const CALL_ID = 'coalesce(llm_usage.corrects_id, llm_usage.id)';

export const allOf = (conditions: readonly string[]): string =>
  conditions.length > 0 ? conditions.join(' AND ') : 'true';
