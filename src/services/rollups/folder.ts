import type { Logger } from '../../lib/logger';
import { BackgroundLoop } from '../../lib/background-loop';
import type { FolderStore } from './folder.store';

export interface FolderDeps {
  store: Pick<FolderStore, 'fold'>;
  logger: Logger;
  /** Milliseconds between two rounds. Default 1 s. */
  everyMs?: number;
  /** Rows of one transaction. */
  maxRows?: number;
}

/**
 * 10,000 rows take about 0.4 s of one core, where a second's rows of a busy process are done at once. Fewer cost more
 * for each row, since cells are written more often; more gain little, and keep the processor longer from those that
 * settle (measured with 1,000 organisations and 50,000 users).
 */
const MAX_ROWS = 10_000;
const FEWEST_ROWS = 100;

/**
 * Folds what was settled into the cubes, about once a second. Every process may have one: they take turns under a lock,
 * and it is of no importance whose turn it is.
 */
export class Folder {
  private readonly loop: BackgroundLoop;
  private readonly most: number;
  /** Fewer where so many could not be done in time, as on a disk that is slow for a while. */
  private rows: number;

  constructor(private readonly deps: FolderDeps) {
    this.most = deps.maxRows ?? MAX_ROWS;
    this.rows = this.most;
    this.loop = new BackgroundLoop({
      what: 'folding settled calls',
      everyMs: deps.everyMs ?? 1_000,
      work: () => this.round(),
      logger: deps.logger,
    });
  }

  start(): void {
    this.loop.start();
  }

  stop(): Promise<void> {
    return this.loop.stop();
  }

  /** Whether there is more. */
  private async round(): Promise<boolean> {
    const asked = this.rows;
    // What is tried next, if this does not come to its end.
    this.rows = Math.max(Math.min(FEWEST_ROWS, this.most), Math.floor(asked / 2));
    const { rows } = await this.deps.store.fold(asked);
    this.rows = Math.min(this.most, asked * 2);
    return rows >= asked;
  }
}
