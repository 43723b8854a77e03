import type { Logger } from '../../lib/logger';
import type { CallStore } from './call.store';

/** Months of `llm_usage` that are made before they begin. */
const MONTHS_AHEAD = 3;
const LOOK_EVERY_MS = 60_000;

/** What the data path needs done in the background: the coming months' partitions. */
export class Housekeeping {
  private timer: NodeJS.Timeout | null = null;
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly deps: { store: CallStore; logger: Logger }) {}

  async start(): Promise<void> {
    await this.deps.store.ensurePartitions(MONTHS_AHEAD);
    this.timer = setInterval(() => {
      this.running = this.look();
    }, LOOK_EVERY_MS).unref();
  }

  async stop(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await this.running;
  }

  private async look(): Promise<void> {
    try {
      await this.deps.store.ensurePartitions(MONTHS_AHEAD);
    } catch (error) {
      this.deps.logger.warn({ err: error }, 'housekeeping failed, and is tried again in a minute');
    }
  }
}
