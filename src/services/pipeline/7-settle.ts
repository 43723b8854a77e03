import { countEach } from '../../lib/token-estimate';
import type { CallRecord, Settlement, StopReason } from '../../domain/call';
import type { CatalogModel } from '../../domain/model';
import { NO_TOKENS } from '../../domain/money';
import { keepOutcome, outcomeOf, storeOutcome, type FinishReason, type ReplyBase } from '../../domain/outcome';
import type { Refusal } from '../../domain/refusal';
import { plausible } from '../ledger/bound';
import { withCost } from '../ledger/reprice';
import { priceUsage, type Prices } from '../pricing/price-usage';
import type { AdmittedCall } from './5-admit';
import type { Collector } from './operation';

export interface SettleDeps {
  /** Resolves when the settlement is kept for good. */
  writer: { write(settlement: Settlement): Promise<void> };
  prices: Pick<Prices, 'forCall' | 'number'>;
  modelOf(id: string): CatalogModel | null;
}
export interface EndState {
  status: 'COMPLETED' | 'STOPPED' | 'FAILED';
  errorCode: string | null;
  refusal: Refusal | null;
  stopReason: StopReason | null;
  /**
   * We hung up, so that an upstream that had said nothing yet may have read the prompt all the same, and may charge for
   * it.
   */
  hungUp: boolean;
  /** The provider did not take the request, however the upstream says so: nothing was used. */
  refused: boolean;
}

/**
 * Prices the call and writes its settlement down (usage row, costs at its budgets, answer, key, and no longer in
 * flight:
 * one transaction), on every end state. Throws SERVICE_UNAVAILABLE when it can be written nowhere.
 */
export async function settle<R extends ReplyBase>(
  call: AdmittedCall<R>,
  answer: Collector<R>,
  end: EndState,
  deps: SettleDeps,
): Promise<R> {
  const settlement = settlementOf(call, answer, end, performance.now(), deps);
  const reply = answer.reply(baseOf(settlement), settlement);
  if (call.idempotency) {
    const outcome = (): unknown => storeOutcome(outcomeOf(reply, { ...end, isEmpty: answer.isEmpty }));
    settlement.idempotency = { key: call.idempotency.key, stored: keepOutcome(settlement) ? outcome() : null };
  }
  const { priceBook } = settlement;
  await deps.writer.write(settlement);
  return settlement.priceBook === priceBook ? reply : withCost(reply, settlement);
}

function settlementOf<R extends ReplyBase>(
  call: AdmittedCall<R>,
  answer: Collector<R>,
  end: EndState,
  endedAt: number,
  deps: SettleDeps,
): Settlement {
  const { viewer } = call.caller;
  const { request } = call.operation;
  const head = answer.headSeen;
  const servedModel = head?.servedModel ?? call.model.id;
  const served = deps.modelOf(servedModel) ?? call.model;
  const { source: usageSource, cacheUse, cachedTokens, tokens } = usageOf(call, answer, end, served);
  const used = {
    organizationId: viewer.organizationId,
    occurredAt: call.occurredAt,
    model: call.model.id,
    servedModel,
    deployment: head?.deployment ?? null,
    serviceTier: answer.usageSeen?.serviceTier ?? null,
    tokens,
    usageSource,
    heldOn: call.heldOn,
  };
  const cameToNothing = end.status === 'FAILED' && answer.firstPieceAt === null;
  return {
    id: call.id,
    ...used,
    ...priceUsage(used, deps.prices),
    cacheUse,
    cachedTokens,
    userId: viewer.userId,
    tokenId: viewer.tokenId,
    projectId: call.projectId,
    conversationId: call.conversation?.id ?? null,
    agent: request.agent,
    scenario: request.scenario,
    traceId: call.traceId,
    streamed: call.streamed,
    provider: served.provider,
    upstream: call.upstream.kind,
    attempts: head?.attempts ?? 1,
    status: end.status,
    errorCode: end.errorCode,
    finishReason: finishOf(answer, end),
    rawUsage: answer.usageSeen?.raw ?? null,
    // With an answer from its cache the proxy repeats what the first one cost, and charges nothing.
    proxyCost: cacheUse === 'HIT' ? '0' : (answer.usageSeen?.cost ?? head?.cost ?? null),
    latencyMs: Math.round(endedAt - call.startedAt),
    timeToFirstTokenMs:
      call.streamed && answer.firstPieceAt !== null ? Math.round(answer.firstPieceAt - call.startedAt) : null,
    omittedMessages: call.prompt.omittedMessages,
    answer: cameToNothing ? null : answer.stored(end.status === 'COMPLETED'),
    facts: call.facts,
    idempotency: null,
  };
}

