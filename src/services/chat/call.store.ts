import type { Db, Tx } from '../../entities/data-source';
import { notFound } from '../../errors';
import { Grouped } from '../../lib/grouped';
import type { AdmittedCall, CallEnd, NewCall, Question, StoredMessage } from './call.types';
import type { StopReason } from './chat.types';

/** Postgres keeps neither NUL nor half a surrogate pair in a text; a model may produce both. */
export const storable = (text: string): string => text.replaceAll('\0', '\ufffd').toWellFormed();
const storableJson = (value: unknown): string => JSON.stringify(value, (_key, part: unknown) => (typeof part === 'string' ? storable(part) : part));

const ADMIT = `
  INSERT INTO calls_in_flight (id, organization_id, user_id, token_id, project_id, conversation_id, question_id, agent, scenario, trace_id,
    model, upstream, streamed, max_tokens, prompt_tokens_estimate, owner, deadline_at)
  SELECT id, organization_id, user_id, token_id, project_id, conversation_id, question_id, agent, scenario, trace_id,
    model, upstream, streamed, max_tokens, prompt_tokens_estimate, owner, weir.now() + make_interval(secs => deadline_ms / 1000.0)
  FROM json_to_recordset($1::json) AS call(id text, organization_id text, user_id text, token_id text, project_id text, conversation_id text,
    question_id text, agent text, scenario text, trace_id text, model text, upstream text, streamed boolean, max_tokens integer,
    prompt_tokens_estimate integer, owner text, deadline_ms bigint)
  ON CONFLICT (id) DO UPDATE SET id = excluded.id
  RETURNING id, occurred_at::text AS "occurredAt"`;

const admitRow = (call: NewCall): Record<string, unknown> => ({
  id: call.id, organization_id: call.organizationId, user_id: call.userId, token_id: call.tokenId, project_id: call.projectId,
  conversation_id: call.question?.conversationId ?? null, question_id: call.question?.messages.at(-1)?.id ?? null,
  agent: call.agent, scenario: call.scenario, trace_id: call.traceId, model: call.model, upstream: call.upstream, streamed: call.streamed,
  max_tokens: call.maxTokens, prompt_tokens_estimate: call.promptTokensEstimate, owner: call.owner, deadline_ms: call.deadlineMs,
});

/** The gate is the insert into `llm_usage`: everything else derives from what it returned, so that settling twice is harmless. */
const SETTLE = `
  WITH ended AS (SELECT * FROM json_to_recordset($1::json) AS e(
      organization_id text, occurred_at timestamptz, id text, user_id text, token_id text, project_id text, conversation_id text, agent text,
      scenario text, trace_id text, streamed boolean, model text, served_model text, provider text, deployment text, upstream text, attempts integer,
      status text, error_code text, finish_reason text, uncached_prompt_tokens integer, cache_read_tokens integer, cache_write_tokens integer,
      cache_write_one_hour_tokens integer, output_tokens integer, reasoning_tokens integer, usage_source text, raw_usage jsonb, price_number bigint,
      cost numeric, cost_input numeric, cost_cache_read numeric, cost_cache_write numeric, cost_output numeric, cost_reasoning numeric, cost_request numeric,
      proxy_cost numeric, latency_ms integer, time_to_first_token_ms integer, omitted_messages integer,
      answer_id text, question_id text, content text, reasoning text, tool_calls jsonb, complete boolean)),
  gate AS (
    INSERT INTO llm_usage (organization_id, occurred_at, id, user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed, model,
      served_model, provider, deployment, upstream, attempts, status, error_code, finish_reason, uncached_prompt_tokens, cache_read_tokens,
      cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, raw_usage, price_number, cost, cost_input,
      cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost, latency_ms, time_to_first_token_ms, omitted_messages)
    SELECT organization_id, occurred_at, id, user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed, model,
      served_model, provider, deployment, upstream, attempts, status, error_code, finish_reason, uncached_prompt_tokens, cache_read_tokens,
      cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, raw_usage, price_number, cost, cost_input,
      cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost, latency_ms, time_to_first_token_ms, omitted_messages
    FROM ended ORDER BY organization_id, occurred_at, id
    ON CONFLICT (organization_id, occurred_at, id) DO NOTHING RETURNING id),
  gone AS (DELETE FROM calls_in_flight f USING ended WHERE f.id = ended.id),
  answers AS (SELECT e.* FROM ended e JOIN gate USING (id) WHERE e.answer_id IS NOT NULL),
  -- Only where nobody went on from elsewhere meanwhile does the answer become the conversation's head.
  moved AS (
    UPDATE conversations c SET head_id = a.answer_id, updated_at = weir.now() FROM answers a
    WHERE c.id = a.conversation_id AND c.head_id = a.question_id RETURNING c.id),
  said AS (
    INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning, tool_calls, complete, superseded, call_id)
    SELECT a.answer_id, a.conversation_id, a.question_id, 'ASSISTANT', a.content, a.reasoning, a.tool_calls, a.complete,
      NOT EXISTS (SELECT FROM moved WHERE moved.id = a.conversation_id), a.id
    FROM answers a WHERE EXISTS (SELECT FROM conversations c WHERE c.id = a.conversation_id))
  SELECT id FROM gate`;

