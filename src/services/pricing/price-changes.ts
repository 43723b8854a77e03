import { AppError, badInput } from '../../errors';
import type { Logger } from '../../lib/logger';
import { givingWay } from './give-way';
import type { PriceBook } from './price-book';
import { totalImpact, type ImpactRow } from './price-impact';
import type { PriceImpactStore, Time } from './price-impact.store';
import { endOfOpen } from './price-lookup';
import { pricePartsInTurns, type PricePart } from './price-parts';
import { changeParts, type PriceStore } from './price.store';
import type { PriceChangeResult, PriceRecord, RecordToAdd } from './pricing.types';
import { codeOf, isLockTaken, SQLSTATE } from '../../database/postgres-errors';
import { retry } from '../../lib/retry';

export interface PriceChangesDeps {
  book: Pick<PriceBook, 'reload' | 'recordsOf'>;
  store: PriceStore;
  impact: PriceImpactStore;
  logger: Logger;
}

/**
 * A record as it would be in the book as it is, and the calls that it would be in force for. `newest`: the last record
 * of its model that this is true of.
 */
interface Plan {
  record: RecordToAdd;
  parts: PricePart[];
  newest: number;
}
interface Committed {
  price: PriceRecord;
  parts: PricePart[];
}

/**
 * A book that changes while it is gone through is gone through again: so many times in all, and then under its lock.
 */
const PLANS = 3;
/** A sum that fails, as while Postgres restarts, is tried again: what it is about has been recorded. */
const SUM_AGAIN_AFTER_MS = [500, 2_000, 5_000];
/** Months that are summed up side by side: more connections would take the processors of those who settle. */
const SUMS_AT_ONCE = 2;
/** Milliseconds between two log lines that say how far a sum is. */
const REPORT_EVERY_MS = 5_000;
/** Of a step that Postgres gives up, half is tried, but not less than this. */
const SHORTEST_STEP_MS = 3_600_000;
/** Number of a record that has none yet: later knowledge than all others. */
const NEXT = Number.MAX_SAFE_INTEGER;

/**
 * Appends records that may be in force for calls which have been settled. The record and the parts of its change are
 * written in one short transaction, and from its commit on every report is by the new book, whole. What it changed is
 * summed up behind that, for the answer: calls that it concerns have all been settled by then, and the sum is exact.
 * The differences are folded into the cubes by others.
 */
export class PriceChanges {
  constructor(private readonly deps: PriceChangesDeps) {}

  /** What would change. Nobody ever sees the record. Throws BAD_USER_INPUT. */
  async dryRun(given: RecordToAdd): Promise<PriceChangeResult> {
    const { book, store, impact } = this.deps;
    this.requireKept(given, await store.droppedBeforeMs());
    await book.reload();
    const { record, parts } = await this.planOf(given);
    const nowMs = await store.nowMs();
    const past = partsUntil(parts, nowMs);
    const rows = await this.sum(past, 'price change previewed', (time) => impact.preview(record, past, time));
    return { price: { ...record, number: NEXT, recordedAt: new Date(nowMs) }, dryRun: true, ...totalImpact(rows) };
  }

  /** Throws BAD_USER_INPUT and SERVICE_UNAVAILABLE; nothing is recorded then, unless the text says so. */
  async apply(given: RecordToAdd): Promise<PriceChangeResult> {
    const { impact, book } = this.deps;
    const { price, parts } = await this.commit(given);
    try {
      await book.reload();
      const rows = await this.sum(parts, 'price change summed up', (time) => again(() => impact.recorded(price, time)));
      return { price, dryRun: false, ...totalImpact(rows) };
    } catch (cause) {
      throw new AppError('SERVICE_UNAVAILABLE', {
        public: `The price is recorded, as number ${price.number} of the book. What it changed could not be summed up now.`,
        cause,
      });
    }
  }

  private async planOf(given: RecordToAdd): Promise<Plan> {
    // The book goes on meanwhile.
    const records = [...this.deps.book.recordsOf(given.model)];
    const record = { ...given, effectiveTo: given.effectiveTo ?? endOfOpen(records, given) };
    return {
      record,
      parts: await pricePartsInTurns(records, { ...record, number: NEXT, recordedAt: new Date(0) }),
      newest: this.newestOf(given.model),
    };
  }

  private newestOf(model: string): number {
    return this.deps.book.recordsOf(model).at(-1)?.number ?? 0;
  }

  private async commit(given: RecordToAdd): Promise<Committed> {
    await this.deps.book.reload();
    let plan = await this.planOf(given);
    for (let plans = 1; ; plans += 1) {
      const committed = await this.commitPlan(given, plan, plans < PLANS);
      if (committed) return committed;
      plan = await this.planOf(given);
    }
  }

