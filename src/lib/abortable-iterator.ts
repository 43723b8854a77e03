/**
 * The one hand-written AsyncIterator for streams to clients. A plain async generator that waits on a silent upstream
 * queues `return()`
 * behind the pending `next()`: when the client goes, the upstream stays open. Here `return()` ends everything at once.
 *
 * The source pushes; the consumer pulls. What waits is a single slot that `merge` may join, so that a slow consumer
 * gets bigger values and never a growing queue of small ones. Or nothing waits here at all: a source that keeps its
 * values elsewhere gives them by `take`, and says by `wake` that there is one.
 *
 * - `start` runs once, on the first `next()`; never when the consumer left before.
 * - `onLeave` runs once, when the consumer leaves (`return`, `throw`) before the end, also when never started.
 * - A value after the end, or after the consumer left, is ignored.
 */
export interface IteratorSource<T> {
  start(sink: Sink<T>): void;
  onLeave(): void;
  /** Called when the consumer has taken what was waiting. */
  onDrain?(): void;
  /**
   * The next value that the source keeps itself, or null when there is none now. After a `last` one the iterator has
   * ended.
   */
  take?(): { value: T; last: boolean } | null;
}
export interface Sink<T> {
  push(value: T): void;
  end(): void;
  fail(error: unknown): void;
  /** Values that wait for the consumer. */
  readonly waiting: number;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T>): void;
  reject(error: unknown): void;
}

export class AbortableIterator<T> implements AsyncIterableIterator<T>, Sink<T> {
  private readonly values: T[] = [];
  private readonly waiters: Waiter<T>[] = [];
  private state: 'new' | 'running' | 'ended' | 'left' = 'new';
  private error: { cause: unknown } | null = null;

  /** `merge(last, value)` joins a value to the last waiting one, or answers null where they cannot be joined. */
  constructor(
    private readonly source: IteratorSource<T>,
    private readonly merge: (last: T, value: T) => T | null = () => null,
  ) {}

  get waiting(): number {
    return this.values.length;
  }

  next(): Promise<IteratorResult<T>> {
    if (this.state === 'new') {
      this.state = 'running';
      this.source.start(this);
    }
    if (this.values.length > 0) {
      const value = this.values.shift()!;
      if (this.values.length === 0) this.source.onDrain?.();
      return Promise.resolve({ value, done: false });
    }
    const taken = this.takeOne();
    if (taken) return Promise.resolve({ value: taken.value, done: false });
    if (this.error) {
      const { cause } = this.error;
      this.error = null;
      return Promise.reject(cause);
    }
    if (this.state !== 'running') return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<T>> {
    this.leave();
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error: unknown): Promise<IteratorResult<T>> {
    this.leave();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(value: T): void {
    if (this.state !== 'running') return;
    const waiter = this.waiters.shift();
    if (waiter) {
      waiter.resolve({ value, done: false });
      return;
    }
    const last = this.values.length - 1;
    const merged = last >= 0 ? this.merge(this.values[last]!, value) : null;
    if (merged === null) this.values.push(value);
    else this.values[last] = merged;
  }

  /** There is something to take: for all who wait, because nobody says it twice. */
  wake(): void {
    while (this.waiters.length > 0) {
      const taken = this.takeOne();
      if (!taken) return;
      this.waiters.shift()!.resolve({ value: taken.value, done: false });
      if (taken.last) this.settleWaiters();
    }
  }

  end(): void {
    if (this.state !== 'running') return;
    this.state = 'ended';
    this.settleWaiters();
  }

  fail(error: unknown): void {
    if (this.state !== 'running') return;
    this.state = 'ended';
    const waiter = this.waiters.shift();
    if (waiter) waiter.reject(error);
    else this.error = { cause: error };
    this.settleWaiters();
  }

  private takeOne(): { value: T; last: boolean } | null {
    if (this.state !== 'running' || !this.source.take) return null;
    const taken = this.source.take();
    if (taken?.last) this.state = 'ended';
    return taken;
  }

  private leave(): void {
    if (this.state === 'left') return;
    const ended = this.state === 'ended';
    this.state = 'left';
    this.values.length = 0;
    this.error = null;
    this.settleWaiters();
    if (!ended) this.source.onLeave();
  }

  private settleWaiters(): void {
    for (const waiter of this.waiters.splice(0)) waiter.resolve({ value: undefined, done: true });
  }
}
