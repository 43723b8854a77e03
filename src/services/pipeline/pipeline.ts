import type { CallContext, CallRecord } from '../../domain/call';
import type { CatalogModel, CatalogSnapshot } from '../../domain/model';
import { isLost, reviveOutcome, type CallOutcome, type ReplyBase } from '../../domain/outcome';
import type { Plans } from '../../domain/plan';
import type { Viewer } from '../../domain/principal';
import type { Refusal } from '../../domain/refusal';
import type { ActiveStream, StreamEvent, StreamReply } from '../../domain/stream-events';
import { AppError, notFound, underField } from '../../errors';
import { callIdOfStream, kindOfId } from '../../lib/ids';
import type { Metrics } from '../../lib/metrics';
import type { PeopleService } from '../accounts/people.service';
import { idempotencyConflict, type Idempotency, type KeyUse } from '../idempotency/idempotency';
import type { Subscriber } from '../streams/subscriber';
import { isTold, isUnclear } from '../streams/told-answer';
import { identify } from './1-identify';
import { route, type CallUpstream } from './2-route';
import { authorize } from './3-authorize';
import { limit, type LimitDeps } from './4-limit';
import { admit, type AdmitDeps, type AdmitResult, type AdmittedCall, type PreparedCall } from './5-admit';
import type { Operation } from './operation';
import { contextTooLong, modelsWithRoomFor } from './refusals';
import type { RemoteStops } from './remote-stops';
import { CallRun, type CallRunDeps } from './run';
import type { RunningCalls } from './running-calls';
import { StreamStep, type StreamStepDeps } from './streamed';

/** Calls as they are written down. */
export interface CallRecords {
  /** null for what the viewer may not see. */
  call(viewer: Viewer, id: string): Promise<CallRecord | null>;
  /** Streams that run: the viewer's own, or those of everybody whom the viewer administers. Throws FORBIDDEN. */
  streaming(viewer: Viewer, everyone: boolean): Promise<CallRecord[]>;
}

export interface PipelineDeps {
  plans: Plans;
  catalog: { snapshot(): CatalogSnapshot };
  people: Pick<PeopleService, 'visibleProject'>;
  records: CallRecords;
  conversation: StreamStepDeps['conversation'];
  idempotency: Pick<Idempotency, 'find' | 'follow'>;
  running: RunningCalls;
  /** For streams of other replicas. */
  remoteStops: Pick<RemoteStops, 'stop'>;
  limit: Pick<LimitDeps, 'writer'>;
  admit: AdmitDeps;
  run: CallRunDeps;
  streams: StreamStepDeps['streams'] & {
    view(start: (watching: Subscriber) => Promise<void>, after?: number): Subscriber;
  };
  /** Where a call to this model is sent. */
  upstreamOf(model: CatalogModel): CallUpstream;
  /** The model of a call that names none; null: the plan's. */
  defaultModel: string | null;
  metrics: Metrics;
}

interface Asked<R extends ReplyBase> {
  viewer: Viewer;
  operation: Operation<R>;
  context: CallContext;
  idempotency: { key: string; inputHash: string } | null;
  /** performance.now() when the request came. */
  startedAt: number;
}
/** What is known of a request before anything is spent for it. */
type Prepared<R extends ReplyBase> =
  { kind: 'PREPARED'; prepared: PreparedCall<R> } | { kind: 'REFUSED'; refusal: Refusal } | KeyUse;

/** How an answer reaches the caller. */
interface Delivery<R extends ReplyBase> {
  streamed: boolean;
  start(call: AdmittedCall<R>): CallRun<R>;
  /**
   * The answer is that of a call that another request has begun: its events, where they can be had; with `isKept` also
   * as far as only the database has them.
   */
  follow(callId: string, isKept: boolean): Promise<boolean>;
  /**
   * The events cannot be had: shows that the call runs, and gives what shows its end. null: nothing was shown, and
   * another call can take its place.
   */
  announce(callId: string): Promise<((outcome: CallOutcome<R> | 'RELEASED') => void) | null>;
  /** Aborts when the client has left. */
  signal?: AbortSignal;
}
type Ended<R extends ReplyBase> =
  | { kind: 'REFUSED'; refusal: Refusal }
  | { kind: 'OWN'; outcome: CallOutcome<R> }
  | { kind: 'REPLAYED'; callId: string; outcome: CallOutcome<R> }
  /** The viewer looks at a stream, which has everything else. */
  | { kind: 'FOLLOWED' };

