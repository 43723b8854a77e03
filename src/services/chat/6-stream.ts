import type { AbortableIterator } from '../../lib/abortable-iterator';
import type { Piece } from './answer';
import type { ChatEvent } from './chat.types';

/** What the log keeps: one entry for each number, from 1 on. */
type Entry = Piece | Extract<ChatEvent, { kind: 'StreamStarted' | 'StreamCompleted' | 'StreamStopped' | 'StreamFailed' | 'StreamRefused' }>;
type Terminal = Exclude<Entry, Piece | { kind: 'StreamStarted' }>;
/** An entry that has no number yet. */
export type Unnumbered<E> = E extends unknown ? Omit<E, 'fromSeq' | 'seq'> : never;

/**
 * Text that arrives within this time of the last frame goes out together: a fast model shall not cost one frame per token. Milliseconds.
 * Frames are half of a token's cost: a busy process makes fewer of them, or new streams wait for their first token.
 */
export const joinMs = (loopLoad: number): number => (loopLoad < 0.6 ? 20 : loopLoad < 0.8 ? 60 : 120);

/** Two neighbouring pieces of one kind as one event, or null. */
export function joinEvents(last: ChatEvent, next: ChatEvent): ChatEvent | null {
  if (next.fromSeq !== last.seq + 1) return null;
  if ((last.kind === 'TextDelta' && next.kind === 'TextDelta') || (last.kind === 'ReasoningDelta' && next.kind === 'ReasoningDelta')) {
    return { ...last, text: last.text + next.text, seq: next.seq } as ChatEvent;
  }
  if (last.kind === 'ToolCallDelta' && next.kind === 'ToolCallDelta' && last.index === next.index && next.toolCallId === null && next.name === null) {
    return { ...last, arguments: last.arguments + next.arguments, seq: next.seq };
  }
  return null;
}

/**
 * A stream is an object of its own: an id, a log in which every piece has a number, and viewers that attach to it. The upstream is read by
 * the call, not by a viewer; when the last viewer has left, `onAbandoned` decides what that means.
 */
export class LiveStream {
  private readonly log: Entry[] = [];
  private readonly viewers = new Set<AbortableIterator<ChatEvent>>();
  /** Entries that viewers were given. */
  private given = 0;
  private lastFlushAt = 0;
  private timer: NodeJS.Timeout | null = null;
  private ended = false;

  constructor(
    private readonly onAbandoned: () => void,
    private readonly loopLoad: { readonly current: number } = { current: 0 },
  ) {}

  get lastSeq(): number {
    return this.log.length;
  }

  /** Attaches a viewer's iterator that has just been started: it gets what the log has, then what comes. */
  attach(viewer: AbortableIterator<ChatEvent>): void {
    this.flush();
    this.viewers.add(viewer);
    this.giveFrom(0, [viewer]);
    if (this.ended) viewer.end();
  }

  leave(viewer: AbortableIterator<ChatEvent>): void {
    if (this.viewers.delete(viewer) && this.viewers.size === 0 && !this.ended) this.onAbandoned();
  }

  start(event: Unnumbered<Extract<ChatEvent, { kind: 'StreamStarted' }>>): void {
    this.log.push({ ...event, ...this.nextNumber() });
    this.flush();
  }

  piece(piece: Piece): void {
    if (this.ended) return;
    this.log.push(piece);
    const waited = performance.now() - this.lastFlushAt;
    // The first token goes out at once: nothing was given for long before it.
    const window = joinMs(this.loopLoad.current);
    if (waited >= window || this.log.length <= 2) this.flush();
    else this.timer ??= setTimeout(this.flush, window - waited);
  }

  /** The one terminal event. */
  end(event: Unnumbered<Terminal>): void {
    if (this.ended) return;
    this.log.push({ ...event, ...this.nextNumber() } as Terminal);
    this.close((viewer) => viewer.end());
  }

  /** Ends without a terminal event: only when the call's end could not be written down. */
  fail(error: unknown): void {
    if (!this.ended) this.close((viewer) => viewer.fail(error));
  }

  private close(each: (viewer: AbortableIterator<ChatEvent>) => void): void {
    this.flush();
    this.ended = true;
    for (const viewer of this.viewers) each(viewer);
    this.viewers.clear();
  }

  private readonly flush = (): void => {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    if (this.given === this.log.length) return;
    const from = this.given;
    this.given = this.log.length;
    this.lastFlushAt = performance.now();
    this.giveFrom(from, this.viewers);
  };

  private giveFrom(from: number, viewers: Iterable<AbortableIterator<ChatEvent>>): void {
    let waiting: ChatEvent | null = null;
    const give = (event: ChatEvent): void => {
      for (const viewer of viewers) viewer.push(event);
    };
    for (let i = from; i < this.given; i += 1) {
      const event = this.eventAt(i);
      const joined: ChatEvent | null = waiting && joinEvents(waiting, event);
      if (waiting && !joined) give(waiting);
      waiting = joined ?? event;
    }
    if (waiting) give(waiting);
  }

  private eventAt(index: number): ChatEvent {
    const entry = this.log[index]!;
    return 'seq' in entry ? entry : { ...entry, fromSeq: index + 1, seq: index + 1 };
  }

  private nextNumber(): { fromSeq: number; seq: number } {
    return { fromSeq: this.log.length + 1, seq: this.log.length + 1 };
  }
}
