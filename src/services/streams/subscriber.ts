import { AbortableIterator } from '../../lib/abortable-iterator';
import { type StreamListener, type ViewedStream } from './stream.types';
import { type StreamEvent, isTerminal } from '../../domain/stream-events';

/**
 * One who looks at a stream: a place in its log. It may attach late (the call is not admitted yet) and may have left by
 * then, which counts as having come and gone. A slow one gets bigger events, and never has a queue.
 */
export class Subscriber implements StreamListener {
  readonly events: AbortableIterator<StreamEvent>;
  private stream: ViewedStream | null = null;
  private hasLeft = false;
  private leaving: AbortController | null = null;
  private mark: (event: StreamEvent) => StreamEvent = (event) => event;

  /** `start` runs on the first `next()`: it attaches the viewer, sooner or later, or fails. */
  constructor(
    start: (viewer: Subscriber) => Promise<void>,
    public after = 0,
  ) {
    this.events = new AbortableIterator<StreamEvent>({
      start: () => void start(this).catch((error: unknown) => this.fail(error)),
      onLeave: () => this.left(),
      take: () => this.take(),
    });
  }

  /** Aborts when the viewer leaves. */
  get signal(): AbortSignal {
    this.leaving ??= new AbortController();
    if (this.hasLeft) this.leaving.abort();
    return this.leaving.signal;
  }

  /** `mark` changes what this viewer is given, and only for it. */
  attach(stream: ViewedStream, mark?: (event: StreamEvent) => StreamEvent): void {
    this.stream = stream;
    if (mark) this.mark = mark;
    stream.join(this);
    if (this.hasLeft) stream.leave(this);
    else this.wake();
  }

  wake(): void {
    const { stream } = this;
    if (stream?.isWhole && !stream.read(this.after)) this.end(stream);
    else this.events.wake();
  }

  fail(error: unknown): void {
    this.stream?.leave(this);
    this.stream = null;
    this.events.fail(error);
  }

  /** It has everything already. */
  private end(stream: ViewedStream): void {
    stream.leave(this);
    this.events.end();
  }

  private take(): { value: StreamEvent; last: boolean } | null {
    const event = this.stream?.read(this.after);
    if (!event) return null;
    this.after = event.seq;
    const last = isTerminal(event);
    if (last) this.stream!.leave(this);
    return { value: this.mark(event), last };
  }

  private left(): void {
    this.hasLeft = true;
    this.leaving?.abort();
    this.stream?.leave(this);
  }
}
