import type { Logger } from '../../lib/logger';
import { BackgroundLoop } from '../../lib/background-loop';
import type { PriceFolderStore } from './price-folder.store';

export interface PriceFolderDeps {
  store: Pick<PriceFolderStore, 'next' | 'fold'>;
  logger: Logger;
  /** Milliseconds between two looks for price changes. Default 1 s. */
  everyMs?: number;
}

const DAY_MS = 86_400_000;
/**
 * Milliseconds of calls in the first slice; the next ones are as long as they can be without taking longer than a slice
 * should.
 */
const FIRST_SLICE_MS = DAY_MS;
const SHORTEST_SLICE_MS = 60_000;
const LONGEST_SLICE_MS = 31 * DAY_MS;
/** A slice that takes less is followed by a longer one, one that takes more by a shorter one. Milliseconds of work. */
const QUICK_MS = 500;
const SLOW_MS = 2_000;
const TELL_EVERY_MS = 5_000;

/**
 * Brings the differences of price changes into the cubes, oldest change and oldest calls first. Until it has, reports
 * compute them from the rows: a change is in every answer from its commit on. In slices, so that what an interruption
 * takes back is little. It has no part in the folding of settled calls, and does not hold it up.
 */
export class PriceFolder {
  private readonly loop: BackgroundLoop;
  private sliceMs = FIRST_SLICE_MS;
  private toldAtMs = -Infinity;

  constructor(private readonly deps: PriceFolderDeps) {
    this.loop = new BackgroundLoop({
      what: 'folding price changes',
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
    const { store, logger } = this.deps;
    const slice = await store.next(this.sliceMs);
    if (!slice) return false;
    const startedAt = performance.now();
    try {
      if (!(await store.fold(slice))) return false;
    } catch (error) {
      // Perhaps it was too much at once.
      this.shorten();
      throw error;
    }
    const tookMs = performance.now() - startedAt;
    if (tookMs < QUICK_MS) this.sliceMs = Math.min(this.sliceMs * 2, LONGEST_SLICE_MS);
    else if (tookMs > SLOW_MS) this.shorten();
    if (slice.isLast) logger.info({ book: slice.book }, 'a price change has been folded into the rollups');
    else if (performance.now() - this.toldAtMs > TELL_EVERY_MS) {
      logger.info({ book: slice.book, upTo: slice.upTo }, 'a price change is being folded into the rollups');
      this.toldAtMs = performance.now();
    }
    return true;
  }

  private shorten(): void {
    this.sliceMs = Math.max(Math.floor(this.sliceMs / 2), SHORTEST_SLICE_MS);
  }
}
