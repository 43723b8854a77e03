import { AppError, notFound } from '../../errors';
import { callIdOfStream, kindOfId } from '../../lib/ids';
import type { Metrics } from '../../lib/metrics';
import type { ConversationService } from '../conversation/conversation.service';
import type { RunningCalls } from '../running-calls';
import type { ChatServiceApi, PeopleServiceApi, PlanServiceApi, UsageServiceApi } from '../services';
import type { StreamViewer } from '../streams/stream-viewer';
import { isTold, isUnclear } from '../streams/told-answer';
import type { Viewer } from '../viewer/viewer.types';
import { authenticate } from './1-authenticate';
import { chooseModel } from './2-route';
import { boundMaxTokens, refuseByPlan } from './3-plan';
import { hold, type HoldResult, type HeldCall, type HoldDeps, type PreparedCall } from './4-hold';
import { StreamStep, type StreamsOfProcess } from './6-stream';
import { CallRun, type CallOutcome, type CallRunDeps } from './call-run';
import type { ActiveStream, CallContext, ChatEvent, ChatInput, ChatReply, Refusal } from './chat.types';
import { fitHistory } from './history';
import { idempotencyConflict, releasedOutcome, type Idempotency, type KeyUse } from './idempotency';
import { inputHash } from './input-hash';
import type { RemoteStops } from './remote-stops';
import { contextTooLong, modelsWithRoomFor } from './refusals';
import { isLost, readOutcome } from './stored-outcome';
import { validateChatInput } from './validate-input';

export interface ChatDeps {
  plans: PlanServiceApi;
  people: Pick<PeopleServiceApi, 'visibleProject'>;
  conversations: Pick<ConversationService, 'branch' | 'get'>;
  usage: Pick<UsageServiceApi, 'call' | 'streaming'>;
  idempotency: Pick<Idempotency, 'find' | 'follow'>;
  running: RunningCalls;
  /** For streams of other replicas. */
  remoteStops: Pick<RemoteStops, 'stop'>;
  hold: HoldDeps;
  run: CallRunDeps;
  streams: StreamsOfProcess & { view(start: (watching: StreamViewer) => Promise<void>, after?: number): StreamViewer };
  /** LLM_MODEL_CHAT. */
  defaultModel: string | null;
  metrics: Metrics;
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
  /** The answer is that of a call that another request has begun: its events, where they can be had. */
  follow(callId: string, /** Also as far as the database has them, written down while it ran. */ isKept: boolean): Promise<boolean>;
  /** Its events cannot be had: tells that it runs, and gives what tells its end. null: nothing was told, and another call can take its place. */
  announce(callId: string): Promise<((outcome: CallOutcome) => void) | null>;
  /** Aborts when the client has left. */
  signal?: AbortSignal;
}
type Ended =
  | { kind: 'REFUSED'; refusal: Refusal }
  | { kind: 'OWN'; outcome: CallOutcome }
  | { kind: 'REPLAYED'; callId: string; outcome: CallOutcome }
  /** The viewer looks at a stream, which has everything else. */
  | { kind: 'FOLLOWED' };

/** How many calls a request follows that end without having spent anything, before it gives up. */
const MAX_ROUNDS = 4;

/** The data path: authenticate → route → plan → hold → complete | stream → settle. Everything that reaches a model goes through here. */
export class ChatService implements ChatServiceApi {
  private readonly streamStep: StreamStep;

  constructor(private readonly deps: ChatDeps) {
    const { streams, run, usage, conversations } = deps;
    this.streamStep = new StreamStep({ streams, run, call: (viewer, id) => usage.call(viewer, id), conversation: (viewer, id) => conversations.get(viewer, id) });
  }

