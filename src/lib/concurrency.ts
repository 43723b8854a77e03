interface Waiting {
  key: string;
  go(): void;
}
export interface ConcurrencyOptions {
  /** How many run at the same time. */
  max: number;
  /** How many wait, in all and of one key; left out: as many as come. */
  maxWaiting?: number;
  maxWaitingOfKey?: number;
  /** Milliseconds of waiting; left out: as long as it takes. */
  waitMs?: number;
  /** The error for work that finds no room, or does not get its turn in time. */
  refused?(): Error;
}

/** Runs a few pieces of work at a time, fair between keys; the others wait in a queue that may have an end. */
export class ConcurrencyLimiter {
  private readonly waiting: Waiting[] = [];
  private readonly running = new Map<string, number>();
  private count = 0;

  constructor(private readonly options: ConcurrencyOptions) {}

  /** Rejects with `refused()` where the queue is full, or its turn did not come in time. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.count >= this.options.max) await this.turn(key);
    else this.begin(key);
    try {
      return await work();
    } finally {
      this.end(key);
    }
  }

  private turn(key: string): Promise<void> {
    const { maxWaiting = Infinity, maxWaitingOfKey = Infinity, waitMs } = this.options;
    const isFull =
      this.waiting.length >= maxWaiting || this.waiting.filter((other) => other.key === key).length >= maxWaitingOfKey;
    if (isFull) throw this.refused();
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.waiting.splice(this.waiting.indexOf(waiting), 1);
        reject(this.refused());
      };
      const timer = waitMs === undefined ? undefined : setTimeout(giveUp, waitMs);
      const waiting: Waiting = {
        key,
        go: () => {
          clearTimeout(timer);
          this.begin(key);
          resolve();
        },
      };
      this.waiting.push(waiting);
    });
  }

  private begin(key: string): void {
    this.count += 1;
    this.running.set(key, (this.running.get(key) ?? 0) + 1);
  }

  private end(key: string): void {
    this.count -= 1;
    const left = this.running.get(key)! - 1;
    if (left > 0) this.running.set(key, left);
    else this.running.delete(key);
    // The key that has the fewest running is next; among those, who came first.
    const next = this.waiting.reduce<Waiting | null>(
      (best, one) => (best === null || this.runningOf(one) < this.runningOf(best) ? one : best),
      null,
    );
    if (!next) return;
    this.waiting.splice(this.waiting.indexOf(next), 1);
    next.go();
  }

  private runningOf({ key }: Waiting): number {
    return this.running.get(key) ?? 0;
  }

  private refused(): Error {
    return this.options.refused?.() ?? new Error('too much is waiting');
  }
}