/** How many calls a request follows that end without having spent anything, before it gives up. */
const MAX_ROUNDS = 4;

/**
 * The data path: identify → route → authorize → limit → admit → send → settle. Everything that reaches a model goes
 * through here.
 */
export class Pipeline {
  private readonly streamStep: StreamStep;

  constructor(private readonly deps: PipelineDeps) {
    const { streams, run, records, conversation } = deps;
    this.streamStep = new StreamStep({ streams, run, call: (viewer, id) => records.call(viewer, id), conversation });
  }

  /**
   * A whole answer. It is finished and settled also when the client has hung up: it is paid for by then. Throws
   * BAD_USER_INPUT, NOT_FOUND, SERVICE_UNAVAILABLE.
   */
  call<R extends ReplyBase>(viewer: Viewer, operation: () => Operation<R>, context: CallContext): Promise<R | Refusal> {
    return underField(context.fieldsAt, this.answerWhole(viewer, operation, context));
  }

  /**
   * A streamed answer. What is wrong with the request is thrown here, before anything is spent; the rest happens on the
   * first `next()` and is told in events.
   */
  async stream(
    viewer: Viewer,
    operation: () => Operation<StreamReply>,
    context: CallContext,
  ): Promise<AsyncIterableIterator<StreamEvent>> {
    const { fieldsAt } = context;
    const [asked, prepared] = await underField(fieldsAt, this.ask(viewer, operation, context));
    return this.deps.streams.view((watching) => underField(fieldsAt, this.runStream(asked, prepared, watching))).events;
  }

  /**
   * The rest of a stream behind number `afterSeq`, then what comes. Throws NOT_FOUND, also for streams of others;
   * BAD_USER_INPUT; SERVICE_UNAVAILABLE while its events cannot be reached.
   */
  async resume(viewer: Viewer, streamId: string, afterSeq: number): Promise<AsyncIterableIterator<StreamEvent>> {
    if (afterSeq < 0)
      throw wrongPlace('BAD_USER_INPUT', '`afterSeq` is the `seq` of the last event that arrived, or 0.');
    await this.streamStep.own(viewer, streamId);
    const stream = await this.deps.streams.resume(streamId, viewer);
    if (!stream) throw notFound('streamId');
    // A place in the middle of what was replayed from the stored answer.
    if (isUnclear(afterSeq)) {
      const text =
        'streamId: this stream cannot be told behind this number any more: resume it from the beginning (afterSeq 0).';
      throw wrongPlace('NOT_FOUND', text, 'streamId');
    }
    if (afterSeq > (stream.maxAfter ?? stream.lastSeq) && !isTold(afterSeq)) {
      throw wrongPlace('BAD_USER_INPUT', `The stream has ${stream.lastSeq} pieces: none has the number ${afterSeq}.`);
    }
    return this.deps.streams.view(async (watching) => watching.attach(stream), afterSeq).events;
  }

  /** Throws FORBIDDEN. */
  async active(viewer: Viewer, everyone: boolean): Promise<ActiveStream[]> {
    return this.streamStep.active(await this.deps.records.streaming(viewer, everyone));
  }

