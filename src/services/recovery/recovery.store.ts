import type { Db } from '../../database/pool';
import type { HeldOn, NewCall, Settlement } from '../../domain/call';

/**
 * A call in flight, with what its usage row needs, and how long ago things happened to it: milliseconds by the
 * database's clock.
 */
export interface FlyingCall extends Omit<NewCall, 'question' | 'deadlineMs' | 'idempotency'> {
  /** As text: a JavaScript date would cut the microseconds that are part of the usage row's key. */
  occurredAt: string;
  conversationId: string | null;
  questionId: string | null;
  idempotencyKey: string | null;
  heldOn: readonly HeldOn[];
  /** Since its owner was declared dead; null: the owner lives. */
  deadMs: number | null;
  /** Since its deadline; negative before it. */
  overdueMs: number;
  /** From admission to deadline. */
  spanMs: number;
  /** What keys and teams of ours begin with at the proxy. */
  proxyNames: string;
}

/** What a stream had produced, all checkpoints together. */
export interface CheckpointText {
  content: string;
  reasoning: string;
  completionTokens: number;
  servedModel: string | null;
  deployment: string | null;
}

/** A settled call: its row's key. */
export interface SettledRow {
  id: string;
  occurredAt: string;
  organizationId: string;
}
/** `promptTokens` and `completionTokens` as they are booked. */
export interface LostRow extends SettledRow {
  userId: string;
  model: string;
  promptTokens: number;
  completionTokens: number;
  /** Milliseconds since it was settled. */ settledMs: number;
  proxyNames: string;
}

const MS = (interval: string): string => `(extract(epoch FROM ${interval}) * 1000)::float8`;

/** A model and its deployment belong together: where the model changed, the deployment is not known any more. */
const SAYS_WHO = 'served_model IS NOT NULL OR deployment IS NOT NULL';

const PROXY_NAMES = `(SELECT 'weir-' || i.id || '-' FROM installation AS i) AS "proxyNames"`;

const FLYING = `
  SELECT f.id, f.occurred_at::text AS "occurredAt", f.organization_id AS "organizationId", f.user_id AS "userId", f.token_id AS "tokenId", f.project_id AS "projectId",
    f.conversation_id AS "conversationId", f.question_id AS "questionId", f.agent, f.scenario, f.trace_id AS "traceId", f.model, f.upstream, f.streamed,
    f.max_tokens AS "maxTokens", f.prompt_tokens_estimate AS "promptTokensEstimate", f.owner, f.idempotency_key AS "idempotencyKey",
    f.hold::text, f.door, f.operation, f.request_id AS "requestId", f.plan_id AS "planId", f.session_id AS "sessionId", f.end_user AS "endUser", f.tags,
    f.call_hash AS "callHash", f.asked_input_tokens AS "askedInputTokens", f.reasoning_effort AS "reasoningEffort", f.route_version::int AS "routeVersion",
    f.route_rule AS "routeRule", f.route_flags AS "routeFlags", f.budget_ids AS "budgetIds", f.budget_dates::text[] AS "budgetDates",
    ${MS('weir.now() - o.dead_at')} AS "deadMs", ${MS('weir.now() - f.deadline_at')} AS "overdueMs", ${MS('f.deadline_at - f.occurred_at')} AS "spanMs", ${PROXY_NAMES}
  FROM calls_in_flight AS f LEFT JOIN owners AS o ON o.id = f.owner`;

type FlyingRow = FlyingCall & { budgetIds: string[]; budgetDates: string[] };
const readFlying = ({ budgetIds, budgetDates, ...call }: FlyingRow): FlyingCall => ({
  ...call,
  heldOn: heldOn(budgetIds, budgetDates),
});
const heldOn = (ids: string[], dates: string[]): HeldOn[] =>
  ids.map((budgetId, i) => ({ budgetId, startsOn: dates[i]! }));

/** A settled call without what it used and costs. */
export type SettledEnd = Omit<Settlement, 'tokens' | 'cacheUse' | 'cachedTokens' | 'cost' | 'priceBook'>;

type UsageRow = Omit<SettledEnd, 'answer' | 'heldOn' | 'facts' | 'idempotency'> & {
  budgetIds: string[];
  budgetDates: string[];
};

/** What recovery reads and cleans up. It writes ends of calls through the settlement only. */
export class RecoveryStore {
  constructor(private readonly db: Db) {}

  /** Calls of owners that are dead, and calls whose deadline passed long ago. By id, from the one after `after` on. */
  async lost(after: string, overdueMs: number, limit: number): Promise<FlyingCall[]> {
    const rows = await this.db.query<FlyingRow>(
      `${FLYING} WHERE (o.dead_at IS NOT NULL OR f.deadline_at < weir.now() - make_interval(secs => $2 / 1000.0)) AND f.id > $1 ORDER BY f.id LIMIT $3`,
      [after, overdueMs, limit],
    );
    return rows.map(readFlying);
  }

  async ofOwner(owner: string): Promise<FlyingCall[]> {
    return (await this.db.query<FlyingRow>(`${FLYING} WHERE f.owner = $1 ORDER BY f.id`, [owner])).map(readFlying);
  }