const settleRow = (end: CallEnd): Record<string, unknown> => ({
  organization_id: end.organizationId, occurred_at: end.occurredAt, id: end.id, user_id: end.userId, token_id: end.tokenId, project_id: end.projectId,
  conversation_id: end.conversationId, agent: end.agent, scenario: end.scenario, trace_id: end.traceId, streamed: end.streamed, model: end.model,
  served_model: end.servedModel, provider: end.provider, deployment: end.deployment, upstream: end.upstream, attempts: end.attempts, status: end.status,
  error_code: end.errorCode, finish_reason: end.finishReason, uncached_prompt_tokens: end.tokens.uncachedPrompt, cache_read_tokens: end.tokens.cacheRead,
  cache_write_tokens: end.tokens.cacheWrite, cache_write_one_hour_tokens: end.tokens.cacheWriteOneHour, output_tokens: end.tokens.output,
  reasoning_tokens: end.tokens.reasoning, usage_source: end.usageSource, raw_usage: end.rawUsage, price_number: end.priceNumber, cost: end.cost?.total,
  cost_input: end.cost?.input, cost_cache_read: end.cost?.cacheRead, cost_cache_write: end.cost?.cacheWrite, cost_output: end.cost?.output,
  cost_reasoning: end.cost?.reasoning, cost_request: end.cost?.request, proxy_cost: end.proxyCost, latency_ms: end.latencyMs,
  time_to_first_token_ms: end.timeToFirstTokenMs, omitted_messages: end.omittedMessages, answer_id: end.answer?.id, question_id: end.answer?.questionId,
  content: end.answer?.content, reasoning: end.answer?.reasoning, tool_calls: end.answer?.toolCalls?.length ? end.answer.toolCalls : undefined, complete: end.answer?.complete,
});

/** The only writer of calls in flight and of usage rows. What comes at the same time shares a commit. */
export class CallStore {
  private readonly admissions = new Grouped((calls: NewCall[]) => this.writeCalls(calls));
  private readonly settlements = new Grouped((ends: CallEnd[]) => this.writeEnds(ends));

  constructor(private readonly db: Db) {}

  /** Writes the calls down, and the questions of those that belong to a conversation. Answers in the order of the calls. */
  admit(calls: readonly NewCall[]): Promise<AdmittedCall[]> {
    return Promise.all(calls.map((call) => (call.question ? this.db.transaction((tx) => this.admitWithQuestion(tx, call, call.question!)) : this.admissions.add(call))));
  }

  /** Writes usage rows and answers, removes the calls in flight. Gives the ids of those that were not settled before. */
  async settle(ends: readonly CallEnd[]): Promise<string[]> {
    const isNew = await Promise.all(ends.map((end) => this.settlements.add(end)));
    return ends.filter((_, i) => isNew[i]).map((end) => end.id);
  }

  /** Calls whose deadline passed without an end: their process died. */
  async overdue(limit: number): Promise<(AdmittedCall & Omit<NewCall, 'question' | 'deadlineMs'> & { conversationId: string | null })[]> {
    return this.db.query(
      `SELECT id, occurred_at::text AS "occurredAt", organization_id AS "organizationId", user_id AS "userId", token_id AS "tokenId", project_id AS "projectId",
         conversation_id AS "conversationId", agent, scenario, trace_id AS "traceId", model, upstream, streamed, max_tokens AS "maxTokens",
         prompt_tokens_estimate AS "promptTokensEstimate", owner
       FROM calls_in_flight WHERE deadline_at < weir.now() ORDER BY deadline_at LIMIT $1`,
      [limit],
    );
  }

