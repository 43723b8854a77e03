import { Decimal } from '../../lib/decimal';
import type { PriceRecord, PriceSource } from './pricing.types';

/** What decides, beside the time, which record prices a call. */
export interface PricedBy {
  /** As the upstream named it; null: it did not. */
  deployment: string | null;
  /** null: the general records alone. */
  organizationId: string | null;
  /** null: the provider's usual one. */
  serviceTier: string | null;
}

const SOURCES: readonly PriceSource[] = ['ADMIN', 'PROXY', 'FALLBACK'];

/**
 * The record that prices a call: the one place where this is decided. Of the records whose validity contains `atMs`
 * (milliseconds since
 * 1970): the organisation's own before the general ones; there ADMIN before PROXY before FALLBACK; there those of the
 * call's service tier before the usual ones; there as `pickFrom` says. `records` are all of one model.
 */
export function pickRecord(records: readonly PriceRecord[], call: PricedBy, atMs: number): PriceRecord | null {
  const holding = records.filter((record) => holdsAt(record, atMs));
  for (const level of levelsOf(holding, call.organizationId, call.serviceTier)) {
    const found = pickFrom(level, call.deployment);
    if (found) return found;
  }
  return null;
}

/**
 * Every record that `pickRecord` can answer with, whichever deployment serves at whichever service tier: a call that
 * has not been made yet may be priced by any of them. Empty: no price is known.
 */
export function possibleRecords(
  records: readonly PriceRecord[],
  organizationId: string | null,
  atMs: number,
): PriceRecord[] {
  const holding = records.filter((record) => holdsAt(record, atMs));
  const found = new Set<PriceRecord>();
  for (const serviceTier of new Set([null, ...holding.map((record) => record.serviceTier)])) {
    const taken = new Set<string | null>();
    for (const level of levelsOf(holding, organizationId, serviceTier)) {
      const { alias, newer } = inRegime(level);
      if (newer.length === 0 && alias) {
        found.add(alias);
        break;
      }
      // A deployment that is not among these is priced further down.
      for (const record of newer) if (!taken.has(record.deployment)) found.add(record);
      for (const record of newer) taken.add(record.deployment);
    }
  }
  return [...found];
}

/**
 * The records that may price calls of an organisation and service tier, in groups: the first group that has a price for
 * the deployment has it.
 */
function* levelsOf(
  records: readonly PriceRecord[],
  organizationId: string | null,
  serviceTier: string | null,
): Iterable<PriceRecord[]> {
  for (const owner of organizationId === null ? [null] : [organizationId, null]) {
    for (const source of SOURCES) {
      for (const tier of serviceTier === null ? [null] : [serviceTier, null]) {
        yield records.filter(
          (record) => record.organizationId === owner && record.source === source && record.serviceTier === tier,
        );
      }
    }
  }
}

/**
 * Among records of one owner, source and service tier that hold at one time. An alias record and deployment records end
 * each other: the higher number. Where deployments are priced one by one, one without a record has no price; a call
 * whose deployment is not known is priced by the dearest of them, so that a budget is never told too little.
 */
export function pickFrom(holding: readonly PriceRecord[], deployment: string | null): PriceRecord | null {
  const { alias, newer } = inRegime(holding);
  if (newer.length === 0) return alias;
  if (deployment !== null) return newer.find((record) => record.deployment === deployment) ?? null;
  return newer.reduce((dearest, record) => (isDearer(record, dearest) ? record : dearest));
}

/** The latest record of the alias, and those of deployments that are later. */
function inRegime(holding: readonly PriceRecord[]): { alias: PriceRecord | null; newer: PriceRecord[] } {
  let alias: PriceRecord | null = null;
  const own = new Map<string, PriceRecord>();
  for (const record of holding) {
    if (record.deployment === null) {
      if (!alias || isLater(record, alias)) alias = record;
    } else {
      const before = own.get(record.deployment);
      if (!before || isLater(record, before)) own.set(record.deployment, record);
    }
  }
  return { alias, newer: [...own.values()].filter((record) => !alias || isLater(record, alias)) };
}

/**
 * The records that are in force at a time, by the book as it stood at `asOfMs` (Infinity: as it is), each with the
 * moment at which another one ends it. One that others go before for some calls is among them: those of other owners,
 * sources and service tiers do not end it.
 */
export function inForceAt(all: readonly PriceRecord[], atMs: number, asOfMs: number): PriceRecord[] {
  const records = all.filter((record) => record.recordedAt.getTime() <= asOfMs);
  const found: PriceRecord[] = [];
  for (const record of records) {
    if (!holdsAt(record, atMs)) continue;
    const followers = records.filter((other) => follows(other, record) && isLater(other, record));
    // A later record that has begun ends this one, unless it has itself ended again.
    if (followers.some((other) => holdsAt(other, atMs))) continue;
    const next = followers
      .filter((other) => other.effectiveFrom.getTime() > atMs)
      .map((other) => other.effectiveFrom.getTime());
    const ends = [...next, ...(record.effectiveTo ? [record.effectiveTo.getTime()] : [])];
    found.push({ ...record, effectiveTo: ends.length > 0 ? new Date(Math.min(...ends)) : null });
  }
  return found;
}

/**
 * Where a record ends that was recorded without an end: at the beginning of the next one of the same model,
 * organisation, source, service tier and deployment, as the book is when it is recorded. So a price for last week
 * leaves this week's as it is. null:
 * nothing follows.
 */
export function endOfOpen(
  records: readonly PriceRecord[],
  record: Omit<PriceRecord, 'number' | 'recordedAt' | 'effectiveTo'>,
): Date | null {
  const begins = records
    .filter(
      (other) =>
        sameSeries(other, record) &&
        other.deployment === record.deployment &&
        other.effectiveFrom.getTime() > record.effectiveFrom.getTime(),
    )
    .map((other) => other.effectiveFrom.getTime());
  return begins.length > 0 ? new Date(Math.min(...begins)) : null;
}

export const holdsAt = (record: PriceRecord, atMs: number): boolean =>
  record.effectiveFrom.getTime() <= atMs && (record.effectiveTo === null || record.effectiveTo.getTime() > atMs);

/** Later knowledge, whenever it begins: a correction of the past goes before what was known then. */
const isLater = (a: PriceRecord, b: PriceRecord): boolean => a.number > b.number;

type Series = Pick<PriceRecord, 'model' | 'organizationId' | 'source' | 'serviceTier'>;
const sameSeries = (a: Series, b: Series): boolean =>
  a.model === b.model &&
  a.organizationId === b.organizationId &&
  a.source === b.source &&
  a.serviceTier === b.serviceTier;

const follows = (other: PriceRecord, record: PriceRecord): boolean =>
  sameSeries(other, record) &&
  (other.deployment === record.deployment || other.deployment === null || record.deployment === null);

function isDearer(a: PriceRecord, b: PriceRecord): boolean {
  const sum = ({ rates }: PriceRecord): Decimal => Decimal.parse(rates.input).plus(Decimal.parse(rates.output));
  return sum(a).compare(sum(b)) > 0;
}