  /** A whole answer. It is finished and booked also when the client has hung up: it is paid for by then. Throws BAD_USER_INPUT, NOT_FOUND, SERVICE_UNAVAILABLE. */
  async chat(viewer: Viewer, input: ChatInput, context: CallContext): Promise<ChatReply | Refusal> {
    const asked = this.ask(viewer, input, context);
    const ended = await this.answer(asked, await this.prepare(asked), {
      streamed: false,
      start: (call) => new CallRun(call, this.deps.run),
      follow: async () => false,
      announce: async () => null,
      signal: context.signal,
    });
    if (ended.kind === 'REFUSED') return ended.refusal;
    if (ended.kind === 'FOLLOWED') throw new AppError('INTERNAL_SERVER_ERROR', { internal: 'a whole answer followed a stream' });
    return ended.outcome.status === 'FAILED' ? ended.outcome.refusal : ended.outcome.reply;
  }

  /** A streamed answer. What is wrong with the input is thrown here, before anything is spent; the rest happens on the first `next()` and is told in events. */
  async stream(viewer: Viewer, input: ChatInput, context: CallContext): Promise<AsyncIterableIterator<ChatEvent>> {
    const asked = this.ask(viewer, input, context);
    const prepared = await this.prepare(asked);
    return this.deps.streams.view((watching) => this.runStream(asked, prepared, watching)).events;
  }

  /** The rest of a stream behind number `afterSeq`, then what comes. Throws NOT_FOUND, also for streams of others; BAD_USER_INPUT; SERVICE_UNAVAILABLE while its events cannot be reached. */
  async resume(viewer: Viewer, streamId: string, afterSeq: number): Promise<AsyncIterableIterator<ChatEvent>> {
    if (afterSeq < 0) throw new AppError('BAD_USER_INPUT', { public: '`afterSeq` is the `seq` of the last event that arrived, or 0.', argument: 'afterSeq' });
    await this.streamStep.own(viewer, streamId);
    const stream = await this.deps.streams.resume(streamId, viewer);
    if (!stream) throw notFound('streamId');
    // Told of the stored answer, in the middle of what was kept.
    if (isUnclear(afterSeq)) throw new AppError('NOT_FOUND', { public: 'streamId: this stream cannot be told behind this number any more: resume it from the beginning (afterSeq 0).', argument: 'streamId' });
    if (afterSeq > (stream.maxAfter ?? stream.lastSeq) && !isTold(afterSeq)) throw new AppError('BAD_USER_INPUT', { public: `The stream has ${stream.lastSeq} pieces: none has the number ${afterSeq}.`, argument: 'afterSeq' });
    return this.deps.streams.view(async (watching) => watching.attach(stream), afterSeq).events;
  }

  /** Throws FORBIDDEN. */
  async active(viewer: Viewer, everyone: boolean): Promise<ActiveStream[]> {
    return this.streamStep.active(await this.deps.usage.streaming(viewer, everyone));
  }

