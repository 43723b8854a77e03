import { fixedStream, LiveStream } from './live-stream';
import { Subscriber } from './subscriber';
import { ToldStream } from './told-answer';
import type { Viewer } from '../../domain/principal';
import type { SharedLog, StreamOwner, ViewedStream } from './stream.types';
import type { NewEvent } from '../../domain/stream-events';
import type { StopReason } from '../../domain/call';

export interface StreamsConfig {
  /** How long a stream goes on without viewers (GRACE). Milliseconds. */
  graceMs: number;
  /** How long its events are kept behind its end. Milliseconds. */
  keptMs: number;
  /** How much memory the events of streams that have ended may take: beyond it the oldest go first. Bytes. */
  keptBytes: number;
  /** How long pieces are joined into one frame on an idle process. Milliseconds; left out: 20. */
  joinMs?: number;
}
export interface StreamsDeps {
  config: StreamsConfig;
  loopLoad: { readonly current: number };
  /** null: one process, and what it keeps. */
  shared: SharedLog | null;
  /** What the database keeps of streams that no log tells of. */
  kept: { open(streamId: string, viewer: Viewer): Promise<ViewedStream | null> };
}

/** How often what was kept long enough is let go. Milliseconds. */
const SWEEP_MS = 5_000;

interface Kept {
  stream: LiveStream;
  untilMs: number;
  bytes: number;
}

/**
 * The streams of this process, running and ended ones. It decides what the going of the last viewer means, and how long
 * the events are kept.
 */
export class Streams {
  private readonly running = new Map<string, LiveStream>();
  /** In the order in which they ended. */
  private readonly kept = new Map<string, Kept>();
  private keptBytes = 0;
  private readonly graces = new Map<string, NodeJS.Timeout>();
  private readonly sweeper: NodeJS.Timeout;