type Usage = Pick<Settlement, 'tokens' | 'cacheUse' | 'cachedTokens'> & { source: Settlement['usageSource'] };

/** Of an answer from the proxy's cache nothing was used; what the first one used stands beside it. */
function usageOf<R extends ReplyBase>(
  call: AdmittedCall<R>,
  answer: Collector<R>,
  end: EndState,
  served: CatalogModel,
): Usage {
  const counted = countOf(call, answer, end, served);
  if (!answer.headSeen?.fromCache) return { ...counted, cacheUse: 'NO', cachedTokens: null };
  return { tokens: NO_TOKENS, source: 'CACHE', cacheUse: 'HIT', cachedTokens: counted.tokens };
}

/**
 * What the provider said, unless it cannot be; else what can be counted here. Nothing was used where the upstream
 * refused before it began.
 */
function countOf<R extends ReplyBase>(
  call: AdmittedCall<R>,
  answer: Collector<R>,
  end: EndState,
  served: CatalogModel,
): Pick<Usage, 'tokens' | 'source'> {
  const seen = answer.usageSeen;
  const bounds = { promptBound: call.promptBound, maxTokens: call.maxTokens, contextWindow: served.contextWindow };
  if (seen && plausible(seen.tokens, bounds))
    return { tokens: seen.tokens, source: seen.fromProvider ? 'PROVIDER' : 'ESTIMATED' };
  if (end.refused && answer.firstPieceAt === null) return { tokens: NO_TOKENS, source: 'NONE' };
  if (!answer.headSeen && !seen && !(answer.wasAsked && end.hungUp)) return { tokens: NO_TOKENS, source: 'NONE' };
  const [output, reasoning] = countEach(answer.texts) as [number, number];
  return {
    tokens: { ...NO_TOKENS, uncachedPrompt: call.prompt.countTokens(), output, reasoning },
    source: 'ESTIMATED',
  };
}

function finishOf(answer: { finishReason: FinishReason | null }, end: EndState): FinishReason {
  if (end.status === 'STOPPED') return end.stopReason === 'BUDGET' ? 'BUDGET' : 'STOPPED';
  return answer.finishReason ?? 'OTHER';
}

/** What every reply says of the call. */
function baseOf(row: Settlement): ReplyBase {
  const cost = row.cost && { ...row.cost, reportedByProxy: row.proxyCost };
  const { model, servedModel, upstream, provider, deployment, attempts } = row;
  const call: CallRecord = {
    id: row.id,
    occurredAt: new Date(row.occurredAt),
    organizationId: row.organizationId,
    userId: row.userId,
    projectId: row.projectId,
    conversationId: row.conversationId,
    traceId: row.traceId,
    agent: row.agent,
    scenario: row.scenario,
    model,
    servedModel,
    provider,
    deployment,
    upstream,
    status: row.status,
    errorCode: row.errorCode,
    streamed: row.streamed,
    tokens: row.tokens,
    usageSource: row.usageSource,
    cost,
    latencyMs: row.latencyMs,
    timeToFirstTokenMs: row.timeToFirstTokenMs,
  };
  return {
    call,
    usage: { ...row.tokens, source: row.usageSource },
    cost,
    route: { model, servedModel, upstream, provider, deployment, attempts },
    latencyMs: row.latencyMs ?? 0,
    replayed: false,
  };
}
