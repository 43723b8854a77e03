import type { Logger } from '../../lib/logger';

const FIRST_MS = 1_000;
const LONGEST_MS = 60_000;

/** Background work that is done now and then, and sooner after a failure: after 1 s, 2 s, 4 s, … up to a minute. */
export class Retry {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private busy = false;
  private again = false;
  private failures = 0;
  private dueAt = Infinity;
  private stopped = true;

  constructor(private readonly deps: { work(): Promise<void>; logger: Logger }) {}

  start(): void {
    this.stopped = false;
    this.schedule(0);
  }

  /** Something failed outside: look again soon. */
  soon(): void {
    this.again = this.busy;
    if (!this.busy) this.schedule(FIRST_MS * 2 ** Math.min(this.failures, 6));
  }

  /** No more of it; what runs is waited for. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private schedule(delayMs: number): void {
    const dueAt = Date.now() + Math.min(delayMs, LONGEST_MS);
    if (this.stopped || dueAt >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = dueAt;
    this.timer = setTimeout(() => (this.running = this.run()), dueAt - Date.now()).unref();
  }

  private async run(): Promise<void> {
    this.busy = true;
    this.dueAt = Infinity;
    try {
      await this.deps.work();
      this.failures = 0;
    } catch (error) {
      this.failures += 1;
      this.deps.logger.warn({ err: error, failures: this.failures }, 'what is to be told to the proxy waits');
    }
    this.busy = false;
    this.schedule(this.failures || this.again ? FIRST_MS * 2 ** Math.min(this.failures, 6) : LONGEST_MS);
    this.again = false;
  }
}