  /** Throws NOT_FOUND, and SERVICE_UNAVAILABLE when the replica that runs the stream does not react. */
  async stop(viewer: Viewer, streamId: string): Promise<{ streamId: string; stopped: boolean }> {
    const { running, records, remoteStops } = this.deps;
    if (kindOfId(streamId) !== 'stream') throw notFound('streamId');
    const callId = callIdOfStream(streamId);
    const local = running.find(callId);
    if (local?.streamed && mayStop(viewer, local.viewer)) {
      const stopped = local.stop(local.viewer.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR');
      await local.done;
      return { streamId, stopped };
    }
    const call = local ? null : await records.call(viewer, callId);
    if (!call?.streamed || !mayStop(viewer, call)) throw notFound('streamId');
    if (call.status !== 'RUNNING') return { streamId, stopped: false };
    const name = { organizationId: call.organizationId, id: callId };
    const asked = await remoteStops.stop(name, call.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR');
    // It may have come to its own end before it was reached.
    return { streamId, stopped: asked && (await records.call(viewer, callId))?.status === 'STOPPED' };
  }

  private async answerWhole<R extends ReplyBase>(
    viewer: Viewer,
    operation: () => Operation<R>,
    context: CallContext,
  ): Promise<R | Refusal> {
    const [asked, prepared] = await this.ask(viewer, operation, context);
    const ended = await this.answer(asked, prepared, {
      streamed: false,
      start: (call) => new CallRun(call, this.deps.run),
      follow: async () => false,
      announce: async () => null,
      signal: context.signal,
    });
    if (ended.kind === 'REFUSED') return ended.refusal;
    if (ended.kind === 'FOLLOWED')
      throw new AppError('INTERNAL_SERVER_ERROR', { internal: 'a whole answer followed a stream' });
    return ended.outcome.status === 'FAILED' ? ended.outcome.refusal : ended.outcome.reply;
  }

  /** Throws BAD_USER_INPUT, NOT_FOUND, SERVICE_UNAVAILABLE. */
  private async ask<R extends ReplyBase>(
    viewer: Viewer,
    make: () => Operation<R>,
    context: CallContext,
  ): Promise<[Asked<R>, Prepared<R>]> {
    const startedAt = performance.now();
    const operation = make();
    const key = operation.request.idempotencyKey;
    const idempotency = key === null ? null : { key, inputHash: operation.inputHash() };
    const asked = { viewer, operation, context, idempotency, startedAt };
    return [asked, await this.prepare(asked)];
  }

  /**
   * Everything that can be decided without spending anything. A key that was used comes first: its answer does not
   * depend on what is there today.
   */
  private async prepare<R extends ReplyBase>(asked: Asked<R>): Promise<Prepared<R>> {
    const { viewer, operation, context, idempotency, startedAt } = asked;
    const { deps } = this;
    const { mode } = operation;
    const used = idempotency && (await deps.idempotency.find(viewer, idempotency.key, idempotency.inputHash));
    if (used) return used;
    const caller = await identify(viewer, deps.plans);
    const material = await operation.load(viewer);
    const catalog = deps.catalog.snapshot();
    const { plan } = caller;
    const candidates = route({ operation, plan, defaultModel: deps.defaultModel, catalog });
    const authorized = authorize({ candidates, mode, plan, catalog, plans: await deps.plans.list() });
    if (authorized.kind === 'REFUSED') return authorized;
    const { model } = authorized;
    const maxTokens = material.maxTokens(plan, model);
    await this.checkProject(viewer, operation.request.projectId);
    const fitted = material.fit(model, maxTokens);
    if (fitted.kind === 'TOO_LONG') {
      const { countedTokens, allowedTokens } = fitted;
      const others = modelsWithRoomFor(plan, catalog, mode, countedTokens);
      return { kind: 'REFUSED', refusal: contextTooLong(countedTokens, allowedTokens, others) };
    }
    limit({ running: deps.running, writer: deps.limit.writer });
    const { conversation } = material;
    const { prompt } = fitted;
    const upstream = deps.upstreamOf(model);
    const call = {
      caller,
      operation,
      context,
      model,
      upstream,
      maxTokens,
      conversation,
      prompt,
      idempotency,
      startedAt,
    };
    return { kind: 'PREPARED', prepared: call };
  }

  /** An operator sees the projects of others, but a call is booked in one's own organisation. */
  private async checkProject(viewer: Viewer, projectId: string | null): Promise<void> {
    const project = projectId === null ? null : await this.deps.people.visibleProject(viewer, projectId);
    if (projectId !== null && project?.organizationId !== viewer.organizationId) throw notFound('projectId');
  }

  private async answer<R extends ReplyBase>(
    asked: Asked<R>,
    first: Prepared<R>,
    delivery: Delivery<R>,
  ): Promise<Ended<R>> {
    const ended = await this.answerFor(asked, first, delivery);
    if (ended.kind === 'REFUSED') this.deps.metrics.refusals.add({ code: ended.refusal.code });
    return ended;
  }

  /**
   * The call is admitted and runs to its end; or the key has a call that does. One that ended without having spent
   * anything frees the key: then this request takes its place.
   */
  private async answerFor<R extends ReplyBase>(
    asked: Asked<R>,
    first: Prepared<R>,
    delivery: Delivery<R>,
  ): Promise<Ended<R>> {
    const revive = (stored: unknown): CallOutcome<R> =>
      reviveOutcome<R>(stored, (reply) => asked.operation.revive(reply));
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const prepared = round === 0 ? first : await this.prepare(asked);
      const step = prepared.kind === 'PREPARED' ? await this.begin(prepared.prepared, delivery) : prepared;
      switch (step.kind) {
        case 'REFUSED':
          return step;
        case 'CONFLICT':
          return { kind: 'REFUSED', refusal: idempotencyConflict(step.firstUsedAt) };
        case 'REPLAY':
          // What is stored can be told, whatever has become of the events.
          if (await delivery.follow(step.callId, isLost(step.stored)).catch(() => false)) return { kind: 'FOLLOWED' };
          return { kind: 'REPLAYED', callId: step.callId, outcome: revive(step.stored) };
        case 'BEGUN':
          // A viewer gets the end from its stream: also where it could not be written down, and at its own pace.
          return delivery.streamed ? { kind: 'FOLLOWED' } : { kind: 'OWN', outcome: await step.run.outcome };
        case 'RUNNING': {
          const { callId } = step;
          if (await delivery.follow(callId, true)) return { kind: 'FOLLOWED' };
          const tell = await delivery.announce(callId);
          const key = asked.idempotency!.key;
          const stored = await this.deps.idempotency.follow(asked.viewer, key, callId, delivery.signal);
          if (tell) {
            tell(stored === 'RELEASED' ? stored : revive(stored.outcome));
            return { kind: 'FOLLOWED' };
          }
          if (stored !== 'RELEASED') return { kind: 'REPLAYED', callId, outcome: revive(stored.outcome) };
        }
      }
    }
    throw new AppError('SERVICE_UNAVAILABLE', {
      public: 'Calls with this idempotency key fail one after the other: repeat the request later, with the same key.',
    });
  }

  /** From the admission to the register in one piece: a server that shuts down waits for both. */
  private begin<R extends ReplyBase>(
    prepared: PreparedCall<R>,
    delivery: Delivery<R>,
  ): Promise<{ kind: 'BEGUN'; run: CallRun<R> } | Exclude<AdmitResult<R>, { kind: 'ADMITTED' }>> {
    const { running, metrics } = this.deps;
    return running.begin(async () => {
      const askedAt = performance.now();
      const admitted = await admit(prepared, this.deps.admit, delivery.streamed);
      metrics.stepSeconds.observe({ phase: 'admission' }, (performance.now() - askedAt) / 1_000);
      if (admitted.kind !== 'ADMITTED') return admitted;
      const run = delivery.start(admitted.call);
      running.add(run);
      return { kind: 'BEGUN', run };
    });
  }

  private async runStream(
    asked: Asked<StreamReply>,
    prepared: Prepared<StreamReply>,
    watching: Subscriber,
  ): Promise<void> {
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

const wrongPlace = (code: 'BAD_USER_INPUT' | 'NOT_FOUND', text: string, argument = 'afterSeq'): AppError =>
  new AppError(code, { public: text, argument });

/** One's own; administrators those of their organisation; operators all. */
const mayStop = (viewer: Viewer, owner: Pick<Viewer, 'userId' | 'organizationId'>): boolean =>
  viewer.userId === owner.userId ||
  viewer.role === 'OPERATOR' ||
  (viewer.role === 'ADMIN' && viewer.organizationId === owner.organizationId);
