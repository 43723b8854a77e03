import type { Logger } from '../../lib/logger';
import type { LedgerStore } from './ledger.store';

/** Months of `llm_usage` that are made before they begin. */
const MONTHS_AHEAD = 3;
const LOOK_EVERY_MS = 60_000;
/** Reports hold the table for 10 s at most, and most of them for milliseconds. */
const RETRY_MS = 5_000;
/** A move that takes too long for one transaction holds the data path up each time that it is tried. */
const MOST_MS = 3_600_000;

export interface HousekeepingDeps {
  store: Pick<LedgerStore, 'ensurePartitions' | 'moveDefaultUsage'>;
  logger: Logger;
  lookEveryMs?: number;
  retryMs?: number;
}

/** What the data path needs done in the background: partitions for the coming months, and for rows that came before theirs. */
export class Housekeeping {
  private timer: NodeJS.Timeout | null = null;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;
  private failures = 0;

  constructor(private readonly deps: HousekeepingDeps) {}

  /** Does not wait for the table: a call without the partition of its month is written to the default one, and moved later. */
  async start(): Promise<void> {
    await this.deps.store.ensurePartitions(MONTHS_AHEAD);
    this.running = this.look();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    await this.running;
  }

  private async look(): Promise<void> {
    const nextMs = await this.work();
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.running = this.look();
    }, nextMs).unref();
  }

  /** Gives the milliseconds until the next look. */
  private async work(): Promise<number> {
    const { store, logger, lookEveryMs = LOOK_EVERY_MS, retryMs = RETRY_MS } = this.deps;
    try {
      const moved = await store.moveDefaultUsage();
      if (moved && moved.length > 0) logger.info({ partitions: moved }, 'usage rows that came before the partition of their month are in it now');
      // Behind the move: a month of which rows are in the default partition is left to it.
      const made = await store.ensurePartitions(MONTHS_AHEAD);
      this.failures = 0;
      return moved === null || made === null ? retryMs : lookEveryMs;
    } catch (error) {
      this.failures += 1;
      const nextMs = Math.min(lookEveryMs * 2 ** (this.failures - 1), MOST_MS);
      logger.warn({ err: error, nextMs }, 'housekeeping failed, and is tried again');
      return nextMs;
    }
  }
}
