import { AppError, notFound } from '../../errors';
import { newId, newTraceId } from '../../lib/ids';
import type { Conversation } from '../conversation/conversation.types';
import type { CatalogModel, CatalogSnapshot } from '../model/model.types';
import type { PriceBook } from '../pricing/price-book';
import type { Upstream } from '../usage/usage.types';
import type { Principal } from './1-authenticate';
import { budgetExceeded, modelUnpriced } from './budget-refusal';
import type { Admission, CallFacts, HeldOn, RouteFlag, StoredMessage } from './call.types';
import type { CallStore } from './call.store';
import type { CallContext, ChatInput, MessageInput, Refusal } from './chat.types';
import { guessPromptTokens } from './history';
import { PromptBound, worstCaseCost } from './worst-case';

/** A call with everything decided and nothing spent. */
export interface PreparedCall {
  principal: Principal;
  input: ChatInput;
  context: CallContext;
  model: CatalogModel;
  maxTokens: number;
  conversation: { conversation: Conversation; /** Ids of the branch that the call continues, from the first message on. */ ids: string[] } | null;
  history: MessageInput[];
  omittedMessages: number;
  /** Estimated tokens of the prompt with what was left out; null: nothing was. */
  askedInputTokens: number | null;
  /** The caller's key for this call, and the SHA-256 of its input in hex. */
  idempotency: { key: string; inputHash: string } | null;
  /** performance.now() when the request came. */
  startedAt: number;
}

/** A call that is written down: from here on it ends with exactly one usage row. */
export interface HeldCall extends PreparedCall {
  id: string;
  occurredAt: string;
  traceId: string;
  streamed: boolean;
  upstream: Upstream;
  answerId: string;
  /** The last stored message of the question; null without a conversation. */
  questionId: string | null;
  /** An upper bound of the prompt, in tokens. */
  promptBound: number;
  heldOn: readonly HeldOn[];
  facts: CallFacts;
  idempotencyKey: string | null;
}

export interface HoldDeps {
  store: CallStore;
  /** How many calls have ended and are booked nowhere yet. */
  writer: { readonly inMemory: number };
  prices: Pick<PriceBook, 'worstRates'>;
  catalog: { snapshot(): CatalogSnapshot };
  /** Names this process in the rows of its running calls. */
  owner: string;
  upstream: Upstream;
  totalMs: number;
}

/** What became of the admission. Only a held call is written down; of the others nothing stays. */
export type HoldResult =
  | { kind: 'HELD'; call: HeldCall }
  | { kind: 'REFUSED'; refusal: Refusal }
  | Extract<Admission, { kind: 'REPLAY' | 'RUNNING' | 'CONFLICT' }>;

/** Room between a call's own deadline and the moment at which others may call it lost. */
const OVERDUE_MARGIN_MS = 60_000;

/**
 * Admits the call: its worst case is held at every budget that applies and the call is written down, with the question where it belongs to a
 * conversation, in one transaction. Throws NOT_FOUND for a conversation that is gone, SERVICE_UNAVAILABLE while the database is away.
 */