  /** Throws NOT_FOUND, and SERVICE_UNAVAILABLE when the replica that runs the stream does not react. */
  async stop(viewer: Viewer, streamId: string): Promise<{ streamId: string; stopped: boolean }> {
    if (kindOfId(streamId) !== 'stream') throw notFound('streamId');
    const callId = callIdOfStream(streamId);
    const running = this.deps.running.find(callId);
    if (running?.streamed && mayStop(viewer, running.viewer)) {
      const stopped = running.stop(running.viewer.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR');
      await running.done;
      return { streamId, stopped };
    }
    const call = running ? null : await this.deps.usage.call(viewer, callId);
    if (!call?.streamed || !mayStop(viewer, call)) throw notFound('streamId');
    if (call.status !== 'RUNNING') return { streamId, stopped: false };
    const asked = await this.deps.remoteStops.stop({ organizationId: call.organizationId, id: callId }, call.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR');
    // It may have come to its own end before it was reached.
    return { streamId, stopped: asked && (await this.deps.usage.call(viewer, callId))?.status === 'STOPPED' };
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
      prepared: { principal, input, context, model, maxTokens, conversation, history: fitted.history, omittedMessages: fitted.omitted + (branch?.omitted ?? 0), askedInputTokens: fitted.askedTokens, idempotency, startedAt: asked.startedAt },
    };
  }

  /** An operator sees the projects of others, but a call is booked in one's own organisation. */
  private async checkProject(viewer: Viewer, projectId: string): Promise<void> {
    const project = await this.deps.people.visibleProject(viewer, projectId);
    if (project?.organizationId !== viewer.organizationId) throw notFound('input.projectId');
  }

  /** Step 4, and the call runs to its end; or the key has a call that does. One that ended without having spent anything frees the key: then this request takes its place. */
  private async answer(asked: Asked, first: Prepared, way: Way): Promise<Ended> {
    const ended = await this.answerFor(asked, first, way);
    if (ended.kind === 'REFUSED') this.deps.metrics.refusals.add({ code: ended.refusal.code });
    return ended;
  }

  private async answerFor(asked: Asked, first: Prepared, way: Way): Promise<Ended> {
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
          // What is stored can be told, whatever has become of the events.
          if (await way.follow(step.callId, isLost(step.stored)).catch(() => false)) return { kind: 'FOLLOWED' };
          return { kind: 'REPLAYED', callId: step.callId, outcome: readOutcome(step.stored) };
        case 'BEGUN':
          // A viewer gets the end from its stream: also where it could not be written down, and at its own pace.
          return way.streamed ? { kind: 'FOLLOWED' } : { kind: 'OWN', outcome: await step.run.outcome };
        case 'RUNNING': {
          const { callId } = step;
          if (await way.follow(callId, true)) return { kind: 'FOLLOWED' };
          const tell = await way.announce(callId);
          const outcome = await deps.idempotency.follow(asked.viewer, asked.idempotency!.key, callId, way.signal);
          if (tell) tell(outcome === 'RELEASED' ? releasedOutcome(callId, deps.hold.upstream) : outcome);
          if (tell) return { kind: 'FOLLOWED' };
          if (outcome !== 'RELEASED') return { kind: 'REPLAYED', callId, outcome };
        }
      }
    }
    throw new AppError('SERVICE_UNAVAILABLE', { public: 'Calls with this idempotency key fail one after the other: repeat the request later, with the same key.' });
  }

  /** From the admission to the register in one piece: a server that shuts down waits for both. */
  private begin(prepared: PreparedCall, way: Way): Promise<{ kind: 'BEGUN'; run: CallRun } | Exclude<HoldResult, { kind: 'HELD' }>> {
    const { hold: deps, running } = this.deps;
    return running.begin(async () => {
      const askedAt = performance.now();
      const held = await hold(prepared, deps, way.streamed);
      this.deps.metrics.stepSeconds.observe({ phase: 'admission' }, (performance.now() - askedAt) / 1_000);
      if (held.kind !== 'HELD') return held;
      const run = way.start(held.call);
      running.add(run);
      return { kind: 'BEGUN', run };
    });
  }

  private async runStream(asked: Asked, prepared: Prepared, watching: StreamViewer): Promise<void> {
    const { streamStep } = this;
    const ended = await this.answer(asked, prepared, {
      streamed: true,
      start: (call) => streamStep.begin(call, watching),
      follow: (callId, isKept) => streamStep.follow(asked.viewer, callId, watching, isKept),
      announce: (callId) => streamStep.announce(asked.viewer, callId, watching),
      signal: watching.signal,
    });
    if (ended.kind === 'REFUSED') streamStep.refuse(ended.refusal, watching);
    else if (ended.kind === 'REPLAYED') await streamStep.replay(asked.viewer, ended.callId, ended.outcome, watching);
  }
}

/** One's own; administrators those of their organisation; operators all. */
const mayStop = (viewer: Viewer, owner: Pick<Viewer, 'userId' | 'organizationId'>): boolean =>
  viewer.userId === owner.userId || viewer.role === 'OPERATOR' || (viewer.role === 'ADMIN' && viewer.organizationId === owner.organizationId);
