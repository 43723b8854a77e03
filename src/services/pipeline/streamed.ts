import type { CallRecord } from '../../domain/call';
import type { Conversation } from '../../domain/conversation';
import { type CallOutcome, replyOf } from '../../domain/outcome';
import type { Viewer } from '../../domain/principal';
import type { Refusal } from '../../domain/refusal';
import {
  interrupted,
  terminalEvent,
  type ActiveStream,
  type DisconnectPolicy,
  type NewEvent,
  type StreamEvent,
  type StreamReply,
} from '../../domain/stream-events';
import { notFound } from '../../errors';
import { callIdOfStream, kindOfId, streamIdOfCall } from '../../lib/ids';
import { releasedOutcome } from '../idempotency/idempotency';
import type { LiveStream } from '../streams/live-stream';
import type { Subscriber } from '../streams/subscriber';
import type { ViewedStream } from '../streams/stream.types';
import type { ToldStream } from '../streams/told-answer';
import type { AdmittedCall } from './5-admit';
import { CallRun, type CallRunDeps } from './run';

/** The streams of this process and what is kept of others (services/streams). */
export interface StreamsOfProcess {
  begin(owner: {
    streamId: string;
    callId: string;
    viewer: Viewer;
    policy: DisconnectPolicy;
    stop: CallRun['stop'];
  }): LiveStream;
  find(streamId: string): LiveStream | null;
  open(streamId: string, viewer: Viewer): Promise<ViewedStream | null>;
  resume(streamId: string, viewer: Viewer): Promise<ViewedStream | null>;
  /** Last number and viewers of each; zeros where nothing is known. */
  seen(streamIds: readonly string[]): Promise<{ lastSeq: number; viewers: number }[]>;
  /** Of nobody and in no register: what is told of a call that another request has begun. */
  told(started: NewEvent | null): ToldStream;
  fixed(events: readonly NewEvent[]): ViewedStream;
}

export interface StreamStepDeps {
  streams: StreamsOfProcess;
  run: CallRunDeps;
  call(viewer: Viewer, callId: string): Promise<CallRecord | null>;
  conversation(viewer: Viewer, id: string): Promise<Conversation | null>;
}

/**
 * How a stream gets to its viewer: from a call that begins here, from one that another request has begun, or from what
 * was stored of it.
 */
export class StreamStep {
  constructor(private readonly deps: StreamStepDeps) {}

  /** Runs the call as a stream that does not need its viewer any more. */
  begin(call: AdmittedCall<StreamReply>, viewer: Subscriber): CallRun<StreamReply> {
    const { deps } = this;
    const streamId = streamIdOfCall(call.id);
    const stream = deps.streams.begin({
      streamId,
      callId: call.id,
      viewer: call.caller.viewer,
      policy: call.operation.request.onDisconnect,
      stop: (reason) => run.stop(reason),
    });
    stream.add({
      kind: 'StreamStarted',
      streamId,
      callId: call.id,
      model: call.model.id,
      conversation: call.conversation,
    });
    const run: CallRun<StreamReply> = new CallRun(call, deps.run, stream);
    run.outcome.then(
      (outcome) => stream.end(terminalEvent(outcome)),
      // Its end could be written nowhere: recovery will end it, by what the proxy knows.
      () => stream.end(interrupted(call.id, call.upstream.kind)),
    );
    // The client may have gone while the call was being written down.
    viewer.attach(stream);
    return run;
  }

  /**
   * Attaches to a stream that another request has begun, from its first piece; with `isKept` also where only the
   * database has something of it. false: its events cannot be had.
   */
  async follow(asker: Viewer, callId: string, viewer: Subscriber, isKept: boolean): Promise<boolean> {
    const { streams } = this.deps;
    const stream = await (isKept
      ? streams.resume(streamIdOfCall(callId), asker)
      : streams.open(streamIdOfCall(callId), asker));
    if (stream) viewer.attach(stream, replayed);
    return stream !== null;
  }

  /**
   * A call runs whose events cannot be had: its start is told at once, and what it gives tells its answer. null:
   * nothing is known of it.
   */
  async announce(
    asker: Viewer,
    callId: string,
    viewer: Subscriber,
  ): Promise<((outcome: CallOutcome | 'RELEASED') => void) | null> {
    const call = await this.deps.call(asker, callId);
    if (!call) return null;
    const stream = this.deps.streams.told(await this.startedAs(asker, call, null));
    viewer.attach(stream, replayed);
    return (outcome) =>
      stream.end(terminalEvent(outcome === 'RELEASED' ? releasedOutcome(callId, call.upstream) : outcome));
  }

  /** Tells a stored answer as a stream. */
  async replay(asker: Viewer, callId: string, outcome: CallOutcome, viewer: Subscriber): Promise<void> {
    const reply = replyOf(outcome);
    const call = reply?.call ?? (await this.deps.call(asker, callId));
    const stream = this.deps.streams.told(call && (await this.startedAs(asker, call, reply)));
    stream.end(terminalEvent(outcome));
    viewer.attach(stream);
  }

  refuse(refusal: Refusal, viewer: Subscriber): void {
    viewer.attach(this.deps.streams.fixed([{ kind: 'StreamRefused', refusal }]));
  }

  /**
   * The call of a stream that the viewer has begun. Throws NOT_FOUND, for streams of others as for those that never
   * were.
   */
  async own(viewer: Viewer, streamId: string): Promise<LiveStream | CallRecord> {
    if (kindOfId(streamId) !== 'stream') throw notFound('streamId');
    const stream = this.deps.streams.find(streamId);
    if (stream?.owner?.viewer.userId === viewer.userId) return stream;
    const call = stream ? null : await this.deps.call(viewer, callIdOfStream(streamId));
    if (!call?.streamed || call.userId !== viewer.userId) throw notFound('streamId');
    return call;
  }

  /** How far running streams are. */
  async active(calls: readonly CallRecord[]): Promise<ActiveStream[]> {
    const seen = await this.deps.streams.seen(calls.map(({ id }) => streamIdOfCall(id)));
    return calls.map((call, i) => ({
      streamId: streamIdOfCall(call.id),
      call,
      startedAt: call.occurredAt,
      ...seen[i]!,
    }));
  }

  /** The first event of a call that another request has begun. */
  private async startedAs(asker: Viewer, call: CallRecord, reply: StreamReply | null): Promise<NewEvent> {
    const { id: callId, conversationId, model } = call;
    const stored = reply || conversationId === null ? null : await this.deps.conversation(asker, conversationId);
    const conversation = reply ? reply.conversation : stored;
    return { kind: 'StreamStarted', streamId: streamIdOfCall(callId), callId, model, conversation };
  }
}

/** What a repetition is told of an answer that another request began. */
const replayed = (event: StreamEvent): StreamEvent => {
  const mark = <R extends StreamReply | null>(reply: R): R => reply && { ...reply, replayed: true };
  if (event.kind === 'StreamCompleted' || event.kind === 'StreamStopped') return { ...event, reply: mark(event.reply) };
  return event.kind === 'StreamFailed' ? { ...event, partial: mark(event.partial) } : event;
};
