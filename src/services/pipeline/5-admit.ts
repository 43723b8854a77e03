import { notFound } from '../../errors';
import { newId, newTraceId } from '../../lib/ids';
import type { Admission, CallContext, CallFacts, HeldOn, NewCall } from '../../domain/call';
import type { Conversation } from '../../domain/conversation';
import type { CatalogModel, CatalogSnapshot } from '../../domain/model';
import type { ReplyBase } from '../../domain/outcome';
import type { Refusal } from '../../domain/refusal';
import { worstCaseCost } from '../ledger/bound';
import type { LedgerStore } from '../ledger/ledger.store';
import type { PriceBook } from '../pricing/price-book';
import type { Caller } from './1-identify';
import type { CallUpstream } from './2-route';
import { budgetExceeded, modelUnpriced } from './budget-refusal';
import type { Operation, Prompt } from './operation';

/** A call with everything decided and nothing spent. */
export interface PreparedCall<R extends ReplyBase = ReplyBase> {
  caller: Caller;
  operation: Operation<R>;
  context: CallContext;
  model: CatalogModel;
  /** Where it is sent. */
  upstream: CallUpstream;
  maxTokens: number;
  conversation: Conversation | null;
  prompt: Prompt<R>;
  /** The caller's key for this call, and the SHA-256 of its input in hex. */
  idempotency: { key: string; inputHash: string } | null;
  /** performance.now() when the request came. */
  startedAt: number;
}

/** A call that is written down: from here on it ends with exactly one usage row. */
export interface AdmittedCall<R extends ReplyBase = ReplyBase> extends PreparedCall<R> {
  id: string;
  occurredAt: string;
  traceId: string;
  projectId: string | null;
  streamed: boolean;
  /** An upper bound of the prompt, in tokens. */
  promptBound: number;
  heldOn: readonly HeldOn[];
  facts: CallFacts;
}

export interface AdmitDeps {
  store: Pick<LedgerStore, 'admit'>;
  prices: Pick<PriceBook, 'worstRates'>;
  catalog: { snapshot(): CatalogSnapshot };
  /** Names this process in the rows of its running calls. */
  owner: string;
  totalMs: number;
}

/** What became of the admission. Only an admitted call is written down. */
export type AdmitResult<R extends ReplyBase> =
  | { kind: 'ADMITTED'; call: AdmittedCall<R> }
  | { kind: 'REFUSED'; refusal: Refusal }
  | Extract<Admission, { kind: 'REPLAY' | 'RUNNING' | 'CONFLICT' }>;

/** Room between a call's own deadline and the moment at which others may call it lost. Milliseconds. */
const OVERDUE_MARGIN_MS = 60_000;

/**
 * Admits the call: its worst case is reserved at every budget that applies and the call is written down, with the
 * question where it belongs to a conversation, in one transaction. Throws NOT_FOUND for a conversation that is gone,
 * SERVICE_UNAVAILABLE while the database is away.
 */
export async function admit<R extends ReplyBase>(
  prepared: PreparedCall<R>,
  deps: AdmitDeps,
  streamed: boolean,
): Promise<AdmitResult<R>> {
  const { caller, model, prompt } = prepared;
  const catalog = deps.catalog.snapshot();
  const call = rowOf(prepared, deps, streamed);
  const ask = async (promptBound: number): Promise<Asked> => {
    const rates = deps.prices.worstRates([model.id, ...model.fallbacks], caller.viewer.organizationId, promptBound);
    const needed = rates && worstCaseCost(promptBound, prepared.maxTokens, rates);
    const facts = factsOf(prepared, needed);
    const [admission] = await deps.store.admit([{ ...call, ...facts }]);
    return { admission: admission!, promptBound, needed, facts };
  };
  // Bytes bound the tokens: only where so much does not fit a budget is the prompt counted, which takes a while of the
  // one event loop.
  let asked = await ask(prompt.bytesBound(model, catalog.byId));
  if (asked.admission.kind === 'BUDGET_EXCEEDED') {
    const tokens = prompt.tokensBound(model, catalog.byId);
    if (tokens < asked.promptBound) asked = await ask(tokens);
  }
  const { admission, promptBound, needed, facts } = asked;
  switch (admission.kind) {
    case 'ADMITTED': {
      const { id, traceId, projectId } = call;
      const { occurredAt, heldOn } = admission;
      return {
        kind: 'ADMITTED',
        call: { ...prepared, id, occurredAt, traceId, projectId, streamed, promptBound, heldOn, facts },
      };
    }
    case 'BUDGET_EXCEEDED':
      return {
        kind: 'REFUSED',
        refusal: budgetExceeded({ admission, needed: needed!, prepared, promptBound, catalog, prices: deps.prices }),
      };
    case 'UNPRICED':
      return { kind: 'REFUSED', refusal: modelUnpriced(model.id) };
    case 'NO_CONVERSATION':
      throw notFound('conversationId');
    default:
      return admission;
  }
}

interface Asked {
  admission: Admission;
  promptBound: number;
  /** Dollars, decimal string; null: no price is known. */
  needed: string | null;
  facts: CallFacts;
}

function rowOf(prepared: PreparedCall, deps: AdmitDeps, streamed: boolean): Omit<NewCall, keyof CallFacts> {
  const { caller, operation, context, model, conversation } = prepared;
  const { viewer } = caller;
  const { request } = operation;
  return {
    id: newId('call'),
    organizationId: viewer.organizationId,
    userId: viewer.userId,
    tokenId: viewer.tokenId,
    projectId: request.projectId ?? conversation?.projectId ?? null,
    agent: request.agent,
    scenario: request.scenario,
    traceId: request.traceId ?? context.traceparentId ?? newTraceId(),
    model: model.id,
    upstream: prepared.upstream.kind,
    streamed,
    owner: deps.owner,
    deadlineMs: deps.totalMs + OVERDUE_MARGIN_MS,
    question: prepared.prompt.question,
    idempotency: prepared.idempotency,
  };
}

function factsOf(
  { caller, operation, context, prompt, maxTokens, idempotency }: PreparedCall,
  hold: string | null,
): CallFacts {
  const { viewer } = caller;
  return {
    door: context.door,
    operation: operation.kind,
    requestId: context.requestId,
    planId: viewer.planId,
    sessionId: viewer.sessionId ?? viewer.tokenId,
    endUser: null,
    tags: [],
    callHash: idempotency?.inputHash ?? null,
    maxTokens,
    promptTokensEstimate: prompt.estimatedTokens,
    hold,
    askedInputTokens: prompt.askedTokens ?? prompt.estimatedTokens,
    reasoningEffort: operation.request.reasoningEffort,
    routeVersion: null,
    routeRule: null,
    routeFlags: [...operation.flags],
  };
}
