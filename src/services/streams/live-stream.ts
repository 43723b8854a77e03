import { AppError } from '../../errors';
import { PieceLog } from './piece-log';
import { type SharedLogWriter, type StreamListener, type StreamOwner, type ViewedStream } from './stream.types';
import { toldBehind } from './told-answer';
import {
  type StreamEvent,
  isTerminal,
  type NewEvent,
  type TerminalEvent,
  type Unnumbered,
} from '../../domain/stream-events';

/** How long text that arrives is joined where nothing else is configured: a fast model shall not cost one frame per token. Milliseconds. */
const JOIN_MS = 20;

/** Frames are half of a token's cost: a busy process joins for longer, or new streams wait for their first token. Milliseconds. */
export const joinMs = (loopLoad: number, idleMs = JOIN_MS): number =>
  loopLoad < 0.6 ? idleMs : loopLoad < 0.8 ? 3 * idleMs : 6 * idleMs;

/**
 * Characters that may come without being shown: beyond that they go out before their time, and while the shared log
 * takes no more nothing is read of the upstream.
 */
const UNSHOWN_AT_MOST = 64 * 1024;

export interface LiveStreamDeps {
  /** null: of nobody and in no register, as a refusal. */
  owner: StreamOwner | null;
  loopLoad?: { readonly current: number };
  /** Milliseconds; 0: each piece goes out by itself. Default: 20. */
  joinMs?: number;
  shared?: SharedLogWriter | null;
  /** The first viewer has come, or the last one has gone, before the end. */
  onWatched?(watched: boolean): void;
  onEnded?(): void;
}

/**
 * A stream of this process: an object of its own, with an id, a log in which every piece has a number, and viewers that
 * attach to it. The upstream is read by the call, not by a viewer. What is `visible` may be shown: with a shared log,
 * what that has kept.
 */
export class LiveStream implements ViewedStream {
  readonly log = new PieceLog();
  readonly startedAt = Date.now();
  private readonly viewers = new Set<StreamListener>();
  private visible = 0;
  private appending = false;
  /** Characters that came, and those of them that are shown. */
  private added = 0;
  private shown = 0;
  private onCaughtUp: (() => void) | null = null;
  private lastFlushAt = 0;
  private timer: NodeJS.Timeout | null = null;
  private over = false;
  private theirEnd: TerminalEvent | null = null;
  private failure: AppError | null = null;

  constructor(private readonly deps: LiveStreamDeps) {}

  get owner(): StreamOwner | null {
    return this.deps.owner;
  }
  /** Number of the last piece that is shown. */
  get lastSeq(): number {
    return this.theirEnd?.seq ?? this.visible;
  }
  get isWhole(): boolean {
    return this.theirEnd !== null || (this.over && this.visible === this.log.lastSeq);
  }
  get viewerCount(): number {
    return this.viewers.size;
  }
  /** The terminal event is in the log. */
  get ended(): boolean {
    return this.over;
  }

  join(viewer: StreamListener): void {
    if (this.failure) return viewer.fail(this.failure);
    this.viewers.add(viewer);
    if (this.viewers.size === 1 && !this.over) this.deps.onWatched?.(true);
  }

  leave(viewer: StreamListener): void {
    if (this.viewers.delete(viewer) && this.viewers.size === 0 && !this.over) this.deps.onWatched?.(false);
  }

  read(after: number): StreamEvent | null {
    const event = this.log.read(after, this.visible);
    if (event || !this.isWhole) return event;
    if (this.theirEnd) return after < this.theirEnd.seq ? { ...this.theirEnd, fromSeq: after + 1 } : null;
    return after > this.visible ? toldBehind(this.log.read(this.visible - 1) as TerminalEvent, after) : null;
  }

