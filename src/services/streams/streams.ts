import type { StopReason } from '../chat/chat.types';
import { fixedStream, LiveStream } from './live-stream';
import { StreamViewer } from './stream-viewer';
import type { NewEvent, SharedLog, StreamOwner, ViewedStream } from './stream.types';

export interface StreamsConfig {
  /** How long a stream goes on without viewers (GRACE). Milliseconds. */
  graceMs: number;
  /** How long its events are kept behind its end. Milliseconds. */
  keptMs: number;
  /** How much memory the events of streams that have ended may take: beyond it the oldest go first. Bytes. */
  keptBytes: number;
}
export interface StreamsDeps {
  config: StreamsConfig;
  loopLoad: { readonly current: number };
  /** null: one process, and what it keeps. */
  shared: SharedLog | null;
}

/** How often what was kept long enough is let go. Milliseconds. */
const SWEEP_MS = 5_000;

interface Kept { stream: LiveStream; untilMs: number; bytes: number }

/** The streams of this process, running and ended ones. It decides what the going of the last viewer means, and how long the events are kept. */
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
      if (stream && stream.viewerCount === 0) void this.abandoned(stream);
    });
  }

  /** A stream that this process runs. Nobody looks at it yet: `abandoned` has to be told when nobody ever will. */
  begin(owner: StreamOwner): LiveStream {
    const { shared, loopLoad } = this.deps;
    const stream: LiveStream = new LiveStream({
      owner,
      loopLoad,
      shared: shared?.writer(owner, (after) => [...stream.log.pieces(after)]) ?? null,
      onWatched: (watched) => (watched ? this.watched(stream) : void this.abandoned(stream)),
      onEnded: () => this.keep(stream),
    });
    this.running.set(owner.streamId, stream);
    return stream;
  }

  /** Looks at something that is not known yet: see StreamViewer. */
  view(start: (viewer: StreamViewer) => Promise<void>, after = 0): StreamViewer {
    return new StreamViewer(start, after);
  }

  /** What is over before it began. */
  fixed(events: readonly NewEvent[]): ViewedStream {
    return fixedStream(events);
  }

  /** A stream of this process: it runs, or its events are still kept. */
  find(streamId: string): LiveStream | null {
    return this.running.get(streamId) ?? this.kept.get(streamId)?.stream ?? null;
  }

  /** A stream of any process, as far as its events are kept. null: they are nowhere. Throws SERVICE_UNAVAILABLE while they cannot be reached. */
  async open(streamId: string): Promise<ViewedStream | null> {
    return this.find(streamId) ?? (await this.deps.shared?.open(streamId)) ?? null;
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
    if (policy === 'CANCEL' && elsewhere === 0) return stop('DISCONNECT');
    if (elsewhere !== null && elsewhere > 0) return;
    if (!this.graces.has(streamId)) this.graces.set(streamId, setTimeout(() => void this.graceOver(stream), this.deps.config.graceMs).unref());
  }

  private async graceOver(stream: LiveStream): Promise<void> {
    const { streamId, stop } = stream.owner!;
    const elsewhere = this.deps.shared ? await this.deps.shared.viewersElsewhere(streamId) : 0;
    if (!this.graces.delete(streamId) || stream.viewerCount > 0 || stream.ended) return;
    if (elsewhere === 0) stop('DISCONNECT' satisfies StopReason);
    // Whether somebody looks elsewhere cannot be told: the clock stands still until it can.
    else if (elsewhere === null) this.graces.set(streamId, setTimeout(() => void this.graceOver(stream), this.deps.config.graceMs).unref());
  }

  private keep(stream: LiveStream): void {
    const { streamId } = stream.owner!;
    this.watched(stream);
    this.running.delete(streamId);
    const { bytes } = stream.log;
    this.kept.set(streamId, { stream, untilMs: performance.now() + this.deps.config.keptMs, bytes });
    this.keptBytes += bytes;
    if (this.keptBytes > this.deps.config.keptBytes) this.sweep();
  }

  private sweep(): void {
    const now = performance.now();
    for (const [streamId, { untilMs, bytes }] of this.kept) {
      if (untilMs > now && this.keptBytes <= this.deps.config.keptBytes) return;
      this.kept.delete(streamId);
      this.keptBytes -= bytes;
    }
  }
}
