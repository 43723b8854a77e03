import { AppError, notFound } from '../../errors';
import { AbortableIterator } from '../../lib/abortable-iterator';
import { callIdOfStream, kindOfId, streamIdOfCall } from '../../lib/ids';
import type { ConversationService } from '../conversation/conversation.service';
import type { Conversation } from '../conversation/conversation.types';
import type { RunningCalls } from '../running-calls';
import type { ChatServiceApi, PeopleServiceApi, PlanServiceApi, UsageServiceApi } from '../services';
import type { Viewer } from '../viewer/viewer.types';
import { authenticate } from './1-authenticate';
import { chooseModel } from './2-route';
import { boundMaxTokens, refuseByPlan } from './3-plan';
import { hold, type HoldResult, type HeldCall, type HoldDeps, type PreparedCall } from './4-hold';
import { joinEvents, LiveStream } from './6-stream';
import { CallRun, type CallOutcome, type CallRunDeps } from './call-run';
import type { CallContext, ChatEvent, ChatInput, ChatReply, Refusal } from './chat.types';
import { fitHistory } from './history';
import { idempotencyConflict, releasedOutcome, type Idempotency, type KeyUse } from './idempotency';
import { inputHash } from './input-hash';
import type { RemoteStops } from './remote-stops';
import { contextTooLong, modelsWithRoomFor } from './refusals';
import { replayAnswer, replyOf, terminalEvent } from './replay';
import { readOutcome } from './stored-outcome';
import { validateChatInput } from './validate-input';

export interface ChatDeps {
  plans: PlanServiceApi;
  people: Pick<PeopleServiceApi, 'visibleProject'>;
  conversations: Pick<ConversationService, 'branch' | 'get'>;
  usage: Pick<UsageServiceApi, 'call'>;
  idempotency: Pick<Idempotency, 'find' | 'follow'>;
  running: RunningCalls;
  /** For streams of other replicas. */
  remoteStops: Pick<RemoteStops, 'stop'>;
  hold: HoldDeps;
  run: CallRunDeps;
  loopLoad: { readonly current: number };
  /** LLM_MODEL_CHAT. */
  defaultModel: string | null;
}

interface Asked {
  viewer: Viewer;
  input: ChatInput;
  context: CallContext;
  idempotency: { key: string; inputHash: string } | null;
  /** performance.now() when the request came. */
  startedAt: number;
}
/** What is known of a request before anything is spent for it. */
type Prepared = { kind: 'PREPARED'; prepared: PreparedCall } | { kind: 'REFUSED'; refusal: Refusal } | KeyUse;

/** How an answer reaches the one who asked. */
interface Way {
  streamed: boolean;
  start(call: HeldCall): CallRun;
  /** The answer will be that of a call that runs already. Gives whether that was told: then no other call can take its place. */
  follow(callId: string): Promise<boolean>;
  /** Aborts when the client has left. */
  signal?: AbortSignal;
}
type Ended = { kind: 'REFUSED'; refusal: Refusal } | { kind: 'OWN'; outcome: CallOutcome } | { kind: 'REPLAYED'; callId: string; outcome: CallOutcome };

/** How many calls a request follows that end without having spent anything, before it gives up. */
const MAX_ROUNDS = 4;

/** The data path: authenticate → route → plan → hold → complete | stream → settle. Everything that reaches a model goes through here. */
export class ChatService implements ChatServiceApi {
  constructor(private readonly deps: ChatDeps) {}

  /** A whole answer. It is finished and booked also when the client has hung up: it is paid for by then. Throws BAD_USER_INPUT, NOT_FOUND, SERVICE_UNAVAILABLE. */
  async chat(viewer: Viewer, input: ChatInput, context: CallContext): Promise<ChatReply | Refusal> {
    const asked = this.ask(viewer, input, context);
    const ended = await this.answer(asked, await this.prepare(asked), {
      streamed: false,
      start: (call) => new CallRun(call, this.deps.run),
      follow: async () => false,
      signal: context.signal,
    });
    if (ended.kind === 'REFUSED') return ended.refusal;
    return ended.outcome.status === 'FAILED' ? ended.outcome.refusal : ended.outcome.reply;
  }

