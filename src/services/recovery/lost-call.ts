import { newId } from '../../lib/ids';
import { countTokens } from '../../lib/token-estimate';
import type { CallFacts, Settlement, UsageSource } from '../../domain/call';
import { lostOutcome } from '../../domain/outcome';
import type { CallBounds } from '../ledger/bound';
import type { CallOwner, SpendRecord } from '../upstream/litellm/spend-record';
import type { CatalogModel } from '../../domain/model';
import { priceUsage, type Prices } from '../pricing/price-usage';
import type { CheckpointText, FlyingCall, SettledEnd } from './recovery.store';
import { type TokenBuckets, NO_TOKENS } from '../../domain/money';

export interface PricingDeps {
  prices: Pick<Prices, 'forCall' | 'number'>;
  modelOf(id: string): CatalogModel | null;
}

/** What can be of a call, as settlement has it. */
export interface BeliefDeps {
  plausible(tokens: TokenBuckets, bounds: CallBounds): boolean;
  modelOf(id: string): Pick<CatalogModel, 'contextWindow'> | null;
}

/** A record whose figures cannot be of this call does not tell what was used: its tokens are null. */
export function believed(
  record: SpendRecord,
  call: { model: string; promptBound: number; maxTokens: number },
  { plausible, modelOf }: BeliefDeps,
): SpendRecord {
  const contextWindow = (modelOf(record.servedModel ?? call.model) ?? modelOf(call.model))?.contextWindow ?? null;
  return record.tokens && !plausible(record.tokens, { ...call, contextWindow }) ? { ...record, tokens: null } : record;
}

export const ownerOf = (call: { proxyNames: string; userId: string }): CallOwner => ({
  prefix: call.proxyNames,
  userId: call.userId,
});

/** What a stream may have produced before its first checkpoint, in tokens. */
const BEFORE_FIRST_CHECKPOINT = 1_024;

/** What is known of the usage of a call whose process is gone. */
export interface Known {
  source: UsageSource;
  tokens: TokenBuckets;
  /** Of an answer from the proxy's cache: what the first one used. */
  cachedTokens?: TokenBuckets | null;
  record?: SpendRecord | null;
  checkpoint?: CheckpointText | null;
}

export const nothingUsed: Known = { source: 'NONE', tokens: NO_TOKENS };
export const isNothing = (tokens: TokenBuckets): boolean => Object.values(tokens).every((n) => n === 0);

/** The record says what was used: something, or nothing because the answer came from the proxy's cache. */
export const tellsUsage = ({ fromCache, tokens }: SpendRecord): boolean =>
  fromCache || (tokens !== null && !isNothing(tokens));

/** The proxy's record, as far as it can be used: of one that `tellsUsage`. */
export const fromRecord = (record: SpendRecord, checkpoint: CheckpointText | null): Known =>
  record.fromCache
    ? { source: 'CACHE', tokens: NO_TOKENS, cachedTokens: record.tokens, record, checkpoint }
    : { source: 'RECONCILED', tokens: record.tokens!, record, checkpoint };

/** What the stream had written down; what came behind the last checkpoint is not in it. */
export function fromCheckpoint(call: FlyingCall, checkpoint: CheckpointText): Known {
  const reasoning = Math.min(countTokens(checkpoint.reasoning), checkpoint.completionTokens);
  return {
    source: 'ESTIMATED',
    tokens: {
      ...NO_TOKENS,
      uncachedPrompt: call.promptTokensEstimate,
      output: checkpoint.completionTokens - reasoning,
      reasoning,
    },
    checkpoint,
  };
}

/** Nothing is known of the answer: the most that it can have been. Unknown is not free. */
export const atMost = (call: FlyingCall): Known => ({
  source: 'ESTIMATED',
  tokens: { ...NO_TOKENS, uncachedPrompt: call.promptTokensEstimate, output: call.maxTokens },
});

/**
 * As `atMost`, of a call whose provider stopped when its process died: a stream without a checkpoint had hardly begun.
 */
export const atMostUntilDeath = (call: FlyingCall): Known => {
  const known = atMost(call);
  return call.streamed
    ? { ...known, tokens: { ...known.tokens, output: Math.min(call.maxTokens, BEFORE_FIRST_CHECKPOINT) } }
    : known;
};

/**
 * The end of a call that nobody saw end. What came of an answer is kept in its conversation, and whoever repeats it
 * with its key is told not to try again.
 */
