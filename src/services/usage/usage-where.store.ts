import type { Db, Tx } from '../../entities/data-source';
import type { ScopedFilter } from './usage-scope';

/** Reads from one snapshot. A statement that takes 10 s is given up (SERVICE_UNAVAILABLE): nobody waits for it, and others wait behind it. */
export const readSnapshot = <T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> =>
  db.transaction(async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    await tx.query(`SET LOCAL statement_timeout = '10s'`);
    return work(tx);
  });

/** Collects the parameters of a statement; `$n` is what stands for them in its text. */
export class Parameters {
  readonly values: unknown[] = [];

  add(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}

/** The columns that a filter looks at, which `llm_usage` and `calls_in_flight` have in common. Names here, values only as parameters. */
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
  for (const [field, column] of LISTS) if (filter[field]) conditions.push(`${column} = ANY (${parameters.add(filter[field])}::text[])`);
  if (filter.conversationId != null) conditions.push(`conversation_id = ${parameters.add(filter.conversationId)}`);
  if (filter.traceId != null) conditions.push(`trace_id = ${parameters.add(filter.traceId)}`);
  if (filter.from) conditions.push(`occurred_at >= ${parameters.add(filter.from)}::timestamptz`);
  if (filter.to) conditions.push(`occurred_at < ${parameters.add(filter.to)}::timestamptz`);
  return conditions;
}

/** Conditions of a filter on settled calls. */
export function whereSettled(filter: ScopedFilter, parameters: Parameters): string[] {
  const conditions = whereOf(filter, parameters);
  if (filter.providers) conditions.push(`provider = ANY (${parameters.add(filter.providers)}::text[])`);
  if (filter.statuses) conditions.push(`status = ANY (${parameters.add(filter.statuses)}::text[])`);
  return conditions;
}

export const allOf = (conditions: readonly string[]): string => (conditions.length > 0 ? conditions.join(' AND ') : 'true');