  /** A streamed answer. What is wrong with the input is thrown here, before anything is spent; the rest happens on the first `next()` and is told in events. */
  async stream(viewer: Viewer, input: ChatInput, context: CallContext): Promise<AsyncIterableIterator<ChatEvent>> {
    const asked = this.ask(viewer, input, context);
    const prepared = await this.prepare(asked);
    const leaving = new AbortController();
    const stream = new LiveStream(() => leaving.abort(), this.deps.loopLoad);
    const events: AbortableIterator<ChatEvent> = new AbortableIterator<ChatEvent>(
      {
        start: () => {
          stream.attach(events);
          this.runStream(asked, prepared, stream, leaving.signal).catch((error: unknown) => stream.fail(error));
        },
        onLeave: () => stream.leave(events),
      },
      joinEvents,
    );
    return events;
  }

  /** Throws NOT_FOUND, and SERVICE_UNAVAILABLE when the replica that runs the stream does not react. */
  async stop(viewer: Viewer, streamId: string): Promise<{ streamId: string; stopped: boolean }> {
    if (kindOfId(streamId) !== 'stream') throw notFound('streamId');
    const callId = callIdOfStream(streamId);
    const running = this.deps.running.find(callId);
    if (running?.streamed && mayStop(viewer, running.viewer)) {
      running.stop(running.viewer.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR');
      await running.done;
      return { streamId, stopped: true };
    }
    const call = running ? null : await this.deps.usage.call(viewer, callId);
    if (!call?.streamed || !mayStop(viewer, call)) throw notFound('streamId');
    if (call.status !== 'RUNNING') return { streamId, stopped: false };
    return { streamId, stopped: await this.deps.remoteStops.stop(callId, call.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR') };
  }

  /** Throws BAD_USER_INPUT. */
  private ask(viewer: Viewer, input: ChatInput, context: CallContext): Asked {
    const startedAt = performance.now();
    validateChatInput(input);
    const key = input.idempotencyKey ?? null;
    return { viewer, input, context, idempotency: key === null ? null : { key, inputHash: inputHash(input) }, startedAt };
  }

  /** Steps 1 to 3: everything that can be decided without spending anything. A key that was used comes first: its answer does not depend on what is there today. */
  private async prepare(asked: Asked): Promise<Prepared> {
    const { viewer, input, context, idempotency } = asked;
    const { deps } = this;
    deps.running.assertAccepting();
    const used = idempotency && (await deps.idempotency.find(viewer, idempotency.key, idempotency.inputHash));
    if (used) return used;
    const principal = await authenticate(viewer, deps.plans);
    const catalog = deps.run.catalog.snapshot();
    const route = chooseModel(principal, input, deps.defaultModel, catalog);
    const refused = refuseByPlan(principal.plan, route, catalog, await deps.plans.list());
    if (refused) return { kind: 'REFUSED', refusal: refused };
    const model = route.served!;
    const maxTokens = boundMaxTokens(principal.plan, model, input);
    if (input.projectId) await this.checkProject(viewer, input.projectId);
    const branch = input.conversationId ? await deps.conversations.branch(viewer, input.conversationId, input.afterMessageId ?? null) : null;
    const fitted = fitHistory(branch?.messages ?? [], input, model.contextWindow, maxTokens);
    if (fitted.tooLong) {
      const { countedTokens, allowedTokens } = fitted.tooLong;
      return { kind: 'REFUSED', refusal: contextTooLong(countedTokens, allowedTokens, modelsWithRoomFor(principal.plan, catalog, countedTokens)) };
    }
    const conversation = branch && { conversation: branch.conversation, ids: branch.ids };
    return {
      kind: 'PREPARED',
      prepared: { principal, input, context, model, maxTokens, conversation, history: fitted.history, omittedMessages: fitted.omitted + (branch?.omitted ?? 0), idempotency, startedAt: asked.startedAt },
    };
  }

  /** An operator sees the projects of others, but a call is booked in one's own organisation. */
  private async checkProject(viewer: Viewer, projectId: string): Promise<void> {
    const project = await this.deps.people.visibleProject(viewer, projectId);
    if (project?.organizationId !== viewer.organizationId) throw notFound('input.projectId');
  }

  /** Step 4, and the call runs to its end; or the key has a call that does. One that ended without having spent anything frees the key: then this request takes its place. */
  private async answer(asked: Asked, first: Prepared, way: Way): Promise<Ended> {
    const { deps } = this;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const prepared = round === 0 ? first : await this.prepare(asked);
      const step = prepared.kind === 'PREPARED' ? await this.begin(prepared.prepared, way) : prepared;
      switch (step.kind) {
        case 'REFUSED':
          return step;
        case 'CONFLICT':
          return { kind: 'REFUSED', refusal: idempotencyConflict(step.firstUsedAt) };
        case 'REPLAY':
          return { kind: 'REPLAYED', callId: step.callId, outcome: readOutcome(step.stored) };
        case 'BEGUN':
          return { kind: 'OWN', outcome: await step.run.outcome };
        case 'RUNNING': {
          const { callId } = step;
          const isTold = await way.follow(callId);
          const outcome = await deps.idempotency.follow(asked.viewer, asked.idempotency!.key, callId, way.signal);
          if (outcome !== 'RELEASED') return { kind: 'REPLAYED', callId, outcome };
          if (isTold) return { kind: 'REPLAYED', callId, outcome: releasedOutcome(callId, deps.hold.upstream) };
        }
      }
    }
    throw new AppError('SERVICE_UNAVAILABLE', { public: 'Calls with this idempotency key fail one after the other: repeat the request later, with the same key.' });
  }

  /** From the admission to the register in one piece: a server that shuts down waits for both. */
  private begin(prepared: PreparedCall, way: Way): Promise<{ kind: 'BEGUN'; run: CallRun } | Exclude<HoldResult, { kind: 'HELD' }>> {
    const { hold: deps, running } = this.deps;
    return running.begin(async () => {
      const held = await hold(prepared, deps, way.streamed);
      if (held.kind !== 'HELD') return held;
      const run = way.start(held.call);
      running.add(run);
      return { kind: 'BEGUN', run };
    });
  }

  private async runStream(asked: Asked, prepared: Prepared, stream: LiveStream, leaving: AbortSignal): Promise<void> {
    let isStarted = false;
    const start = (callId: string, model: string, conversation: Conversation | null): void => {
      isStarted = true;
      stream.start({ kind: 'StreamStarted', streamId: streamIdOfCall(callId), callId, model, conversation });
    };
    /** Of a call that another request has begun. */
    const startAs = async (callId: string, reply: ChatReply | null): Promise<void> => {
      const call = reply?.call ?? (await this.deps.usage.call(asked.viewer, callId));
      if (!call || isStarted) return;
      const stored = async (): Promise<Conversation | null> => (call.conversationId === null ? null : this.deps.conversations.get(asked.viewer, call.conversationId));
      start(callId, call.model, reply ? reply.conversation : await stored());
    };
    const ended = await this.answer(asked, prepared, {
      streamed: true,
      start: (call) => {
        start(call.id, call.model.id, call.conversation?.conversation ?? null);
        const run = new CallRun(call, this.deps.run, (piece) => stream.piece(piece));
        // The client may have gone while the call was being written down.
        if (leaving.aborted) run.stop('DISCONNECT');
        else leaving.addEventListener('abort', () => run.stop('DISCONNECT'), { once: true });
        return run;
      },
      follow: async (callId) => {
        await startAs(callId, null);
        return isStarted;
      },
      signal: leaving,
    });
    if (ended.kind === 'REFUSED') return stream.end({ kind: 'StreamRefused', refusal: ended.refusal });
    if (ended.kind === 'OWN') return stream.end(terminalEvent(ended.outcome));
    await startAs(ended.callId, replyOf(ended.outcome));
    replayAnswer(stream, ended.outcome);
  }
}

/** One's own; administrators those of their organisation; operators all. */
const mayStop = (viewer: Viewer, owner: Pick<Viewer, 'userId' | 'organizationId'>): boolean =>
  viewer.userId === owner.userId || viewer.role === 'OPERATOR' || (viewer.role === 'ADMIN' && viewer.organizationId === owner.organizationId);
