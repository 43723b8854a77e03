import { storableJson } from '../../lib/storable';
import type { CallFacts, NewCall, Question, StoredMessage, Settlement } from '../../domain/call';

/**
 * A call as `weir.admit` takes it, but for its place in the group. Made once for each call, while the group before it
 * is being written.
 */
export const admitJson = (call: NewCall): string => joined(admitRow(call), factRow(call));

/** `nr`: 1, 2, 3 … in the group; `again`: it was asked for before, and nobody knows what became of it. */
export const placed = (json: string, nr: number, again: boolean): string =>
  `{"nr":${nr},"again":${again},${json.slice(1)}`;

/** The end of a call as `weir.settle` and `weir.correct` take it. */
export const settleJson = (end: Settlement): string =>
  joined(settleRow(end), cacheRow(end), end.facts && factRow(end.facts));

export const arrayOf = (rows: readonly string[]): string => `[${rows.join(',')}]`;

/**
 * One object of several: as text, since an object that is put together of others takes longer to make than to write.
 */
function joined(...parts: (Record<string, unknown> | null)[]): string {
  const texts = parts.flatMap((part) => (part ? storableJson(part).slice(1, -1) : [])).filter((text) => text !== '');
  return `{${texts.join(',')}}`;
}

/** Empty lists and what is not known are left out: the function fills them in. */
const factRow = (facts: CallFacts): Record<string, unknown> => ({
  door: facts.door,
  operation: facts.operation,
  request_id: facts.requestId ?? undefined,
  plan_id: facts.planId ?? undefined,
  session_id: facts.sessionId ?? undefined,
  end_user: facts.endUser ?? undefined,
  tags: facts.tags.length > 0 ? facts.tags : undefined,
  call_hash: facts.callHash ?? undefined,
  max_tokens: facts.maxTokens,
  prompt_tokens_estimate: facts.promptTokensEstimate,
  hold: facts.hold ?? undefined,
  asked_input_tokens: facts.askedInputTokens ?? undefined,
  reasoning_effort: facts.reasoningEffort ?? undefined,
  route_version: facts.routeVersion ?? undefined,
  route_rule: facts.routeRule ?? undefined,
  route_flags: facts.routeFlags.length > 0 ? facts.routeFlags : undefined,
});

const admitRow = (call: NewCall): Record<string, unknown> => ({
  id: call.id,
  organization_id: call.organizationId,
  user_id: call.userId,
  token_id: call.tokenId,
  project_id: call.projectId,
  conversation_id: call.question?.conversationId,
  question_id: call.question?.messages.at(-1)?.id,
  parent_id: call.question?.parentId,
  branch_ids: call.question?.branchIds,
  messages: call.question ? questionRows(call.question) : undefined,
  agent: call.agent,
  scenario: call.scenario,
  trace_id: call.traceId,
  model: call.model,
  upstream: call.upstream,
  streamed: call.streamed,
  owner: call.owner,
  deadline_ms: call.deadlineMs,
  key: call.idempotency?.key,
  input_hash: call.idempotency?.inputHash,
});

/** Each message follows the one before it. */
function questionRows(question: Question): Record<string, unknown>[] {
  let parentId = question.parentId;
  return question.messages.map((message: StoredMessage) => {
    const row = {
      id: message.id,
      parent_id: parentId,
      role: message.role,
      content: message.content,
      parts: message.parts ?? undefined,
      tool_calls: message.toolCalls ?? undefined,
      tool_call_id: message.toolCallId,
      name: message.name,
    };
    parentId = message.id;
    return row;
  });
}

/** What the proxy's response cache had to do with it; ends of before the columns have neither. */
const cacheRow = ({ cacheUse, cachedTokens: saved }: Settlement): Record<string, unknown> => ({
  cache_use: cacheUse === 'NO' ? undefined : cacheUse,
  ...(saved && {
    cached_uncached_prompt_tokens: saved.uncachedPrompt,
    cached_cache_read_tokens: saved.cacheRead,
    cached_cache_write_tokens: saved.cacheWrite,
    cached_cache_write_one_hour_tokens: saved.cacheWriteOneHour,
    cached_output_tokens: saved.output,
    cached_reasoning_tokens: saved.reasoning,
  }),
});

const settleRow = (end: Settlement): Record<string, unknown> => ({
  organization_id: end.organizationId,
  occurred_at: end.occurredAt,
  id: end.id,
  user_id: end.userId,
  token_id: end.tokenId,
  project_id: end.projectId,
  conversation_id: end.conversationId,
  agent: end.agent,
  scenario: end.scenario,
  trace_id: end.traceId,
  streamed: end.streamed,
  model: end.model,
  served_model: end.servedModel,
  provider: end.provider,
  deployment: end.deployment,
  upstream: end.upstream,
  attempts: end.attempts,
  status: end.status,
  error_code: end.errorCode,
  finish_reason: end.finishReason,
  uncached_prompt_tokens: end.tokens.uncachedPrompt,
  cache_read_tokens: end.tokens.cacheRead,
  cache_write_tokens: end.tokens.cacheWrite,
  cache_write_one_hour_tokens: end.tokens.cacheWriteOneHour,
  output_tokens: end.tokens.output,
  reasoning_tokens: end.tokens.reasoning,
  usage_source: end.usageSource,
  raw_usage: end.rawUsage,
  price_number: end.priceNumber,
  service_tier: end.serviceTier,
  book_number: end.priceBook ?? 0,
  cost: end.cost?.total,
  cost_input: end.cost?.input,
  cost_cache_read: end.cost?.cacheRead,
  cost_cache_write: end.cost?.cacheWrite,
  cost_output: end.cost?.output,
  cost_reasoning: end.cost?.reasoning,
  cost_request: end.cost?.request,
  proxy_cost: end.proxyCost,
  latency_ms: end.latencyMs,
  time_to_first_token_ms: end.timeToFirstTokenMs,
  omitted_messages: end.omittedMessages,
  answer_id: end.answer?.id,
  question_id: end.answer?.questionId,
  content: end.answer?.content,
  reasoning: end.answer?.reasoning,
  tool_calls: end.answer?.toolCalls?.length ? end.answer.toolCalls : undefined,
  complete: end.answer?.complete,
  key: end.idempotency?.key,
  stored: end.idempotency?.stored ?? undefined,
  budget_ids: end.heldOn.map(({ budgetId }) => budgetId),
  budget_dates: end.heldOn.map(({ startsOn }) => startsOn),
});
