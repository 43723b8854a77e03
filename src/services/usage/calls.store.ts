import { pricedCall } from '../../database/priced-call';
import type { Db, ReadTx } from '../../database/pool';
import { canonicalDecimal } from '../../lib/decimal';
import { pageBounds, type PageBounds } from './page-bounds.store';
import type { ScopedFilter } from './usage-scope';
import { allOf, CALL_ID, Parameters, readSnapshot, trueRows, whereOf, whereSettled } from './usage-where.store';
import type { CallRecord } from '../../domain/call';

/**
 * Where a page goes on: time with microseconds as text (a JavaScript date would cut them, and lose calls of the same
 * millisecond), then id.
 */
export type CallKey = readonly [occurredAt: string, id: string];

interface CallSql {
  key: string;
  id: string;
  occurred_at: Date;
  organization_id: string;
  user_id: string;
  project_id: string | null;
  conversation_id: string | null;
  trace_id: string;
  agent: string | null;
  scenario: string;
  model: string;
  served_model: string;
  provider: string | null;
  deployment: string | null;
  upstream: string;
  status: string;
  error_code: string | null;
  streamed: boolean;
  uncached_prompt_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  cache_write_one_hour_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  usage_source: string;
  cost: string | null;
  cost_input: string | null;
  cost_cache_read: string | null;
  cost_cache_write: string | null;
  cost_output: string | null;
  cost_reasoning: string | null;
  cost_request: string | null;
  proxy_cost: string | null;
  latency_ms: number | null;
  time_to_first_token_ms: number | null;
}

const KEY = `to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS key`;
const COMMON = `occurred_at, organization_id, user_id, project_id, conversation_id, trace_id, agent, scenario, model, upstream, streamed`;
const SETTLED = `
  SELECT ${KEY}, ${CALL_ID} AS id, ${COMMON}, served_model, provider, deployment, status, error_code, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens,
    output_tokens, reasoning_tokens, usage_source, proxy_cost, latency_ms, time_to_first_token_ms, llm_usage AS entry
  FROM llm_usage`;
// One row per call: where the usage row is there already, that one counts.
const IN_FLIGHT = `
  SELECT ${KEY}, id, ${COMMON}, model AS served_model, NULL::text AS provider, NULL::text AS deployment, 'RUNNING' AS status, NULL::text AS error_code, 0 AS uncached_prompt_tokens,
    0 AS cache_read_tokens, 0 AS cache_write_tokens, 0 AS cache_write_one_hour_tokens, 0 AS output_tokens, 0 AS reasoning_tokens, 'NONE' AS usage_source,
    NULL::numeric AS proxy_cost, NULL::integer AS latency_ms, NULL::integer AS time_to_first_token_ms, NULL::llm_usage AS entry
  FROM calls_in_flight AS f`;
const SHOWN = [
  'key',
  'id',
  ...COMMON.split(', '),
  'served_model',
  'provider',
  'deployment',
  'status',
  'error_code',
  'uncached_prompt_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'cache_write_one_hour_tokens',
  'output_tokens',
  'reasoning_tokens',
  'usage_source',
  'proxy_cost',
  'latency_ms',
  'time_to_first_token_ms',
]
  .map((name) => `c.${name}`)
  .join(', ');
const COSTS = [
  'cost',
  'cost_input',
  'cost_cache_read',
  'cost_cache_write',
  'cost_output',
  'cost_reasoning',
  'cost_request',
];
/**
 * Calls at what they cost today: a price that was recorded after they were booked may have changed it. Only such rows
 * are priced again.
 */
const atCurrentCost = (calls: string): string => `
  SELECT ${SHOWN}, ${COSTS.map((name) => `CASE WHEN p.parts IS NULL THEN (c.entry).${name} ELSE (p.parts).${name} END AS ${name}`).join(', ')}
  FROM (${calls}) AS c CROSS JOIN LATERAL (SELECT CASE WHEN EXISTS (SELECT FROM price_changes AS change WHERE change.model = c.served_model AND change.book > (c.entry).book_number)
    THEN weir.cost_as_of(${pricedCall('(c.entry)')}, NULL) END AS parts OFFSET 0) AS p`;
const notSettled = (since: string): string =>
  `NOT EXISTS (SELECT FROM llm_usage u WHERE u.organization_id = f.organization_id AND u.occurred_at = f.occurred_at AND u.id = f.id AND ${since})`;

/** Single calls, once each: settled ones by their true row, and those in flight, in one order. */
export class CallsStore {
  constructor(private readonly db: Db) {}

  /** Newest first, one row more than `first`: the last one only tells that there are more. */
  async page(
    filter: ScopedFilter,
    first: number,
    after: CallKey | null,
  ): Promise<{ call: CallRecord; key: CallKey }[]> {
    const rows = await readSnapshot(this.db, async (tx) => {
      const bounds = await pageBounds(tx, filter, first + 1, after);
      const found = await this.read(tx, filter, first + 1, after, bounds);
      // Too many were counted: seldom, and then everything is looked through.
      return found.length <= first && bounds.from && !bounds.isAll
        ? this.read(tx, filter, first + 1, after, { ...bounds, from: null })
        : found;
    });
    return rows.map((row) => ({ call: mapCall(row), key: [row.key, row.id] }));
  }