  async checkpoints(calls: readonly { organizationId: string; id: string }[]): Promise<Map<string, CheckpointText>> {
    const rows = await this.db.query<CheckpointText & { callId: string }>(
      `SELECT call_id AS "callId", string_agg(content, '' ORDER BY number) AS content, string_agg(reasoning, '' ORDER BY number) AS reasoning, max(completion_tokens) AS "completionTokens",
         (array_agg(served_model ORDER BY number DESC) FILTER (WHERE ${SAYS_WHO}))[1] AS "servedModel",
         (array_agg(deployment ORDER BY number DESC) FILTER (WHERE ${SAYS_WHO}))[1] AS deployment
       FROM unnest($1::text[], $2::text[]) AS asked(organization_id, id)
       JOIN call_checkpoints AS c ON c.organization_id = asked.organization_id AND c.call_id = asked.id GROUP BY c.organization_id, c.call_id`,
      [calls.map(({ organizationId }) => organizationId), calls.map(({ id }) => id)],
    );
    return new Map(rows.map(({ callId, ...text }) => [callId, text]));
  }

  /**
   * Calls through a proxy that ended as LOST within a day, with an estimate or with nothing, and were not corrected
   * since. Oldest first.
   */
  async lostWithoutRecord(limit: number): Promise<LostRow[]> {
    return this.db.query(
      `SELECT u.id, u.occurred_at::text AS "occurredAt", u.organization_id AS "organizationId", u.user_id AS "userId", u.model, u.prompt_tokens AS "promptTokens",
         u.completion_tokens AS "completionTokens", ${MS('weir.now() - u.settled_at')} AS "settledMs", ${PROXY_NAMES}
       FROM llm_usage AS u
       WHERE u.status = 'LOST' AND u.settled_at > weir.now() - interval '24 hours' AND u.kind = 'CALL' AND u.upstream = 'LITELLM' AND u.usage_source IN ('ESTIMATED', 'NONE')
         AND NOT EXISTS (SELECT FROM llm_usage AS c WHERE c.corrects_id = u.id AND c.organization_id = u.organization_id AND c.occurred_at = u.occurred_at)
       ORDER BY u.settled_at LIMIT $1`,
      [limit],
    );
  }

  /** A settled call as its end was told; tokens and cost are for the caller to fill in. null: it is not there. */
  async settledCall(row: SettledRow): Promise<SettledEnd | null> {
    const [found] = await this.db.query<UsageRow>(
      `SELECT id, occurred_at::text AS "occurredAt", organization_id AS "organizationId", user_id AS "userId", token_id AS "tokenId", project_id AS "projectId",
         conversation_id AS "conversationId", agent, scenario, trace_id AS "traceId", streamed, model, served_model AS "servedModel", provider, deployment, service_tier AS "serviceTier", upstream, attempts, status,
         error_code AS "errorCode", finish_reason AS "finishReason", usage_source AS "usageSource", raw_usage AS "rawUsage", price_number::int AS "priceNumber", proxy_cost::text AS "proxyCost",
         latency_ms AS "latencyMs", time_to_first_token_ms AS "timeToFirstTokenMs", omitted_messages AS "omittedMessages", budget_ids AS "budgetIds", budget_dates::text[] AS "budgetDates"
       FROM llm_usage WHERE organization_id = $1 AND occurred_at = $2::timestamptz AND id = $3`,
      [row.organizationId, row.occurredAt, row.id],
    );
    if (!found) return null;
    const { budgetIds, budgetDates, ...end } = found;
    return { ...end, heldOn: heldOn(budgetIds, budgetDates), facts: null, answer: null, idempotency: null };
  }

  /**
   * Checkpoints of calls that have ended: of lost ones when their end is older than `keptMs`, of others when they were
   * written in the moment of the settlement, and so not removed with it. Gives how many went.
   */
  async removeOrphans(keptMs: number, limit: number): Promise<number> {
    const rows = await this.db.query(
      `DELETE FROM call_checkpoints WHERE (organization_id, call_id, number) IN (
         SELECT c.organization_id, c.call_id, c.number FROM call_checkpoints AS c
         WHERE NOT EXISTS (SELECT FROM calls_in_flight AS f WHERE f.organization_id = c.organization_id AND f.id = c.call_id)
           AND NOT EXISTS (SELECT FROM llm_usage AS u WHERE u.organization_id = c.organization_id AND u.id = c.call_id AND u.status = 'LOST' AND u.kind = 'CALL' AND u.settled_at > weir.now() - make_interval(secs => $1 / 1000.0))
         LIMIT $2) RETURNING call_id`,
      [keptMs, limit],
    );
    return rows.length;
  }

  /**
   * Idempotency keys whose day is over. Those that an admission holds at this moment are left for the next time. Gives
   * how many went.
   */
  async removeExpiredKeys(limit: number): Promise<number> {
    const rows = await this.db.query(
      `DELETE FROM idempotency_keys WHERE (organization_id, user_id, key) IN (
         SELECT organization_id, user_id, key FROM idempotency_keys WHERE expires_at < weir.now() ORDER BY user_id, key LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING call_id`,
      [limit],
    );
    return rows.length;
  }
}
