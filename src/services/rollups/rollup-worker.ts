import type { Db } from '../../database/pool';
import type { Logger } from '../../lib/logger';
import { RollupLagStore } from './rollup-lag.store';
import { cubesStatus } from './rollup-status';
import { Folder } from './folder';
import { FolderStore } from './folder.store';
import { PriceFolder } from './price-folder';
import { PriceFolderStore } from './price-folder.store';
import { Retention } from './retention';
import { RetentionStore } from './retention.store';
import type { ComponentState } from '../../domain/status';
import { inTime } from '../../lib/timeout';

export interface RollupWorkerDeps {
  databaseUrl: string;
  db: Db;
  /** Whole months of usage rows that are kept beside the current one; null: all. */
  retentionMonths: number | null;
  logger: Logger;
}

/** Milliseconds for what runs to come to its end, before its connection is taken away. */
const STOP_MS = 1_000;

/** What is done to the figures behind the writing of calls. */
export class RollupWorker {
  private readonly stores: { close(): void }[];
  private readonly parts: { start(): void; stop(): Promise<void> }[];
  private readonly lag: RollupLagStore;

  constructor({ databaseUrl, db, retentionMonths, logger }: RollupWorkerDeps) {
    const folder = new FolderStore(databaseUrl);
    const prices = new PriceFolderStore(databaseUrl);
    const retention = new RetentionStore(databaseUrl);
    this.lag = new RollupLagStore(db);
    this.stores = [folder, prices, retention];
    this.parts = [
      new Folder({ store: folder, logger }),
      new PriceFolder({ store: prices, logger }),
      new Retention({ store: retention, months: retentionMonths, logger }),
    ];
  }

  start(): void {
    for (const part of this.parts) part.start();
  }

  /**
   * Within a second and a half. What is cut short is carried out wholly or not at all, and done again by whoever comes
   * next.
   */
  async stop(): Promise<void> {
    const ended = Promise.all(this.parts.map((part) => part.stop()));
    await inTime(ended, STOP_MS);
    for (const store of this.stores) store.close();
    await ended;
  }

  /** Age of the oldest settled call that is not folded; 0: there is none. Of all processes. Seconds. */
  async lagSeconds(): Promise<number> {
    return (await this.lag.lag(Infinity)).behindSeconds;
  }

  /** For `service`: of all processes, since the tables are asked. */
  cubesStatus(): Promise<{ state: ComponentState; detail: string | null }> {
    return cubesStatus(this.lag);
  }
}
