import { AppError, badInput } from '../../errors';
import type { Logger } from '../../lib/logger';
import type { PriceBook } from './price-book';
import { totalImpact, type ImpactRow } from './price-impact';
import type { PriceImpactStore } from './price-impact.store';
import { endOfOpen } from './price-lookup';
import { priceParts, type PricePart } from './price-parts';
import { LOCK_NOT_AVAILABLE, type PriceStore } from './price.store';
import type { PriceChangeResult, PriceRecord, RecordToAdd } from './pricing.types';

export interface PriceChangesDeps {
  book: Pick<PriceBook, 'reload' | 'recordsOf'>;
  store: PriceStore;
  impact: PriceImpactStore;
  logger: Logger;
}

/** A record as it would be in the book as it is, and the calls that it would be in force for. */
interface Plan { record: RecordToAdd; parts: PricePart[] }

/** A settlement that takes long keeps a change from its lock, and the change keeps others from settling meanwhile: it gives way, and tries again. */
const TRIES = 5;
const GIVE_WAY_MS = 200;
/** A sum that fails, as while Postgres restarts, is tried again: what it is about has been recorded. */
const SUM_AGAIN_AFTER_MS = [500, 2_000, 5_000];
/** Milliseconds between two log lines that say how far a sum is. */
const REPORT_EVERY_MS = 5_000;
/** Number of a record that has none yet: later knowledge than all others. */
const NEXT = Number.MAX_SAFE_INTEGER;

/**
 * Appends records that may be in force for calls which have been settled. The record and the parts of its change are written in one short
 * transaction, and from its commit on every report is by the new book, whole. What it changed is summed up behind that, for the answer: calls that
 * it concerns have all been settled by then, and the sum is exact. The differences are folded into the cubes by others.
 */
export class PriceChanges {
  constructor(private readonly deps: PriceChangesDeps) {}

  /** What would change. Nobody ever sees the record. Throws BAD_USER_INPUT. */
  async dryRun(given: RecordToAdd): Promise<PriceChangeResult> {
    const { book, store, impact } = this.deps;
    this.requireKept(given, await store.droppedBeforeMs());
    await book.reload();
    const { record, parts } = this.planOf(given);
    const nowMs = await store.nowMs();
    const past = partsUntil(parts, nowMs);
    const rows = await this.sum(past, 'price change previewed', (month) => impact.preview(record, past, month));
    return { price: { ...record, number: NEXT, recordedAt: new Date(nowMs) }, dryRun: true, ...totalImpact(rows) };
  }

  /** Throws BAD_USER_INPUT and SERVICE_UNAVAILABLE; nothing is recorded then, unless the text says so. */
  async apply(given: RecordToAdd): Promise<PriceChangeResult> {
    const { impact, book } = this.deps;
    const { price, parts } = await this.commit(given);
    try {
      await book.reload();
      const rows = await this.sum(parts, 'price change summed up', (month) => again(() => impact.recorded(price, month)));
      return { price, dryRun: false, ...totalImpact(rows) };
    } catch (cause) {
      throw new AppError('SERVICE_UNAVAILABLE', { public: `The price is recorded, as number ${price.number} of the book. What it changed could not be summed up now.`, cause });
    }
  }

  private planOf(given: RecordToAdd): Plan {
    const records = this.deps.book.recordsOf(given.model);
    const record = { ...given, effectiveTo: given.effectiveTo ?? endOfOpen(records, given) };
    return { record, parts: priceParts(records, { ...record, number: NEXT, recordedAt: new Date(0) }) };
  }

  private async commit(given: RecordToAdd): Promise<{ price: PriceRecord; parts: PricePart[] }> {
    const { store, book } = this.deps;
    for (let tries = 1; ; tries += 1) {
      try {
        return await store.transaction(async (tx) => {
          await store.lock(tx);
          this.requireKept(given, await store.droppedBeforeMs(tx));
          await book.reload(tx);
          // By the book as it is now, and stays until the commit.
          const plan = this.planOf(given);
          const nowMs = await store.lockPrices(tx, [given.model]);
          const [numbered] = await store.append(tx, [plan.record]);
          const parts = partsUntil(plan.parts, nowMs);
          if (parts.length > 0) await store.change(tx, String(numbered!.number), parts);
          return { price: { ...plan.record, ...numbered! }, parts };
        });
      } catch (error) {
        if ((error as { code?: unknown }).code !== LOCK_NOT_AVAILABLE) throw error;
        if (tries === TRIES) throw new AppError('SERVICE_UNAVAILABLE', { internal: 'settlements of the model do not end', cause: error });
        await wait(GIVE_WAY_MS * tries);
      }
    }
  }

  /** Month by month: every statement ends in bounded time, however many calls there are. */
  private async sum(parts: readonly PricePart[], what: string, ofMonth: (month: string) => Promise<ImpactRow[]>): Promise<ImpactRow[]> {
    if (parts.length === 0) return [];
    const months = await this.deps.impact.months(Math.min(...parts.map((part) => part.startsAtMs)), Math.max(...parts.map((part) => part.endsAtMs)));
    const rows: ImpactRow[] = [];
    let reportedAt = performance.now();
    for (const [done, month] of months.entries()) {
      rows.push(...(await ofMonth(month)));
      if (performance.now() - reportedAt < REPORT_EVERY_MS) continue;
      reportedAt = performance.now();
      this.deps.logger.info({ months: done + 1, of: months.length }, what);
    }
    return rows;
  }

  private requireKept(record: RecordToAdd, droppedBeforeMs: number): void {
    if (record.effectiveFrom.getTime() >= droppedBeforeMs) return;
    const kept = new Date(droppedBeforeMs).toISOString();
    throw badInput('input.effectiveFrom', `reaches before ${kept}: single calls of that time were removed, and what they would cost cannot be known any more. Let the price begin at ${kept} or later`);
  }
}

/** Later calls are priced with the record, and have no difference. */
const partsUntil = (parts: readonly PricePart[], nowMs: number): PricePart[] => parts.filter((part) => part.startsAtMs <= nowMs);

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function again<T>(work: () => Promise<T>): Promise<T> {
  for (const ms of SUM_AGAIN_AFTER_MS) {
    try {
      return await work();
    } catch {
      await wait(ms);
    }
  }
  return work();
}
