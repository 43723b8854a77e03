import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from '../../lib/logger';
import { BackgroundLoop } from '../../lib/background-loop';
import type { OldMonth, RetentionStore } from './retention.store';

export interface RetentionDeps {
  store: Pick<RetentionStore, 'alone' | 'pruneQuarters' | 'oldestMonth' | 'check' | 'drop' | 'removeLateRows'>;
  /** Whole months of usage rows that are kept beside the current one; null: all. */
  months: number | null;
  logger: Logger;
  /** Milliseconds between two rounds. Default 1 h. */
  everyMs?: number;
  /** Milliseconds between two tries to have the table for a moment. Default 5 s. */
  tryEveryMs?: number;
}

/** Tries in one round to have the table for the moment that it takes to remove a month. */
const TRIES = 20;

/**
 * Once an hour: removes cells by quarter of an hour that are older than 60 days, and where it is configured whole
 * months of usage rows. Cubes and price changes stay.
 */
export class Retention {
  private readonly loop: BackgroundLoop;
  private readonly stopping = new AbortController();

  constructor(private readonly deps: RetentionDeps) {
    this.loop = new BackgroundLoop({
      what: 'removing old figures',
      everyMs: deps.everyMs ?? 3_600_000,
      work: () => this.round().then(() => false),
      logger: deps.logger,
    });
  }

  start(): void {
    this.loop.start();
  }

  stop(): Promise<void> {
    this.stopping.abort();
    return this.loop.stop();
  }

  /** Nothing where another process is at it. */
  async round(): Promise<void> {
    await this.deps.store.alone(async () => {
      await this.repeat(() => this.deps.store.pruneQuarters());
      if (this.deps.months === null) return;
      // In their order: what is left is everything after a time.
      for (;;) {
        const month = await this.deps.store.oldestMonth(this.deps.months);
        if (!month || this.stopping.signal.aborted || !(await this.remove(month))) break;
      }
      await this.repeat(() => this.deps.store.removeLateRows());
    });
  }

  /** Until nothing is left. */
  private async repeat(piece: () => Promise<number>): Promise<void> {
    while (!this.stopping.signal.aborted && (await piece()) > 0);
  }

  private async remove(month: OldMonth): Promise<boolean> {
    const { store, logger, tryEveryMs = 5_000 } = this.deps;
    const { why, differences } = await store.check(month);
    if (differences.length > 0) {
      logger.error(
        { partition: month.partition, differences },
        'usage rows are kept: their calls and tokens differ from those of the rollups',
      );
      return false;
    }
    let keptFor = why;
    for (let tries = 0; keptFor === null && tries < TRIES && !this.stopping.signal.aborted; tries += 1) {
      if (tries > 0) await wait(tryEveryMs, undefined, { signal: this.stopping.signal }).catch(() => undefined);
      const refused = await store.drop(month);
      if (refused === null) {
        logger.info(
          { partition: month.partition, before: month.to },
          'a month of usage rows was removed; its figures stay',
        );
        return true;
      }
      if (!refused.isBusy || tries === TRIES - 1) keptFor = refused.why;
    }
    logger.info(
      { partition: month.partition, why: keptFor ?? 'the server stops' },
      'a month of usage rows is kept for now and will be checked again in an hour',
    );
    return false;
  }
}
