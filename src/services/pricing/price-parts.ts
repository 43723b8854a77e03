import { AreaBook, nameSet, OTHERS, ownRecords, type Areas, type NameSet } from './price-areas';
import { possibleRecords } from './price-lookup';
import { holdings, overlaid, type Holding } from './price-spans';
import type { PriceRecord } from './pricing.types';

/**
 * Calls that a new record is in force for, and the one that was before: those made from `startsAtMs` until before
 * `endsAtMs` (milliseconds since
 * 1970; Infinity: no end) by these organisations, at these deployments and service tiers ('': not known, and the usual
 * one).
 */
export interface PricePart {
  startsAtMs: number;
  endsAtMs: number;
  organizations: NameSet;
  deployments: NameSet;
  serviceTiers: NameSet;
  /** Number of the record that was in force before; null: none was. */
  previous: number | null;
}

interface Span {
  startsAtMs: number;
  endsAtMs: number;
  areas: Areas;
}

/**
 * What a new record changes, as parts that exclude each other. `records`: those of its model with lower numbers.
 * Nothing is said here about which record goes before which: each class of calls that no record tells apart is asked
 * for with `pickRecord`, before and after.
 *
 * That no call is left out needs a record of the alias, as operators write: those of deployments can take a price away
 * from other deployments.
 */
export function priceParts(records: readonly PriceRecord[], added: PriceRecord): PricePart[] {
  const steps = partsInSteps(records, added);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Milliseconds after which others have their turn. */
const TURN_MS = 15;

/** The same; a book of which hundreds of organisations have their own prices keeps nobody else waiting. */
export async function pricePartsInTurns(records: readonly PriceRecord[], added: PriceRecord): Promise<PricePart[]> {
  const steps = partsInSteps(records, added);
  for (let turnAt = performance.now(); ;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - turnAt < TURN_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    turnAt = performance.now();
  }
}

/**
 * The general records are gone through once, and what is said of organisations without own records is said of all of
 * them together; only where own records hold it is asked for again. Stops after each piece of work.
 */
function* partsInSteps(records: readonly PriceRecord[], added: PriceRecord): Generator<void, PricePart[]> {
  const from = added.effectiveFrom.getTime();
  const to = added.effectiveTo?.getTime() ?? Infinity;
  const near = records.filter(
    (record) => record.effectiveFrom.getTime() < to && (record.effectiveTo?.getTime() ?? Infinity) > from,
  );
  const own = new Map<string, PriceRecord[]>();
  for (const record of near)
    if (record.organizationId !== null)
      own.set(record.organizationId, [...(own.get(record.organizationId) ?? []), record]);
  const classes = added.organizationId === null ? [OTHERS, ...[...own.keys()].sort()] : [added.organizationId];

  const general: Holding[] = [];
  for (const holding of holdings(
    near.filter((record) => record.organizationId === null),
    from,
    to,
  )) {
    // What no call can be priced with decides nothing: of a price that changes every day there is one, not one for each
    // day.
    general.push({ ...holding, records: possibleRecords(holding.records, null, holding.startsAtMs) });
    yield;
  }
  const book = new AreaBook(added);
  // Organisations of which the same is to be said.
  const alike = new Map<string, { span: Span; organizations: string[] }>();
  for (const organization of classes) {
    for (const span of spansOf(general, [...holdings(own.get(organization) ?? [], from, to)], organization, book)) {
      const key = `${span.startsAtMs} ${span.endsAtMs} ${span.areas.id}`;
      const group = alike.get(key);
      if (group) group.organizations.push(organization);
      else alike.set(key, { span, organizations: [organization] });
    }
    yield;
  }
  const parts: PricePart[] = [];
  for (const {
    span: { startsAtMs, endsAtMs, areas },
    organizations,
  } of alike.values()) {
    const names = nameSet(organizations, classes);
    for (const area of areas.list) parts.push({ startsAtMs, endsAtMs, organizations: names, ...area });
    yield;
  }
  return parts.sort((a, b) => a.startsAtMs - b.startsAtMs);
}

/** Of one organisation, in time order; neighbours that say the same are one. */
function spansOf(general: readonly Holding[], own: readonly Holding[], organization: string, book: AreaBook): Span[] {
  const spans: Span[] = [];
  const theirs = new Map(own.map(({ records }) => [records, ownRecords(records)]));
  for (const { startsAtMs, endsAtMs, below, above } of overlaid(general, own)) {
    const areas = book.areas(below, theirs.get(above)!, organization, startsAtMs);
    const last = spans.at(-1);
    if (last && last.areas === areas) last.endsAtMs = endsAtMs;
    else spans.push({ startsAtMs, endsAtMs, areas });
  }
  return spans.filter(({ areas }) => areas.list.length > 0);
}
