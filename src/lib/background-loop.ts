import type { Logger } from './logger';

export interface BackgroundLoopDeps {
  /** For the log: "folding of rollups". */
  what: string;
  /** Milliseconds from the beginning of one round to that of the next. */
  everyMs: number;
  /** true: there is more to do, at once; a number: milliseconds until the next round. */
  work(): Promise<boolean | number | void>;
  logger: Logger;
  /** Milliseconds until a round that failed is repeated; it doubles with each failure. Default: twice `everyMs`. */
  firstRetryMs?: number;
  /** Default: a minute, or `everyMs` where that is longer. */
  longestRetryMs?: number;
}

const LONGEST_RETRY_MS = 60_000;

/**
 * Does something again and again. A failure is told once and tried again, later each time; it never ends the process or
 * the loop.
 */
export class BackgroundLoop {
  private timer: NodeJS.Timeout | undefined;
  private dueAt = Infinity;
  private running: Promise<void> | null = null;
  /** Asked for while a round is running. */
  private isAsked = false;
  private failures = 0;
  private stopped = true;

  constructor(private readonly deps: BackgroundLoopDeps) {}

  start(): void {
    this.stopped = false;
    this.plan(0);
  }

  /** Something failed elsewhere that the next round can mend: it begins as early as after a failure of its own. */
  soon(): void {
    if (this.running) this.isAsked = true;
    else if (performance.now() + this.retryMs() < this.dueAt) this.plan(this.retryMs());
  }

  /**
   * No further round. Resolves when the running one has ended: whoever cannot wait for that takes its connection away.
   */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private plan(waitMs: number): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.dueAt = performance.now() + waitMs;
    this.timer = setTimeout(() => {
      this.running = this.round().then((nextMs) => {
        this.running = null;
        this.plan(this.isAsked ? Math.min(nextMs, this.retryMs()) : nextMs);
        this.isAsked = false;
      });
    }, waitMs).unref();
  }

  /** Gives the milliseconds until the next round. Never rejects. */
  private async round(): Promise<number> {
    const { what, everyMs, work, logger } = this.deps;
    const startedAt = performance.now();
    try {
      const next = await work();
      if (this.failures > 0) logger.info({ what, failures: this.failures }, 'background work succeeded again');
      this.failures = 0;
      if (typeof next === 'number') return next;
      return next ? 0 : Math.max(0, everyMs - (performance.now() - startedAt));
    } catch (error) {
      if (this.stopped) return 0;
      this.failures += 1;
      const nextMs = this.retryMs();
      if (this.failures === 1) logger.warn({ err: error, what, nextMs }, 'background work failed and will be retried');
      else logger.debug({ err: error, what, failures: this.failures, nextMs }, 'background work failed again');
      return nextMs;
    }
  }

  private retryMs(): number {
    const { everyMs, firstRetryMs = 2 * everyMs, longestRetryMs = Math.max(everyMs, LONGEST_RETRY_MS) } = this.deps;
    return Math.min(firstRetryMs * 2 ** Math.max(0, this.failures - 1), longestRetryMs);
  }
}