  /** A piece of the answer, or another event that is not the last one. */
  add(event: Exclude<NewEvent, Unnumbered<TerminalEvent>>): void {
    if (this.over) return;
    this.log.append(event);
    this.added += charactersOf(event);
    const waited = performance.now() - this.lastFlushAt;
    // The first token goes out at once: nothing was given for long before it.
    const window = joinMs(this.deps.loopLoad?.current ?? 0, this.deps.joinMs);
    if (waited >= window || this.log.lastSeq <= 2 || this.added - this.shown > UNSHOWN_AT_MOST) this.flush();
    else this.timer ??= setTimeout(this.flush, window - waited);
  }

  /** null: more may come. Else a promise that resolves when what came is shown. */
  behind(): Promise<void> | null {
    if (this.over || this.added - this.shown <= UNSHOWN_AT_MOST) return null;
    return new Promise((resolve) => (this.onCaughtUp = resolve));
  }

  /** The one terminal event. */
  end(event: Unnumbered<TerminalEvent>): void {
    if (this.over) return;
    this.over = true;
    this.log.append(event);
    this.log.compact();
    this.flush();
    this.deps.onEnded?.();
  }

  /** What is known already, up to its terminal event. */
  tell(events: readonly NewEvent[]): void {
    for (const event of events) {
      if (isTerminal(event)) this.end(event as Unnumbered<TerminalEvent>);
      else this.add(event as Exclude<NewEvent, Unnumbered<TerminalEvent>>);
    }
  }

  /** Its events are not kept any more. */
  release(): void {
    this.deps.shared?.release();
  }

  private readonly flush = (): void => {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    if (this.visible === this.log.lastSeq || this.appending || this.theirEnd) return;
    this.lastFlushAt = performance.now();
    if (this.deps.shared) void this.keep(this.deps.shared);
    else this.show(this.log.lastSeq, this.added);
  };

  /**
   * What viewers see is in the shared log before: else a replica that takes over could give other pieces the same
   * numbers.
   */
  private async keep(shared: SharedLogWriter): Promise<void> {
    this.appending = true;
    const until = this.log.lastSeq;
    const { added } = this;
    const appended = await shared.append(until);
    this.appending = false;
    if (appended === 'CLOSED') return this.lose(shared);
    this.show(until, added);
    if (this.log.lastSeq <= until) return;
    // The window holds here too: or slow appends would make more frames of a busy process, not fewer.
    const restMs = this.lastFlushAt + joinMs(this.deps.loopLoad?.current ?? 0, this.deps.joinMs) - performance.now();
    if (restMs <= 0 || this.over || until <= 1 || this.added - this.shown > UNSHOWN_AT_MOST) this.flush();
    else this.timer ??= setTimeout(this.flush, restMs);
  }

  /** Others took this process for dead and have told the viewers so: there is one terminal event, and it is theirs. */
  private async lose(shared: SharedLogWriter): Promise<void> {
    this.appending = true;
    const ended = this.over;
    this.over = true;
    this.onCaughtUp?.();
    this.deps.owner?.stop('DEADLINE');
    const end = await shared.theirEnd();
    if (end) {
      // What this process has shown beyond their end was shown.
      this.theirEnd = { ...end, seq: Math.max(end.seq, this.visible + 1) };
      for (const viewer of this.viewers) viewer.wake();
    } else {
      this.failure = new AppError('SERVICE_UNAVAILABLE', {
        public: 'This stream was ended by another server, which cannot be asked how right now.',
      });
      for (const viewer of this.viewers) viewer.fail(this.failure);
    }
    if (!ended) this.deps.onEnded?.();
  }

  private show(until: number, added: number): void {
    this.visible = until;
    this.shown = added;
    if (this.onCaughtUp && this.added - added <= UNSHOWN_AT_MOST) {
      this.onCaughtUp();
      this.onCaughtUp = null;
    }
    for (const viewer of this.viewers) viewer.wake();
  }
}

const charactersOf = (event: NewEvent): number =>
  'text' in event ? event.text.length : 'arguments' in event ? event.arguments.length : 0;

/** A stream that is over before it began: what a viewer is told of a refusal. */
export function fixedStream(events: readonly NewEvent[]): ViewedStream {
  const stream = new LiveStream({ owner: null });
  stream.tell(events);
  return stream;
}