  constructor(private readonly deps: StreamsDeps) {
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS).unref();
    deps.shared?.onLeft((streamId) => {
      const stream = this.running.get(streamId);
      if (!stream || stream.viewerCount > 0) return;
      // Its time begins now, and not when the last one left here.
      this.watched(stream);
      void this.abandoned(stream);
    });
  }

  /** A stream that this process runs. Nobody looks at it yet: `abandoned` has to be told when nobody ever will. */
  begin(owner: StreamOwner): LiveStream {
    const { shared, loopLoad } = this.deps;
    const stream: LiveStream = new LiveStream({
      owner,
      loopLoad,
      joinMs: this.deps.config.joinMs,
      shared: shared?.writer(owner, () => stream) ?? null,
      onWatched: (watched) => (watched ? this.watched(stream) : void this.abandoned(stream)),
      onEnded: () => this.keep(stream),
    });
    this.running.set(owner.streamId, stream);
    return stream;
  }

  /** Looks at something that is not known yet: see Subscriber. */
  view(start: (viewer: Subscriber) => Promise<void>, after = 0): Subscriber {
    return new Subscriber(start, after);
  }

  /** Of nobody and in no register: what is told of a call that another request has begun. */
  told(started: NewEvent | null): ToldStream {
    return new ToldStream(started);
  }

  /** What is over before it began. */
  fixed(events: readonly NewEvent[]): ViewedStream {
    return fixedStream(events);
  }

  /** A stream of this process: it runs, or its events are still kept. */
  find(streamId: string): LiveStream | null {
    return this.running.get(streamId) ?? this.kept.get(streamId)?.stream ?? null;
  }

  /**
   * A stream of any process, as far as its events are kept. null: they are nowhere. Throws SERVICE_UNAVAILABLE while
   * they cannot be reached.
   */
  async open(streamId: string, viewer: Viewer): Promise<ViewedStream | null> {
    return this.find(streamId) ?? (await this.deps.shared?.open(streamId, viewer)) ?? null;
  }

  /**
   * The same for the one who began it, with what the database has where no log has it: up to two seconds late, and its
   * end.
   */
  async resume(streamId: string, viewer: Viewer): Promise<ViewedStream | null> {
    return (await this.open(streamId, viewer)) ?? this.deps.kept.open(streamId, viewer);
  }

  /** Resolves when what was shown is kept beyond this process, where that is possible. */
  async flush(): Promise<void> {
    await this.deps.shared?.flush();
  }

  /** Last number and viewers, of streams of any process; zeros where nothing is known. */
  async seen(streamIds: readonly string[]): Promise<{ lastSeq: number; viewers: number }[]> {
    const logs = await this.deps.shared?.seen(streamIds);
    return streamIds.map((streamId) => {
      const own = this.running.get(streamId);
      const told = logs?.get(streamId);
      return {
        lastSeq: own?.lastSeq ?? told?.lastSeq ?? 0,
        viewers: Math.max(own?.viewerCount ?? 0, told?.viewers ?? 0),
      };
    });
  }

  get size(): number {
    return this.running.size;
  }

  stop(): void {
    clearInterval(this.sweeper);
    for (const timer of this.graces.values()) clearTimeout(timer);
    this.graces.clear();
    this.kept.clear();
    this.keptBytes = 0;
  }

  private watched({ owner }: LiveStream): void {
    const timer = this.graces.get(owner!.streamId);
    if (!timer) return;
    clearTimeout(timer);
    this.graces.delete(owner!.streamId);
  }

  /** Nobody of this process looks any more; the same for who has unsubscribed and for who has lost the connection. */
  private async abandoned(stream: LiveStream): Promise<void> {
    const { streamId, policy, stop } = stream.owner!;
    if (policy === 'CONTINUE' || stream.ended) return;
    const elsewhere = this.deps.shared ? await this.deps.shared.viewersElsewhere(streamId) : 0;
    if (stream.viewerCount > 0 || stream.ended) return;
    // Where it cannot be told, who looked elsewhere was sent away.
    if (policy === 'CANCEL' && !elsewhere) return stop('DISCONNECT');
    // Who looks elsewhere may die with its process, which tells nobody: it is asked again.
    if (!this.graces.has(streamId)) this.waitForViewers(stream, elsewhere === 0);
  }

  private waitForViewers(stream: LiveStream, wasAlone: boolean): void {
    this.graces.set(
      stream.owner!.streamId,
      setTimeout(() => void this.graceOver(stream, wasAlone), this.deps.config.graceMs).unref(),
    );
  }

  /** `wasAlone`: nobody looked when the clock began. */
  private async graceOver(stream: LiveStream, wasAlone: boolean): Promise<void> {
    const { streamId, stop } = stream.owner!;
    const clock = this.graces.get(streamId);
    const elsewhere = this.deps.shared ? await this.deps.shared.viewersElsewhere(streamId) : 0;
    // Somebody may have come meanwhile, and gone again: then another clock runs, and this one says nothing.
    if (!clock || this.graces.get(streamId) !== clock) return;
    this.graces.delete(streamId);
    if (stream.viewerCount > 0 || stream.ended) return;
    if (elsewhere === 0 && wasAlone) stop('DISCONNECT' satisfies StopReason);
    // Somebody looks elsewhere, or did until lately, or that cannot be told: the clock begins anew.
    else this.waitForViewers(stream, elsewhere === 0);
  }

  private keep(stream: LiveStream): void {
    const { streamId } = stream.owner!;
    this.watched(stream);
    this.running.delete(streamId);
    // It holds the call, with its prompt: megabytes where there are pictures.
    stream.owner!.stop = () => false;
    const { bytes } = stream.log;
    this.kept.set(streamId, { stream, untilMs: performance.now() + this.deps.config.keptMs, bytes });
    this.keptBytes += bytes;
    if (this.keptBytes > this.deps.config.keptBytes) this.sweep();
  }

  private sweep(): void {
    const now = performance.now();
    for (const [streamId, { stream, untilMs, bytes }] of this.kept) {
      if (untilMs > now && this.keptBytes <= this.deps.config.keptBytes) return;
      this.kept.delete(streamId);
      this.keptBytes -= bytes;
      stream.release();
    }
  }
}
