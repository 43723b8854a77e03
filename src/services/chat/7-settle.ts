import { countEach } from '../../lib/token-estimate';
import type { Message } from '../conversation/conversation.types';
import { priceUsage, type Prices } from '../pricing/price-usage';
import type { TokenBuckets } from '../pricing/pricing.types';
import type { CatalogModel } from '../model/model.types';
import type { CallRecord } from '../usage/usage.types';
import type { HeldCall } from './4-hold';
import type { Answer } from './answer';
import type { CallEnd } from './call.types';
import type { ChatReply, FinishReason, Refusal, StopReason } from './chat.types';
import { countPromptTokens } from './history';
import { withCost } from './reprice';
import { storedFor } from './stored-outcome';
import { plausible } from './worst-case';

export interface SettleDeps {
  /** Resolves when the end is kept for good. */
  writer: { write(end: CallEnd): Promise<void> };
  prices: Pick<Prices, 'forCall' | 'number'>;
  modelOf(id: string): CatalogModel | null;
}
export interface EndState {
  status: 'COMPLETED' | 'STOPPED' | 'FAILED';
  errorCode: string | null;
  refusal: Refusal | null;
  stopReason: StopReason | null;
  /** We hung up, so that an upstream that had said nothing yet may have read the prompt all the same, and may charge for it. */
  hungUp: boolean;
  /** The provider did not take the request, however the upstream says so: nothing was used. */
  refused: boolean;
}

const NO_TOKENS: TokenBuckets = { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 };

/** Prices the call and writes its end down (usage row, costs at its budgets, answer, key, and no longer in flight: one transaction), on every end state. Throws SERVICE_UNAVAILABLE when it can be written nowhere. */
export async function settle(call: HeldCall, answer: Answer, end: EndState, deps: SettleDeps): Promise<ChatReply> {
  const row = describeEnd(call, answer, end, performance.now(), deps);
  const reply = buildReply(call, row, answer);
  if (call.idempotencyKey !== null) row.idempotency = { key: call.idempotencyKey, stored: storedFor(call, row, reply, end.refusal, end.stopReason) };
  const { priceBook } = row;
  await deps.writer.write(row);
  return row.priceBook === priceBook ? reply : withCost(reply, row);
}

function describeEnd(call: HeldCall, answer: Answer, end: EndState, endedAt: number, deps: SettleDeps): CallEnd {
  const { viewer } = call.principal;
  const head = answer.headSeen;
  const servedModel = head?.servedModel ?? call.model.id;
  const served = deps.modelOf(servedModel) ?? call.model;
  const { source: usageSource, cacheUse, cachedTokens, tokens } = usageOf(call, answer, end, served);
  const used = {
    organizationId: viewer.organizationId, occurredAt: call.occurredAt, model: call.model.id, servedModel, deployment: head?.deployment ?? null,
    serviceTier: answer.usageSeen?.serviceTier ?? null, tokens, usageSource, heldOn: call.heldOn,
  };
  const keepAnswer = call.conversation && call.questionId && !(end.status === 'FAILED' && answer.isEmpty);
  return {
    id: call.id,
    ...used,
    ...priceUsage(used, deps.prices),
    cacheUse,
    cachedTokens,
    userId: viewer.userId,
    tokenId: viewer.tokenId,
    projectId: call.input.projectId ?? call.conversation?.conversation.projectId ?? null,
    conversationId: call.conversation?.conversation.id ?? null,
    agent: call.input.agent ?? null,
    scenario: call.input.scenario,
    traceId: call.traceId,
    streamed: call.streamed,
    provider: served.provider,
    upstream: call.upstream,
    attempts: head?.attempts ?? 1,
    status: end.status,
    errorCode: end.errorCode,
    finishReason: finishOf(answer, end),
    rawUsage: answer.usageSeen?.raw ?? null,
    // With an answer from its cache the proxy repeats what the first one cost, and charges nothing.
    proxyCost: cacheUse === 'HIT' ? '0' : (answer.usageSeen?.cost ?? head?.cost ?? null),
    latencyMs: Math.round(endedAt - call.startedAt),
    timeToFirstTokenMs: !call.streamed || answer.firstPieceAt === null ? null : Math.round(answer.firstPieceAt - call.startedAt),
    omittedMessages: call.omittedMessages,
    answer: keepAnswer
      ? {
          id: call.answerId,
          questionId: call.questionId!,
          role: 'ASSISTANT',
          content: answer.content || null,
          reasoning: answer.reasoningText || null,
          parts: null,
          toolCalls: answer.toolCalls,
          toolCallId: null,
          name: null,
          complete: end.status === 'COMPLETED',
        }
      : null,
    facts: call.facts,
    idempotency: null,
  };
}

