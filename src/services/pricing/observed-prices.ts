import { ratesKey } from './canonical-rates';
import { holdsAt, pickFrom } from './price-lookup';
import type { ObservedPrice, PriceRecord, PriceSource, Rates } from './pricing.types';

/** What is still missing in the book. */
export interface NewPrice {
  model: string;
  deployment: string | null;
  source: PriceSource;
  rates: Rates;
  note: string | null;
}

/**
 * What has to be appended so that the book says what the upstream says now: nothing where it says so already. One
 * record for the alias where all of its deployments agree, else one for each that has a price. `records` and `observed`
 * are all of one model. A price that is not told any more stays as it was: only another price ends one.
 */
export function missingPrices(
  records: readonly PriceRecord[],
  observed: readonly ObservedPrice[],
  source: PriceSource,
  atMs: number,
  note: string | null,
): NewPrice[] {
  const model = observed[0]?.model;
  if (model === undefined) return [];
  const holding = records.filter((record) => isOfUpstream(record, source) && holdsAt(record, atMs));
  const said = (deployment: string | null): PriceRecord | null => pickFrom(holding, deployment);
  const rates = new Map(observed.map((price) => [price.deployment, price.rates]));
  const keys = new Set([...rates.values()].map((value) => (value ? ratesKey(value) : null)));
  const [first] = rates.values();
  if (keys.size === 1) {
    if (!first) return [];
    const [key] = keys;
    const agrees = [null, ...rates.keys()].every((deployment) => {
      const record = said(deployment);
      return record !== null && ratesKey(record.rates) === key;
    });
    return agrees ? [] : [{ model, deployment: null, source, rates: first, note }];
  }
  return [...rates].flatMap(([deployment, value]) => {
    if (!value || deployment === null) return [];
    const record = said(deployment);
    // The alias' record is not enough here: it would price the deployments without a price, too.
    return record?.deployment === deployment && ratesKey(record.rates) === ratesKey(value)
      ? []
      : [{ model, deployment, source, rates: value, note }];
  });
}

const isOfUpstream = (record: PriceRecord, source: PriceSource): boolean =>
  record.organizationId === null && record.source === source && record.serviceTier === null;

/** Milliseconds: prices that were in the book within this time count as had lately. */
const LATELY_MS = 24 * 3_600_000;
/**
 * Milliseconds that a price which comes back has to stay, for the first time; twice as long for every further change
 * within LATELY_MS.
 */
const STAYS_MS = 10 * 60_000;

/**
 * Keeps a flapping upstream from adding books without end: two proxies behind one address that disagree, or a restart
 * that forgets a price for a minute. New prices are recorded at once. One that the book had within the last day is
 * recorded only after it was told, unchanged, for ten minutes; each change of the last day doubles that. So nothing is
 * written while prices flap faster, and at most some eight records a day for a model however slowly they do. Until then
 * calls are booked at the price that stands.
 */
export class ReturningPrices {
  private readonly waiting = new Map<string, { told: string; sinceMs: number }>();

  /**
   * Those of `missing` that are to be recorded: all or none. All arguments are of one model and source, as for
   * `missingPrices`.
   */
  due(
    missing: readonly NewPrice[],
    records: readonly PriceRecord[],
    observed: readonly ObservedPrice[],
    source: PriceSource,
    atMs: number,
  ): readonly NewPrice[] {
    const model = observed[0]?.model;
    if (model === undefined) return [];
    const key = JSON.stringify([model, source]);
    const lately = records.filter(
      (record) => isOfUpstream(record, source) && record.recordedAt.getTime() > atMs - LATELY_MS,
    );
    // Before one of these records the book said what is told now.
    const isBack = lately.some((record) => saidBefore(records, record, observed, source));
    if (missing.length === 0 || !isBack) {
      this.waiting.delete(key);
      return missing;
    }
    const told = JSON.stringify(missing.map(({ deployment, rates }) => [deployment, ratesKey(rates)]));
    let since = this.waiting.get(key);
    if (!since || since.told !== told || since.sinceMs > atMs) this.waiting.set(key, (since = { told, sinceMs: atMs }));
    const changes = new Set(lately.map((record) => record.effectiveFrom.getTime())).size;
    return atMs - since.sinceMs >= STAYS_MS * 2 ** (changes - 1) ? missing : [];
  }
}

/** Whether the book as it stood just before this record needed nothing to say what is observed. */
function saidBefore(
  records: readonly PriceRecord[],
  record: PriceRecord,
  observed: readonly ObservedPrice[],
  source: PriceSource,
): boolean {
  const before = records.filter((other) => other.number < record.number);
  const atMs = record.effectiveFrom.getTime();
  return (
    before.some((other) => isOfUpstream(other, source) && holdsAt(other, atMs)) &&
    missingPrices(before, observed, source, atMs, null).length === 0
  );
}