  /** null: the book is not the one that was planned with, and there is another try. */
  private async commitPlan(given: RecordToAdd, planned: Plan, mayPlanAgain: boolean): Promise<Committed | null> {
    const { store, book } = this.deps;
    const work = (): Promise<Committed | null> =>
      store.transaction(async (tx) => {
        await store.lock(tx);
        this.requireKept(given, await store.droppedBeforeMs(tx));
        // The book as it is now, and stays until the commit.
        await book.reload(tx);
        const isAsPlanned = this.newestOf(given.model) === planned.newest;
        if (!isAsPlanned && mayPlanAgain) return null;
        const { record, parts } = isAsPlanned ? planned : await this.planOf(given);
        await store.clockPassedLast(tx);
        const expected = partsUntil(parts, await store.nowMs(tx));
        const written = changeParts(expected);
        const nowMs = await store.lockPrices(tx, [given.model]);
        const [numbered] = await store.append(tx, [record]);
        const past = partsUntil(parts, nowMs);
        if (past.length > 0)
          await store.change(
            tx,
            String(numbered!.number),
            past.length === expected.length ? written : changeParts(past),
          );
        return { price: { ...record, ...numbered! }, parts: past };
      });
    try {
      return await givingWay(work);
    } catch (error) {
      if (!isLockTaken(error)) throw error;
      throw new AppError('SERVICE_UNAVAILABLE', { internal: 'settlements of the model do not end', cause: error });
    }
  }

  /**
   * Month by month, two at a time, and in smaller steps where Postgres gives one up: every statement ends in bounded
   * time, however many calls there are.
   */
  private async sum(
    parts: readonly PricePart[],
    what: string,
    ofTime: (time: Time) => Promise<ImpactRow[]>,
  ): Promise<ImpactRow[]> {
    if (parts.length === 0) return [];
    const months = await this.deps.impact.months(
      Math.min(...parts.map((part) => part.startsAtMs)),
      Math.max(...parts.map((part) => part.endsAtMs)),
    );
    const waiting = [...months];
    const rows: ImpactRow[] = [];
    let reportedAt = performance.now();
    const sumMonths = async (): Promise<void> => {
      for (let month = waiting.shift(); month; month = waiting.shift()) {
        rows.push(...(await sumInSteps(month, ofTime)));
        if (performance.now() - reportedAt < REPORT_EVERY_MS) continue;
        reportedAt = performance.now();
        this.deps.logger.info({ months: months.length - waiting.length, of: months.length }, what);
      }
    };
    try {
      await Promise.all(Array.from({ length: SUMS_AT_ONCE }, sumMonths));
      return rows;
    } finally {
      // Where one has failed, the other begins no more.
      waiting.length = 0;
    }
  }

  private requireKept(record: RecordToAdd, droppedBeforeMs: number): void {
    if (record.effectiveFrom.getTime() >= droppedBeforeMs) return;
    const kept = new Date(droppedBeforeMs).toISOString();
    throw badInput(
      'effectiveFrom',
      `reaches before ${kept}: single calls of that time were removed, and what they would cost cannot be known any more. Let the price begin at ${kept} or later`,
    );
  }
}

async function sumInSteps({ fromMs, toMs }: Time, ofTime: (time: Time) => Promise<ImpactRow[]>): Promise<ImpactRow[]> {
  const rows: ImpactRow[] = [];
  let stepMs = Infinity;
  for (let atMs = fromMs; atMs < toMs;) {
    const time = { fromMs: atMs, toMs: Math.min(atMs + stepMs, toMs) };
    try {
      rows.push(...(await ofTime(time)));
      atMs = time.toMs;
    } catch (error) {
      if (!isTooLong(error)) throw error;
      stepMs = Math.floor((time.toMs - time.fromMs) / 2);
      if (stepMs < SHORTEST_STEP_MS)
        throw new AppError('SERVICE_UNAVAILABLE', {
          internal: 'the calls of two hours cannot be summed up in time',
          cause: error,
        });
    }
  }
  return rows;
}

/** Later calls are priced with the record, and have no difference. */
const partsUntil = (parts: readonly PricePart[], nowMs: number): PricePart[] =>
  parts.filter((part) => part.startsAtMs <= nowMs);

const isTooLong = (error: unknown): boolean => codeOf(error) === SQLSTATE.statementTimeout;

/** As much again would take as long again: a statement that took too long is not repeated. */
const again = <T>(work: () => Promise<T>): Promise<T> =>
  retry(work, { waitsMs: SUM_AGAIN_AFTER_MS, when: (error) => !isTooLong(error) });
