import type { Logger } from './logger';

export interface BackgroundLoopDeps {
  /** For the log: "folding of figures". */
  what: string;
  /** Milliseconds from the beginning of one round to that of the next. */
  everyMs: number;
  /** true: there is more to do, at once. */
  work(): Promise<boolean>;
  logger: Logger;
}

/** Milliseconds between rounds that fail, at most. */
const MAX_WAIT_MS = 60_000;

/** Does something again and again. A failure is told once and tried again, later each time; it never ends the process or the loop. */
export class BackgroundLoop {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private failures = 0;
  private stopped = false;

  constructor(private readonly deps: BackgroundLoopDeps) {}

  start(): void {
    this.plan(0);
  }

  /** No further round. Resolves when the running one has ended: whoever cannot wait for that takes its connection away. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private plan(waitMs: number): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.running = this.round();
    }, waitMs).unref();
  }

  private async round(): Promise<void> {
    const { what, everyMs, work, logger } = this.deps;
    const startedAt = performance.now();
    try {
      const isMore = await work();
      if (this.failures > 0) logger.info({ what, failures: this.failures }, 'works again');
      this.failures = 0;
      this.plan(isMore ? 0 : Math.max(0, everyMs - (performance.now() - startedAt)));
    } catch (error) {
      if (this.stopped) return;
      this.failures += 1;
      const waitMs = Math.min(everyMs * 2 ** this.failures, Math.max(everyMs, MAX_WAIT_MS));
      if (this.failures === 1) logger.warn({ err: error, what }, 'failed, and is tried again until it works');
      else logger.debug({ err: error, what, failures: this.failures }, 'failed again');
      this.plan(waitMs);
    }
  }
}
