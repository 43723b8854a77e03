import { BackgroundLoop } from '../../lib/background-loop';
import type { Logger } from '../../lib/logger';
import type { LedgerStore } from './ledger.store';

/** Months of `llm_usage` that are made before they begin. */
const MONTHS_AHEAD = 3;
const LOOK_EVERY_MS = 60_000;
/** Reports hold the table for 10 s at most, and most of them for milliseconds. */
const RETRY_MS = 5_000;
/** A move that takes too long for one transaction holds the data path up each time that it is tried. */
const LONGEST_RETRY_MS = 3_600_000;

export interface PartitionsDeps {
  store: Pick<LedgerStore, 'ensurePartitions' | 'moveDefaultUsage'>;
  logger: Logger;
  lookEveryMs?: number;
  retryMs?: number;
}

/**
 * Keeps partitions of `llm_usage` for the coming months, and moves rows that came before the partition of their month.
 */
export class Partitions {
  private readonly loop: BackgroundLoop;

  constructor(private readonly deps: PartitionsDeps) {
    const everyMs = deps.lookEveryMs ?? LOOK_EVERY_MS;
    this.loop = new BackgroundLoop({
      what: 'keeping of the partitions',
      everyMs,
      firstRetryMs: everyMs,
      longestRetryMs: LONGEST_RETRY_MS,
      logger: deps.logger,
      work: () => this.work(),
    });
  }

  /**
   * Does not wait for the table: a call without the partition of its month is written to the default one, and moved
   * later.
   */
  async start(): Promise<void> {
    await this.deps.store.ensurePartitions(MONTHS_AHEAD);
    this.loop.start();
  }

  stop(): Promise<void> {
    return this.loop.stop();
  }

  /** Gives the milliseconds until the next round where the table was in use. */
  private async work(): Promise<number | void> {
    const { store, logger, retryMs = RETRY_MS } = this.deps;
    const moved = await store.moveDefaultUsage();
    if (moved && moved.length > 0) {
      logger.info({ partitions: moved }, 'usage rows that came before the partition of their month are in it now');
    }
    // Behind the move: a month of which rows are in the default partition is left to it.
    const made = await store.ensurePartitions(MONTHS_AHEAD);
    return moved === null || made === null ? retryMs : undefined;
  }
}
