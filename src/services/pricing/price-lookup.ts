import { ratesKey } from './canonical-rates';
import { Decimal } from '../../lib/decimal';
import type { ObservedPrice, PriceRecord, PriceSource, Rates } from './pricing.types';

/** What is still missing in the book. */
export interface NewPrice { model: string; deployment: string | null; source: PriceSource; rates: Rates; note: string | null }

const SOURCES: readonly PriceSource[] = ['ADMIN', 'PROXY', 'FALLBACK'];

/**
 * The record that prices a call: the organisation's own before the general one; there ADMIN before PROXY before FALLBACK; there the latest
 * that is in force at `atMs` (milliseconds since 1970). `records` are all of one model.
 */
export function pickRecord(records: readonly PriceRecord[], deployment: string | null, organizationId: string | null, atMs: number): PriceRecord | null {
  for (const owner of organizationId === null ? [null] : [organizationId, null]) {
    for (const source of SOURCES) {
      const found = pickFrom(records.filter((record) => record.organizationId === owner && record.source === source && record.serviceTier === null), deployment, atMs);
      if (found) return found;
    }
  }
  return null;
}

/**
 * Every record that `pickRecord` can answer with, whichever deployment serves: a call that has not been made yet may be priced by any of
 * them. Empty: no price is known.
 */
export function possibleRecords(records: readonly PriceRecord[], organizationId: string | null, atMs: number): PriceRecord[] {
  const found: PriceRecord[] = [];
  const taken = new Set<string | null>();
  for (const owner of organizationId === null ? [null] : [organizationId, null]) {
    for (const source of SOURCES) {
      const { alias, newer } = inRegime(records.filter((record) => record.organizationId === owner && record.source === source && record.serviceTier === null), atMs);
      if (newer.length === 0 && alias) return [...found, alias];
      // A deployment that is not among these is priced further down.
      for (const record of newer) if (!taken.has(record.deployment)) found.push(record);
      for (const record of newer) taken.add(record.deployment);
    }
  }
  return found;
}

/**
 * Among the records of one model, owner and source. An alias record and deployment records end each other: whichever regime began last
 * holds. Where deployments are priced one by one, one without a record has no price; a call whose deployment is not known is priced by
 * the dearest of them, so that a budget is never told too little.
 */
function pickFrom(records: readonly PriceRecord[], deployment: string | null, atMs: number): PriceRecord | null {
  const { alias, newer } = inRegime(records, atMs);
  if (newer.length === 0) return alias;
  if (deployment !== null) return newer.find((record) => record.deployment === deployment) ?? null;
  return newer.reduce((dearest, record) => (isDearer(record, dearest) ? record : dearest));
}

/** The latest record of the alias, and those of deployments that began after it. */
function inRegime(records: readonly PriceRecord[], atMs: number): { alias: PriceRecord | null; newer: PriceRecord[] } {
  let alias: PriceRecord | null = null;
  const own = new Map<string, PriceRecord>();
  for (const record of records) {
    if (!holdsAt(record, atMs)) continue;
    if (record.deployment === null) {
      if (!alias || isLater(record, alias)) alias = record;
    } else {
      const before = own.get(record.deployment);
      if (!before || isLater(record, before)) own.set(record.deployment, record);
    }
  }
  return { alias, newer: [...own.values()].filter((record) => !alias || isLater(record, alias)) };
}

/** The records that are in force at a time, each with the moment at which another one ends it. */
export function inForceAt(records: readonly PriceRecord[], atMs: number): PriceRecord[] {
  const found: PriceRecord[] = [];
  for (const record of records) {
    if (!holdsAt(record, atMs)) continue;
    const followers = records.filter((other) => follows(other, record) && isLater(other, record));
    // A later record that has begun ends this one, unless it has itself ended again.
    if (followers.some((other) => holdsAt(other, atMs))) continue;
    const next = followers.filter((other) => other.effectiveFrom.getTime() > atMs).map((other) => other.effectiveFrom.getTime());
    const ends = [...next, ...(record.effectiveTo ? [record.effectiveTo.getTime()] : [])];
    found.push({ ...record, effectiveTo: ends.length > 0 ? new Date(Math.min(...ends)) : null });
  }
  return found;
}

/**
 * What has to be appended so that the book says what the upstream says now: nothing where it says so already. One record for the alias
 * where all of its deployments agree, else one for each that has a price. `records` and `observed` are all of one model. A price that is
 * not told any more stays as it was: only another price ends one.
 */
export function missingPrices(records: readonly PriceRecord[], observed: readonly ObservedPrice[], source: PriceSource, atMs: number, note: string | null): NewPrice[] {
  const model = observed[0]?.model;
  if (model === undefined) return [];
  const ours = records.filter((record) => record.organizationId === null && record.source === source && record.serviceTier === null);
  const said = (deployment: string | null): PriceRecord | null => pickFrom(ours, deployment, atMs);
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
    return record?.deployment === deployment && ratesKey(record.rates) === ratesKey(value) ? [] : [{ model, deployment, source, rates: value, note }];
  });
}

const holdsAt = (record: PriceRecord, atMs: number): boolean =>
  record.effectiveFrom.getTime() <= atMs && (record.effectiveTo === null || record.effectiveTo.getTime() > atMs);

/** Begins later, or begins with it and was recorded later: a correction. */
const isLater = (a: PriceRecord, b: PriceRecord): boolean =>
  a.effectiveFrom.getTime() !== b.effectiveFrom.getTime() ? a.effectiveFrom.getTime() > b.effectiveFrom.getTime() : a.number > b.number;

const follows = (other: PriceRecord, record: PriceRecord): boolean =>
  other.model === record.model &&
  other.organizationId === record.organizationId &&
  other.source === record.source &&
  other.serviceTier === record.serviceTier &&
  (other.deployment === record.deployment || other.deployment === null || record.deployment === null);

function isDearer(a: PriceRecord, b: PriceRecord): boolean {
  const sum = ({ rates }: PriceRecord): Decimal => Decimal.parse(rates.input).plus(Decimal.parse(rates.output));
  return sum(a).compare(sum(b)) > 0;
}