export async function hold(prepared: PreparedCall, deps: HoldDeps, streamed: boolean): Promise<HoldResult> {
  // Neither the database nor the disk takes the ends of calls: one that would begin now could only be lost.
  if (deps.writer.inMemory > 0) throw new AppError('SERVICE_UNAVAILABLE', { internal: 'ends of calls are in memory only' });
  const { input, principal, conversation, context, model } = prepared;
  const { viewer, plan } = principal;
  const id = newId('call');
  const traceId = input.traceId ?? context.traceparentId ?? newTraceId();
  const messages = conversation ? input.messages.map(toStored) : [];
  const prompt = new PromptBound([...prepared.history, ...input.messages], input);
  const { byId } = deps.catalog.snapshot();
  const call = {
    id,
    organizationId: viewer.organizationId,
    userId: viewer.userId,
    tokenId: viewer.tokenId,
    projectId: input.projectId ?? conversation?.conversation.projectId ?? null,
    agent: input.agent ?? null,
    scenario: input.scenario,
    traceId,
    model: model.id,
    upstream: deps.upstream,
    streamed,
    owner: deps.owner,
    deadlineMs: deps.totalMs + OVERDUE_MARGIN_MS,
    question: conversation
      ? { conversationId: conversation.conversation.id, parentId: conversation.ids.at(-1) ?? null, branchIds: conversation.ids, messages }
      : null,
    idempotency: prepared.idempotency,
  };
  const admit = async (promptBound: number): Promise<{ admission: Admission; promptBound: number; needed: string | null; facts: CallFacts }> => {
    const rates = deps.prices.worstRates([model.id, ...model.fallbacks], viewer.organizationId, promptBound);
    const needed = rates && worstCaseCost(promptBound, prepared.maxTokens, rates);
    const facts = factsOf(prepared, needed);
    const [admission] = await deps.store.admit([{ ...call, ...facts }]);
    return { admission: admission!, promptBound, needed, facts };
  };
  // Bytes bound the tokens: only where so much does not fit a budget is the prompt tokenized, which takes a while of the one event loop.
  let asked = await admit(prompt.bytesFor(model, byId));
  if (asked.admission.kind === 'BUDGET_EXCEEDED') {
    const tokens = prompt.tokensFor(model, byId);
    if (tokens < asked.promptBound) asked = await admit(tokens);
  }
  const { admission, promptBound, needed, facts } = asked;
  switch (admission.kind) {
    case 'ADMITTED':
      return {
        kind: 'HELD',
        call: {
          ...prepared, id, occurredAt: admission.occurredAt, traceId, streamed, upstream: deps.upstream, answerId: newId('message'), questionId: messages.at(-1)?.id ?? null,
          promptBound, heldOn: admission.heldOn, facts, idempotencyKey: prepared.idempotency?.key ?? null,
        },
      };
    case 'BUDGET_EXCEEDED':
      return { kind: 'REFUSED', refusal: budgetExceeded({ admission, needed: needed!, prepared, promptBound, plan, catalog: deps.catalog.snapshot(), prices: deps.prices }) };
    case 'UNPRICED':
      return { kind: 'REFUSED', refusal: modelUnpriced(model.id) };
    case 'NO_CONVERSATION':
      throw notFound('input.conversationId');
    default:
      return admission;
  }
}

function factsOf(prepared: PreparedCall, hold: string | null): CallFacts {
  const { input, context } = prepared;
  const { viewer } = prepared.principal;
  const promptTokensEstimate = guessPromptTokens([...prepared.history, ...input.messages], input);
  return {
    door: context.door,
    operation: 'CHAT',
    requestId: context.requestId,
    planId: viewer.planId,
    sessionId: viewer.sessionId ?? viewer.tokenId,
    endUser: null,
    tags: [],
    callHash: prepared.idempotency?.inputHash ?? null,
    maxTokens: prepared.maxTokens,
    promptTokensEstimate,
    hold,
    askedInputTokens: prepared.askedInputTokens ?? promptTokensEstimate,
    reasoningEffort: input.reasoningEffort ?? null,
    routeVersion: null,
    routeRule: null,
    routeFlags: flagsOf(input),
  };
}

function flagsOf(input: ChatInput): RouteFlag[] {
  const flags: RouteFlag[] = [];
  if (input.tools?.length) flags.push('tools');
  if (input.messages.some((message) => message.parts?.some((part) => part.imageUrl != null))) flags.push('images');
  if (input.responseFormat?.type === 'JSON_SCHEMA') flags.push('schema');
  if (input.model != null) flags.push('explicit');
  return flags;
}

const toStored = (message: MessageInput): StoredMessage => ({
  id: newId('message'),
  role: message.role,
  content: message.content ?? null,
  reasoning: null,
  parts: message.parts?.length ? message.parts.map(({ text, imageUrl, imageDetail }) => ({ text, imageUrl, imageDetail })) : null,
  toolCalls: message.toolCalls?.length ? message.toolCalls.map(({ toolCallId, name, arguments: text }) => ({ toolCallId, name, arguments: text })) : null,
  toolCallId: message.toolCallId ?? null,
  name: message.name ?? null,
});