export function lostEnd(call: FlyingCall, known: Known, deps: PricingDeps): Settlement {
  const { checkpoint } = known;
  const text =
    call.conversationId && call.questionId && checkpoint && (checkpoint.content || checkpoint.reasoning)
      ? checkpoint
      : null;
  return {
    ...baseEnd(call),
    ...servedBy(
      call,
      known.record?.servedModel ?? checkpoint?.servedModel ?? null,
      known.record?.deployment ?? checkpoint?.deployment ?? null,
      known,
      deps,
    ),
    attempts: known.record?.attempts ?? 1,
    status: 'LOST',
    errorCode: null,
    rawUsage: known.record?.raw ?? null,
    proxyCost: known.record?.cost ?? null,
    answer: text && {
      id: newId('message'),
      questionId: call.questionId!,
      role: 'ASSISTANT',
      content: text.content || null,
      reasoning: text.reasoning || null,
      parts: null,
      toolCalls: null,
      toolCallId: null,
      name: null,
      complete: false,
    },
    idempotency:
      call.idempotencyKey === null
        ? null
        : { key: call.idempotencyKey, stored: lostOutcome(call.id, call.upstream, call.streamed) },
  };
}

/** The end of a call that was admitted and never asked: whoever repeats it with its key begins anew. */
export const neverAskedEnd = (call: FlyingCall, deps: PricingDeps): Settlement => ({
  ...baseEnd(call),
  ...servedBy(call, null, null, nothingUsed, deps),
  status: 'FAILED',
  errorCode: 'SERVICE_UNAVAILABLE',
  idempotency: call.idempotencyKey === null ? null : { key: call.idempotencyKey, stored: null },
});

/** What a record that came late makes of a call that was settled as LOST. */
export function correctedEnd(settled: SettledEnd, record: SpendRecord, deps: PricingDeps): Settlement {
  // Where the record does not tell the tier, what the call itself was told stands.
  const told = record.serviceTier === undefined ? { ...record, serviceTier: settled.serviceTier } : record;
  const known: Known = tellsUsage(told) ? fromRecord(told, null) : { ...nothingUsed, record: told };
  return {
    ...settled,
    ...servedBy(
      settled,
      record.servedModel ?? settled.servedModel,
      record.deployment ?? settled.deployment,
      known,
      deps,
    ),
    rawUsage: record.raw,
    proxyCost: record.cost,
  };
}

type Priced = Pick<
  Settlement,
  | 'servedModel'
  | 'deployment'
  | 'provider'
  | 'tokens'
  | 'usageSource'
  | 'cacheUse'
  | 'cachedTokens'
  | 'serviceTier'
  | 'priceNumber'
  | 'cost'
  | 'priceBook'
>;

function servedBy(
  call: Pick<Settlement, 'model' | 'organizationId' | 'occurredAt' | 'heldOn'>,
  model: string | null,
  deployment: string | null,
  known: Known,
  deps: PricingDeps,
): Priced {
  const servedModel = model ?? call.model;
  const used = {
    servedModel,
    deployment,
    serviceTier: known.record?.serviceTier ?? null,
    tokens: known.tokens,
    usageSource: known.source,
  };
  return {
    ...used,
    cacheUse: known.source === 'CACHE' ? 'HIT' : 'NO',
    cachedTokens: known.cachedTokens ?? null,
    ...priceUsage({ ...call, ...used }, deps.prices),
    provider: (deps.modelOf(servedModel) ?? deps.modelOf(call.model))?.provider ?? null,
  };
}

const baseEnd = (call: FlyingCall): Omit<Settlement, keyof Priced | 'status' | 'errorCode' | 'idempotency'> => ({
  id: call.id,
  occurredAt: call.occurredAt,
  organizationId: call.organizationId,
  userId: call.userId,
  tokenId: call.tokenId,
  projectId: call.projectId,
  conversationId: call.conversationId,
  agent: call.agent,
  scenario: call.scenario,
  traceId: call.traceId,
  streamed: call.streamed,
  model: call.model,
  upstream: call.upstream,
  attempts: 1,
  finishReason: null,
  rawUsage: null,
  proxyCost: null,
  latencyMs: null,
  timeToFirstTokenMs: null,
  omittedMessages: 0,
  answer: null,
  heldOn: call.heldOn,
  facts: factsOf(call),
});

const factsOf = (call: FlyingCall): CallFacts => ({
  door: call.door,
  operation: call.operation,
  requestId: call.requestId,
  planId: call.planId,
  sessionId: call.sessionId,
  endUser: call.endUser,
  tags: call.tags,
  callHash: call.callHash,
  maxTokens: call.maxTokens,
  promptTokensEstimate: call.promptTokensEstimate,
  hold: call.hold,
  askedInputTokens: call.askedInputTokens,
  reasoningEffort: call.reasoningEffort,
  routeVersion: call.routeVersion,
  routeRule: call.routeRule,
  routeFlags: call.routeFlags,
});