type Usage = Pick<CallEnd, 'tokens' | 'cacheUse' | 'cachedTokens'> & { source: CallEnd['usageSource'] };

/** Of an answer from the proxy's cache nothing was used; what the first one used stands beside it. */
function usageOf(call: HeldCall, answer: Answer, end: EndState, served: CatalogModel): Usage {
  const counted = countOf(call, answer, end, served);
  if (!answer.headSeen?.fromCache) return { ...counted, cacheUse: 'NO', cachedTokens: null };
  return { tokens: NO_TOKENS, source: 'CACHE', cacheUse: 'HIT', cachedTokens: counted.tokens };
}

/** What the provider said, unless it cannot be; else what can be counted here. Nothing was used where the upstream refused before it began. */
function countOf(call: HeldCall, answer: Answer, end: EndState, served: CatalogModel): Pick<Usage, 'tokens' | 'source'> {
  const seen = answer.usageSeen;
  if (seen && plausible(seen.tokens, { promptBound: call.promptBound, maxTokens: call.maxTokens, contextWindow: served.contextWindow })) return { tokens: seen.tokens, source: seen.fromProvider ? 'PROVIDER' : 'ESTIMATED' };
  if (end.refused && answer.isEmpty) return { tokens: NO_TOKENS, source: 'NONE' };
  if (!answer.headSeen && !seen && !(answer.wasAsked && end.hungUp)) return { tokens: NO_TOKENS, source: 'NONE' };
  const tools = answer.toolCalls.map((tool) => tool.name + tool.arguments).join('');
  const [output, reasoning] = countEach([answer.content + tools, answer.reasoningText]) as [number, number];
  const tokens = {
    ...NO_TOKENS,
    uncachedPrompt: countPromptTokens([...call.history, ...call.input.messages], call.input),
    output,
    reasoning,
  };
  return { tokens, source: 'ESTIMATED' };
}

function finishOf(answer: Answer, end: EndState): FinishReason {
  if (end.status === 'STOPPED') return end.stopReason === 'BUDGET' ? 'BUDGET' : 'STOPPED';
  return answer.finishReason ?? 'OTHER';
}

function buildReply(call: HeldCall, row: CallEnd, answer: Answer): ChatReply {
  const cost = row.cost ? { ...row.cost, reportedByProxy: row.proxyCost } : null;
  const record: CallRecord = {
    id: row.id, occurredAt: new Date(row.occurredAt), organizationId: row.organizationId, userId: row.userId, projectId: row.projectId, conversationId: row.conversationId,
    traceId: row.traceId, agent: row.agent, scenario: row.scenario, model: row.model, servedModel: row.servedModel, provider: row.provider, deployment: row.deployment,
    upstream: row.upstream, status: row.status, errorCode: row.errorCode, streamed: row.streamed, tokens: row.tokens, usageSource: row.usageSource, cost,
    latencyMs: row.latencyMs, timeToFirstTokenMs: row.timeToFirstTokenMs,
  };
  const message: Message = {
    id: call.answerId, conversationId: row.conversationId, role: 'ASSISTANT', content: answer.content || null, reasoning: answer.reasoningText || null, parts: [],
    toolCalls: answer.toolCalls, toolCallId: null, name: null, createdAt: new Date(), complete: row.status === 'COMPLETED', superseded: false, callId: call.id,
  };
  return {
    kind: 'ChatReply',
    call: record,
    answer: message,
    finishReason: row.finishReason as FinishReason,
    usage: { ...row.tokens, source: row.usageSource },
    cost,
    route: { model: row.model, servedModel: row.servedModel, upstream: row.upstream, provider: row.provider, deployment: row.deployment, attempts: row.attempts },
    conversation: call.conversation?.conversation ?? null,
    latencyMs: row.latencyMs ?? 0,
    omittedMessages: row.omittedMessages,
    replayed: false,
  };
}
