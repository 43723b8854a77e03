import type { Db, Tx } from '../../database/pool';
import type { Logger } from '../../lib/logger';
import { FALLBACK_PRICES_AS_OF, knownModel } from './fallback-prices';
import { givingWay } from './give-way';
import { missingPrices, ReturningPrices, type NewPrice } from './observed-prices';
import { endOfOpen, inForceAt, pickRecord, possibleRecords } from './price-lookup';
import { notBefore, PriceStore } from './price.store';
import type { ObservedPrice, PriceRecord, PriceSource, RecordToAdd } from './pricing.types';
import { worstRates, type WorstRates } from './worst-rates';
import { isLockTaken } from '../../database/postgres-errors';

/** Models whose prices are appended together: none of their calls is settled until that is committed. */
const MODELS_AT_ONCE = 20;

/**
 * The price book in memory: every record of `model_prices`, found without a query. It is read again at each `record`,
 * so that the records of other replicas arrive with the next refresh of the model list; and whenever a settlement is
 * refused because the book has changed.
 */
export class PriceBook {
  private readonly store: PriceStore;
  private readonly returning = new ReturningPrices();
  private readonly byModel = new Map<string, PriceRecord[]>();
  private lastNumber = 0;
  private lastRecordedMs: number | null = null;
  /**
   * Milliseconds that the database's clock is ahead of ours: a record that it has just written is in force here, too.
   */
  private clockAheadMs = 0;

  constructor(private readonly deps: { db: Db; logger: Logger }) {
    this.store = new PriceStore(deps.db);
  }

  /** The highest number that is known here, in step with what `forCall` answers. */
  get number(): number {
    return this.lastNumber;
  }

  /** Loads the book. */
  async start(): Promise<void> {
    await this.reload();
  }

  /** Reads what was appended since; in a transaction that has locked the book: what there is at all. */
  async reload(tx?: Tx): Promise<void> {
    this.take(await this.store.after(this.lastNumber, tx));
  }

  /** Of one model, by number. */
  recordsOf(model: string): readonly PriceRecord[] {
    return this.byModel.get(model) ?? [];
  }

  /**
   * Appends what the upstream says now, where the book says something else: a price of the upstream as PROXY, one of
   * the shipped table as FALLBACK.
   * What cannot be appended while settlements do not end is left to the next time; it keeps the other models from
   * nothing.
   */
  async record(observed: readonly ObservedPrice[]): Promise<void> {
    await this.reload();
    const missing = this.missing(observed);
    const models = [...new Set(missing.map((price) => price.model))];
    let added = 0;
    for (let from = 0; from < models.length; from += MODELS_AT_ONCE) {
      const some = new Set(models.slice(from, from + MODELS_AT_ONCE));
      const told = observed.filter((price) => some.has(price.model));
      try {
        added += await givingWay(() => this.append(told));
      } catch (error) {
        if (!isLockTaken(error)) throw error;
        this.deps.logger.warn(
          { models: [...some], err: error },
          'prices were not appended: settlements of the models are still running',
        );
      }
      await this.reload();
    }
    if (added > 0) this.deps.logger.info({ prices: added, priceBook: this.lastNumber }, 'price records appended');
  }

  /** Gives how many. */
  private append(observed: readonly ObservedPrice[]): Promise<number> {
    return this.store.transaction(async (tx) => {
      await this.store.lock(tx);
      // Another replica may have appended the same while this one waited.
      await this.reload(tx);
      const missing = this.missing(observed);
      if (missing.length === 0) return 0;
      await this.store.clockPassedLast(tx);
      // From now on: what an upstream charged before, it does not say. Behind the lock no call is settled that is
      // younger.
      const effectiveFrom = new Date(
        await this.store.lockPrices(tx, [...new Set(missing.map((price) => price.model))]),
      );
      const records = missing.map((price): RecordToAdd => {
        const record = { ...price, organizationId: null, serviceTier: null, effectiveFrom };
        return { ...record, effectiveTo: endOfOpen(this.recordsOf(price.model), record) };
      });
      await this.store.append(tx, records);
      return records.length;
    });
  }