  /** Asks whoever runs a call to stop it. false: it is not in flight. */
  async requestStop(id: string, reason: StopReason): Promise<boolean> {
    return (await this.db.query('UPDATE calls_in_flight SET stop_reason = $2 WHERE id = $1 RETURNING id', [id, reason])).length > 0;
  }

  /** What others have asked this owner to stop. */
  async requestedStops(owner: string): Promise<{ id: string; reason: StopReason }[]> {
    return this.db.query('SELECT id, stop_reason AS reason FROM calls_in_flight WHERE owner = $1 AND stop_reason IS NOT NULL', [owner]);
  }

  async isInFlight(id: string): Promise<boolean> {
    return (await this.db.query('SELECT FROM calls_in_flight WHERE id = $1', [id])).length > 0;
  }

  /** Monthly partitions of `llm_usage`, the current month's and the following ones. Gives how many were made. */
  async ensurePartitions(monthsAhead: number): Promise<number> {
    const [row] = await this.db.query<{ made: number }>('SELECT weir.ensure_usage_partitions($1) AS made', [monthsAhead]);
    return row!.made;
  }

  /** Repeated after a lost acknowledgement, a call is not written twice. */
  private async writeCalls(calls: NewCall[]): Promise<AdmittedCall[]> {
    const rows = await this.db.hot<AdmittedCall>('admit', ADMIT, [JSON.stringify(calls.map(admitRow))]);
    const byId = new Map(rows.map((row) => [row.id, row]));
    return calls.map((call) => byId.get(call.id)!);
  }

  private async writeEnds(ends: CallEnd[]): Promise<boolean[]> {
    const rows = await this.db.hot<{ id: string }>('settle', SETTLE, [storableJson(ends.map(settleRow))]);
    const settled = new Set(rows.map((row) => row.id));
    return ends.map((end) => settled.has(end.id));
  }

  private async admitWithQuestion(tx: Tx, call: NewCall, question: Question): Promise<AdmittedCall> {
    // The lock comes first: two calls that continue one conversation at once must see each other's head.
    const [conversation] = await tx.query<{ head_id: string | null }>('SELECT head_id FROM conversations WHERE id = $1 FOR UPDATE', [question.conversationId]);
    if (!conversation) throw notFound('input.conversationId');
    if (conversation.head_id !== question.parentId) {
      await tx.query('UPDATE messages SET superseded = NOT (id = ANY ($2)) WHERE conversation_id = $1 AND superseded = (id = ANY ($2))', [question.conversationId, question.branchIds]);
    }
    await insertQuestion(tx, question);
    await tx.query('UPDATE conversations SET head_id = $2, updated_at = weir.now() WHERE id = $1', [question.conversationId, question.messages.at(-1)!.id]);
    const [admitted] = await tx.query<AdmittedCall>(ADMIT, [JSON.stringify([admitRow(call)])]);
    return admitted!;
  }
}

async function insertQuestion(tx: Tx, question: Question): Promise<void> {
  let parentId = question.parentId;
  const rows = question.messages.map((message: StoredMessage) => {
    const row = {
      id: message.id, parent_id: parentId, role: message.role, content: message.content, parts: message.parts ?? undefined, tool_calls: message.toolCalls ?? undefined,
      tool_call_id: message.toolCallId, name: message.name,
    };
    parentId = message.id;
    return row;
  });
  // The order of the array is the order of the identity column.
  await tx.query(
    `INSERT INTO messages (id, conversation_id, parent_id, role, content, parts, tool_calls, tool_call_id, name)
     SELECT m.id, $2, m.parent_id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name
     FROM ROWS FROM (json_to_recordset($1::json) AS (id text, parent_id text, role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text))
       WITH ORDINALITY AS m(id, parent_id, role, content, parts, tool_calls, tool_call_id, name, nr) ORDER BY m.nr`,
    [storableJson(rows), question.conversationId],
  );
}
