import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import { countEach } from '../../lib/token-estimate';
import type { Message } from '../conversation/conversation.types';
import { priceCall } from '../pricing/price-call';
import type { CostParts, PriceRecord, TokenBuckets } from '../pricing/pricing.types';
import type { CatalogModel } from '../model/model.types';
import type { CallRecord, UsageSource } from '../usage/usage.types';
import type { HeldCall } from './4-hold';
import type { Answer } from './answer';
import type { CallStore } from './call.store';
import type { CallEnd } from './call.types';
import type { ChatReply, FinishReason } from './chat.types';
import { countPromptTokens } from './history';

export interface SettleDeps {
  store: CallStore;
  /** The record in force at a time that a call is priced with, from memory. */
  priceOf(servedModel: string, deployment: string | null, organizationId: string, at: Date): PriceRecord | null;
  modelOf(id: string): CatalogModel | null;
  logger: Logger;
}
export interface EndState {
  status: 'COMPLETED' | 'STOPPED' | 'FAILED';
  errorCode: string | null;
  /** We hung up, so that an upstream that had said nothing yet may have read the prompt all the same, and may charge for it. */
  hungUp: boolean;
}

const NO_TOKENS: TokenBuckets = { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 };
const NO_COST: CostParts = { input: '0', cacheRead: '0', cacheWrite: '0', output: '0', reasoning: '0', request: '0', total: '0' };

/** Waits between tries to write the end of a call, in milliseconds: together about as long as a restart of Postgres takes. */
const RETRY_AFTER_MS = [50, 100, 200, 400, 800, 1_600, 3_200];

/** Prices the call, writes its usage row and its answer, and removes it from the calls in flight: in one transaction, on every end state. Throws SERVICE_UNAVAILABLE while the database is away. */
export async function settle(call: HeldCall, answer: Answer, end: EndState, deps: SettleDeps): Promise<ChatReply> {
  const endedAt = performance.now();
  const row = describeEnd(call, answer, end, endedAt, deps);
  await writeEnd(row, deps);
  return buildReply(call, row, answer);
}

async function writeEnd(end: CallEnd, deps: SettleDeps): Promise<void> {
  let row = end;
  for (let attempt = 0; ; attempt += 1) {
    try {
      await deps.store.settle([row]);
      return;
    } catch (cause) {
      const waitMs = RETRY_AFTER_MS[attempt];
      deps.logger.error({ callId: row.id, attempt, err: cause }, 'the end of a call could not be written');
      // "Data exception": Postgres will not take these values next time either. What others wrote is left out, what was used is kept.
      if (String((cause as { code?: unknown }).code).startsWith('22')) row = { ...row, rawUsage: null, answer: null };
      if (waitMs === undefined) throw new AppError('SERVICE_UNAVAILABLE', { internal: `call ${row.id} is not settled`, cause });
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}

function describeEnd(call: HeldCall, answer: Answer, end: EndState, endedAt: number, deps: SettleDeps): CallEnd {
  const { viewer } = call.principal;
  const head = answer.headSeen;
  const servedModel = head?.servedModel ?? call.model.id;
  const usage = usageOf(call, answer, end);
  const price = deps.priceOf(servedModel, head?.deployment ?? null, viewer.organizationId, new Date(call.occurredAt));
  const cost = price && (usage.source === 'NONE' ? NO_COST : priceCall(usage.tokens, price.rates));
  const keepAnswer = call.conversation && call.questionId && !(end.status === 'FAILED' && answer.isEmpty);
  return {
    id: call.id,
    occurredAt: call.occurredAt,
    organizationId: viewer.organizationId,
    userId: viewer.userId,
    tokenId: viewer.tokenId,
    projectId: call.input.projectId ?? call.conversation?.conversation.projectId ?? null,
    conversationId: call.conversation?.conversation.id ?? null,
    agent: call.input.agent ?? null,
    scenario: call.input.scenario,
    traceId: call.traceId,
    streamed: call.streamed,
    model: call.model.id,
    servedModel,
    provider: (deps.modelOf(servedModel) ?? call.model).provider,
    deployment: head?.deployment ?? null,
    upstream: call.upstream,
    attempts: head?.attempts ?? 1,
    status: end.status,
    errorCode: end.errorCode,
    finishReason: finishOf(answer, end),
    tokens: usage.tokens,
    usageSource: usage.source,
    rawUsage: answer.usageSeen?.raw ?? null,
    priceNumber: price?.number ?? null,
    cost,
    proxyCost: answer.usageSeen?.cost ?? head?.cost ?? null,
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
  };
}

/** What the provider said; else what can be counted here. Nothing was used where the upstream refused before it began. */
function usageOf(call: HeldCall, answer: Answer, end: EndState): { tokens: TokenBuckets; source: UsageSource } {
  const seen = answer.usageSeen;
  if (seen) return { tokens: seen.tokens, source: seen.fromProvider ? 'PROVIDER' : 'ESTIMATED' };
  if (!answer.headSeen && !(answer.wasAsked && end.hungUp)) return { tokens: NO_TOKENS, source: 'NONE' };
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
  if (end.status === 'STOPPED') return 'STOPPED';
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
  };
}
