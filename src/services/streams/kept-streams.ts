import { AppError } from '../../errors';
import { callIdOfStream, streamIdOfCall } from '../../lib/ids';
import type { Logger } from '../../lib/logger';
import type { Conversation } from '../../domain/conversation';
import type { Viewer } from '../../domain/principal';
import { knownEnd, lostEnd } from './kept-end';
import { KeptStream } from './kept-stream';
import type { KeptLook, KeptStore } from './kept.store';
import type { ViewedStream } from './stream.types';
import type { CallRecord, StopReason } from '../../domain/call';

export interface KeptStreamsDeps {
  store: Pick<KeptStore, 'look' | 'end'>;
  call(viewer: Viewer, callId: string): Promise<CallRecord | null>;
  conversation(viewer: Viewer, id: string): Promise<Conversation | null>;
  logger: Logger;
  timing?: Partial<Timing>;
}
/** Looks at a stream at which nobody looks, until it is let go. */
const IDLE_LOOKS = 10;
/** Milliseconds. */
interface Timing {
  /** Between two looks, one for all streams that somebody looks at. The pieces are up to two seconds old by then. */
  look: number;
  /**
   * Behind the death of the owner, until viewers are told without the usage row. With a checkpoint or a record of the
   * proxy it is there in half of that; without any it may take the call's whole deadline (docs/recovery.md), for which
   * nobody waits.
   */
  decision: number;
  /** Without the database, until viewers are sent away. */
  away: number;
}
const TIMING: Timing = { look: 500, decision: 60_000, away: 15_000 };

interface Watched {
  stream: KeptStream;
  viewer: Viewer;
  call: CallRecord;
  stopReason: StopReason | null;
  /** Looks at which nobody looked at it. */ idle: number;
}

/**
 * Streams that this process does not run and of which no log tells: of replicas that share nothing but the database,
 * and of processes that died. What they had written down is read again and again until the call has ended, which is
 * decided elsewhere
 * (ledger/), and then the end.
 */
export class KeptStreams {
  private readonly timing: Timing;
  private readonly watched = new Map<string, Watched>();
  private readonly opening = new Map<string, Promise<KeptStream | null>>();
  private timer: NodeJS.Timeout | null = null;
  private looking = false;
  private awaySinceMs: number | null = null;
  private stopped = false;

  constructor(private readonly deps: KeptStreamsDeps) {
    this.timing = { ...TIMING, ...deps.timing };
  }

  /** For the one who began the stream. null: there is none of that id. Throws SERVICE_UNAVAILABLE. */
  async open(streamId: string, viewer: Viewer): Promise<ViewedStream | null> {
    if (this.stopped) throw shuttingDown();
    const callId = callIdOfStream(streamId);
    const known = this.watched.get(callId);
    if (known) {
      known.idle = 0;
      return known.stream;
    }
    let opened = this.opening.get(callId);
    if (!opened) {
      opened = this.begin(callId, viewer).finally(() => this.opening.delete(callId));
      this.opening.set(callId, opened);
    }
    return opened;
  }

  /** The server shuts down: whoever looks at a stream of another process does so from another one. */
  stop(): void {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    for (const { stream } of this.watched.values()) stream.fail(shuttingDown());
    this.watched.clear();
  }

  private async begin(callId: string, viewer: Viewer): Promise<KeptStream | null> {
    const call = await this.deps.call(viewer, callId);
    if (!call?.streamed) return null;
    const conversation =
      call.conversationId === null ? null : await this.deps.conversation(viewer, call.conversationId);
    const stream = new KeptStream(
      callId,
      { kind: 'StreamStarted', streamId: streamIdOfCall(callId), callId, model: call.model, conversation },
      () => this.watch(watched),
    );
    const watched: Watched = { stream, viewer, call, stopReason: null, idle: 0 };
    const [look] = await this.deps.store.look([{ organizationId: call.organizationId, callId, afterRow: 0 }]);
    await this.take(watched, look!);
    const refused = this.watch(watched);
    if (refused) throw refused;
    return stream;
  }

  /** Also for the one who comes so late that it was let go. Gives why it cannot be looked at, or null. */
  private watch(watched: Watched): AppError | null {
    if (this.stopped) return shuttingDown();
    const { callId } = watched.stream;
    const known = this.watched.get(callId);
    // Somebody else has opened it meanwhile: a second try finds that.
    if (known && known !== watched) return new AppError('SERVICE_UNAVAILABLE', { retryAfterMs: 0 });
    watched.idle = 0;
    this.watched.set(callId, watched);
    this.plan();
    return null;
  }

  private plan(): void {
    if (this.stopped || this.timer || this.looking || this.watched.size === 0) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.look();
    }, this.timing.look).unref();
  }

  /** Never rejects. */
  private async look(): Promise<void> {
    this.looking = true;
    for (const [callId, watched] of this.watched) {
      // Some looks more: somebody may be about to attach.
      if (watched.stream.viewerCount === 0 && (watched.idle += 1) > IDLE_LOOKS) this.watched.delete(callId);
    }
    const running = [...this.watched.values()].filter(({ stream }) => !stream.isWhole);
    try {
      const looks =
        running.length === 0
          ? []
          : await this.deps.store.look(
              running.map(({ stream, call }) => ({
                organizationId: call.organizationId,
                callId: stream.callId,
                afterRow: stream.lastRow,
              })),
            );
      for (const look of looks) {
        const watched = this.watched.get(look.callId);
        if (watched) await this.take(watched, look);
      }
      this.awaySinceMs = null;
    } catch (error) {
      this.away(error);
    }
    this.looking = false;
    this.plan();
  }

  private async take(watched: Watched, look: KeptLook): Promise<void> {
    const { stream, viewer, call } = watched;
    const { flight } = look;
    stream.add(look);
    watched.stopReason = (flight?.stopReason as StopReason | null | undefined) ?? watched.stopReason;
    const isLate = flight?.deadMs != null && flight.deadMs >= this.timing.decision;
    if (flight && !isLate) return;
    const conversation =
      call.conversationId === null ? null : await this.deps.conversation(viewer, call.conversationId);
    if (flight) return stream.end(lostEnd(call, stream.keptText, null, conversation));
    const [ended, end] = await Promise.all([
      this.deps.call(viewer, stream.callId),
      this.deps.store.end(call.organizationId, stream.callId),
    ]);
    // By the time of the look it had no row in flight: a row that is not there yet is of another moment, and comes with
    // the next look.
    if (!ended || ended.status === 'RUNNING' || !end) return;
    stream.end(knownEnd({ call: ended, end, conversation, kept: stream.keptText, stopReason: watched.stopReason }));
  }

  private away(error: unknown): void {
    const nowMs = performance.now();
    if (this.awaySinceMs === null)
      this.deps.logger.warn(
        { streams: this.watched.size, err: error },
        'streams of other processes cannot be read and will be read again',
      );
    this.awaySinceMs ??= nowMs;
    if (nowMs - this.awaySinceMs < this.timing.away) return;
    for (const { stream } of this.watched.values())
      stream.fail(
        new AppError('SERVICE_UNAVAILABLE', { internal: 'what is kept of a stream cannot be read', cause: error }),
      );
    this.watched.clear();
    this.awaySinceMs = null;
  }
}

const shuttingDown = (): AppError =>
  new AppError('SERVICE_UNAVAILABLE', {
    public: 'The server is shutting down: resume the stream at another one.',
    retryAfterMs: 1_000,
  });