  private read(
    tx: ReadTx,
    filter: ScopedFilter,
    count: number,
    after: CallKey | null,
    bounds: PageBounds,
  ): Promise<CallSql[]> {
    const parameters = new Parameters();
    const limit = parameters.add(count);
    const key = after ? `(${parameters.add(after[0])}::timestamptz, ${parameters.add(after[1])}::text)` : null;
    const parts: string[] = [];
    const part = (select: string, id: string, conditions: string[]): void => {
      if (key) conditions.push(`(occurred_at, ${id}) < ${key}`);
      parts.push(`(${select} WHERE ${allOf(conditions)} ORDER BY occurred_at DESC, id DESC LIMIT ${limit})`);
    };
    // By the call's id, whichever of its rows is true: a page goes on at the same place when a call is corrected
    // meanwhile.
    // Of time as narrow as it is known, for corrections, too: Postgres then plans for few months.
    const { from, to } = filter;
    const narrow = {
      from: bounds.from && (!from || bounds.from > from) ? bounds.from : from,
      to: after && (!to || Date.parse(after[0]) < to.getTime()) ? new Date(Date.parse(after[0]) + 1) : to,
    };
    part(SETTLED, CALL_ID, whereSettled({ ...filter, ...narrow }, parameters, true));
    if (bounds.inFlightFrom && !filter.providers && (!filter.statuses || filter.statuses.includes('RUNNING'))) {
      part(IN_FLIGHT, 'id', [
        ...whereOf(filter, parameters),
        notSettled(`u.occurred_at >= ${parameters.add(bounds.inFlightFrom)}::timestamptz`),
      ]);
    }
    const sql = `${atCurrentCost(`SELECT * FROM (${parts.join(' UNION ALL ')}) AS calls ORDER BY occurred_at DESC, id DESC LIMIT ${limit}`)} ORDER BY c.occurred_at DESC, c.id DESC`;
    return tx.query<CallSql>(sql, parameters.values);
  }

  /** A call of the organisation; null for `organizationId`: of any, for operators. */
  async find(id: string, organizationId: string | null): Promise<CallRecord | null> {
    const parameters = new Parameters();
    const call = parameters.add(id);
    // Every index is by organisation first: an operator's question is one look for each of them.
    const theirs =
      organizationId === null
        ? 'organization_id = ANY (ARRAY(SELECT o.id FROM organizations AS o))'
        : `organization_id = ${parameters.add(organizationId)}`;
    const settled = `${SETTLED} WHERE ${theirs} AND (id = ${call} AND kind = 'CALL' OR corrects_id = ${call}) AND ${trueRows()}`;
    const inFlight = `${IN_FLIGHT} WHERE ${theirs} AND id = ${call} AND ${notSettled('true')}`;
    const [row] = await this.db.query<CallSql>(
      atCurrentCost(`${settled} UNION ALL (${inFlight}) LIMIT 1`),
      parameters.values,
    );
    return row ? mapCall(row) : null;
  }

  /** Streams that run, in any process, newest first. */
  async streaming(of: { organizationId: string; userId?: string } | 'EVERYBODY', limit: number): Promise<CallRecord[]> {
    const parameters = new Parameters();
    const whose = of === 'EVERYBODY' ? [] : [`organization_id = ${parameters.add(of.organizationId)}`];
    if (of !== 'EVERYBODY' && of.userId !== undefined) whose.push(`user_id = ${parameters.add(of.userId)}`);
    const newest = `${IN_FLIGHT} WHERE ${allOf(['streamed', ...whose, notSettled('true')])} ORDER BY occurred_at DESC, id DESC LIMIT ${parameters.add(limit)}`;
    return (
      await this.db.query<CallSql>(`${atCurrentCost(newest)} ORDER BY c.occurred_at DESC, c.id DESC`, parameters.values)
    ).map(mapCall);
  }
}

const decimal = (value: string | null): string => canonicalDecimal(value ?? '0');

const mapCall = (row: CallSql): CallRecord => ({
  id: row.id,
  occurredAt: row.occurred_at,
  organizationId: row.organization_id,
  userId: row.user_id,
  projectId: row.project_id,
  conversationId: row.conversation_id,
  traceId: row.trace_id,
  agent: row.agent,
  scenario: row.scenario as CallRecord['scenario'],
  model: row.model,
  servedModel: row.served_model,
  provider: row.provider,
  deployment: row.deployment,
  upstream: row.upstream as CallRecord['upstream'],
  status: row.status as CallRecord['status'],
  errorCode: row.error_code,
  streamed: row.streamed,
  tokens: {
    uncachedPrompt: row.uncached_prompt_tokens,
    cacheRead: row.cache_read_tokens,
    cacheWrite: row.cache_write_tokens,
    cacheWriteOneHour: row.cache_write_one_hour_tokens,
    output: row.output_tokens,
    reasoning: row.reasoning_tokens,
  },
  usageSource: row.usage_source as CallRecord['usageSource'],
  cost:
    row.cost === null
      ? null
      : {
          input: decimal(row.cost_input),
          cacheRead: decimal(row.cost_cache_read),
          cacheWrite: decimal(row.cost_cache_write),
          output: decimal(row.cost_output),
          reasoning: decimal(row.cost_reasoning),
          request: decimal(row.cost_request),
          total: decimal(row.cost),
          reportedByProxy: row.proxy_cost === null ? null : canonicalDecimal(row.proxy_cost),
        },
  latencyMs: row.latency_ms,
  timeToFirstTokenMs: row.time_to_first_token_ms,
});