  /**
   * The record that prices a call, or null: no price is known. `deployment` as the upstream named it, null where it did
   * not; `serviceTier`
   * null: the provider's usual one. `at`: default now by the database's clock.
   */
  forCall(
    servedModel: string,
    deployment: string | null,
    organizationId: string,
    at?: Date,
    serviceTier: string | null = null,
  ): PriceRecord | null {
    const records = this.byModel.get(servedModel);
    return records
      ? pickRecord(records, { deployment, organizationId, serviceTier }, at?.getTime() ?? this.nowMs())
      : null;
  }

  /**
   * The most that a call can cost per token, component by component, whichever deployment serves and whatever the proxy
   * falls back to.
   * `models`: the one that is asked for, then its fallbacks; `promptTokens`: an upper bound of the prompt. null: the
   * asked model has no price, and unknown is not free. A fallback without a price is counted at the dearest of the
   * others: that it may be dearer still is shown as overage if it ever serves. `at`: default now by the database's
   * clock.
   */
  worstRates(models: readonly string[], organizationId: string, promptTokens: number, at?: Date): WorstRates | null {
    const atMs = at?.getTime() ?? this.nowMs();
    const [asked = [], ...fallbacks] = models.map((model) =>
      possibleRecords(this.byModel.get(model) ?? [], organizationId, atMs),
    );
    if (asked.length === 0) return null;
    return worstRates(
      [asked, ...fallbacks].flat().map((record) => record.rates),
      promptTokens,
    );
  }

  /** What a model costs this organisation now; where its deployments differ, the dearest one's record. */
  current(model: string, organizationId: string): PriceRecord | null {
    return this.forCall(model, null, organizationId);
  }

  /** All records in force at a time (default now), by model, as the book stood at another (default: as it is). */
  inForce(at: Date | null, model: string | null, asOf: Date | null = null): PriceRecord[] {
    const models = model === null ? [...this.byModel.keys()].sort() : [model];
    const atMs = at?.getTime() ?? this.nowMs();
    return models.flatMap((id) => inForceAt(this.byModel.get(id) ?? [], atMs, asOf?.getTime() ?? Infinity));
  }

  private missing(observed: readonly ObservedPrice[]): NewPrice[] {
    const byModel = new Map<string, ObservedPrice[]>();
    // As of when it would be recorded.
    const beginsMs = notBefore(this.nowMs(), this.lastRecordedMs);
    for (const price of observed) byModel.set(price.model, [...(byModel.get(price.model) ?? []), price]);
    return [...byModel].flatMap(([model, prices]) => {
      const records = this.recordsOf(model);
      const of = (source: PriceSource, told: ObservedPrice[], note: string | null): readonly NewPrice[] =>
        this.returning.due(missingPrices(records, told, source, beginsMs, note), records, told, source, beginsMs);
      const unpriced = prices
        .filter((price) => price.rates === null)
        .map((price) => ({ ...price, rates: knownModel(price.knownAs)?.rates ?? null }));
      return [...of('PROXY', prices, null), ...of('FALLBACK', unpriced, `list price of ${FALLBACK_PRICES_AS_OF}`)];
    });
  }

  private take({ records, nowMs }: { records: PriceRecord[]; nowMs: number }): void {
    this.clockAheadMs = nowMs - Date.now();
    for (const record of records) {
      // Two reads at the same time bring the same records.
      if (record.number <= this.lastNumber) continue;
      this.lastNumber = record.number;
      this.lastRecordedMs = record.recordedAt.getTime();
      const known = this.byModel.get(record.model);
      if (known) known.push(record);
      else this.byModel.set(record.model, [record]);
    }
  }

  private nowMs(): number {
    return Date.now() + this.clockAheadMs;
  }
}
