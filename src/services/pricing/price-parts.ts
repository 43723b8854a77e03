import { holdsAt, pickRecord } from './price-lookup';
import type { PriceRecord } from './pricing.types';

/** Names, or everything but these. */
export interface NameSet { names: string[]; listed: boolean }

/**
 * Calls that a new record is in force for, and the one that was before: those made from `startsAtMs` until before `endsAtMs` (milliseconds since
 * 1970; Infinity: no end) by these organisations, at these deployments and service tiers ('': not known, and the usual one).
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

/** Stands for every name that no record has. A NUL cannot be in a name. */
const OTHERS = '\0';
/** A deployment that is not known, the usual service tier. */
const NONE = '';
/** The part of a part that does not depend on organisation and time. */
type Area = Pick<PricePart, 'deployments' | 'serviceTiers' | 'previous'>;
interface Span { startsAtMs: number; endsAtMs: number; areas: Area[] }

/**
 * What a new record changes, as parts that exclude each other. `records`: those of its model with lower numbers. Nothing is said here about
 * which record goes before which: each class of calls that no record tells apart is asked for with `pickRecord`, before and after.
 *
 * That no call is left out needs a record of the alias, as operators write: those of deployments can take a price away from other deployments.
 */
export function priceParts(records: readonly PriceRecord[], added: PriceRecord): PricePart[] {
  const from = added.effectiveFrom.getTime();
  const to = added.effectiveTo?.getTime() ?? Infinity;
  const near = records.filter((record) => record.effectiveFrom.getTime() < to && (record.effectiveTo?.getTime() ?? Infinity) > from);
  const owners = new Set(near.map((record) => record.organizationId).filter((id) => id !== null));
  const classes = added.organizationId === null ? [...owners, OTHERS] : [added.organizationId];
  // Organisations of which the same is to be said.
  const alike = new Map<string, { span: Span; organizations: string[] }>();
  for (const organization of classes) {
    const theirs = near.filter((record) => record.organizationId === null || record.organizationId === organization);
    for (const span of spansOf(theirs, added, organization, from, to)) {
      const key = JSON.stringify([span.startsAtMs, String(span.endsAtMs), span.areas]);
      const group = alike.get(key);
      if (group) group.organizations.push(organization);
      else alike.set(key, { span, organizations: [organization] });
    }
  }
  return [...alike.values()]
    .flatMap(({ span: { startsAtMs, endsAtMs, areas }, organizations }) => areas.map((area) => ({ startsAtMs, endsAtMs, organizations: nameSet(organizations, classes), ...area })))
    .sort((a, b) => a.startsAtMs - b.startsAtMs);
}

/** In time order; neighbours that say the same are one. */
function spansOf(records: readonly PriceRecord[], added: PriceRecord, organization: string, from: number, to: number): Span[] {
  const cuts = new Set([from, to]);
  for (const { effectiveFrom, effectiveTo } of records) {
    for (const at of [effectiveFrom.getTime(), effectiveTo?.getTime() ?? Infinity]) if (at > from && at < to) cuts.add(at);
  }
  const times = [...cuts].sort((a, b) => a - b);
  const spans: Span[] = [];
  for (const [i, startsAtMs] of times.slice(0, -1).entries()) {
    const areas = areasOf(records.filter((record) => holdsAt(record, startsAtMs)), added, organization, startsAtMs);
    const last = spans.at(-1);
    if (last && JSON.stringify(last.areas) === JSON.stringify(areas)) last.endsAtMs = times[i + 1]!;
    else spans.push({ startsAtMs, endsAtMs: times[i + 1]!, areas });
  }
  return spans.filter(({ areas }) => areas.length > 0);
}

/** One organisation at one time: service tiers for which the same deployments are concerned in the same way are one area. */
function areasOf(holding: readonly PriceRecord[], added: PriceRecord, organization: string, atMs: number): Area[] {
  const all = [...holding, added];
  const deployments = [...new Set([...all.map((record) => record.deployment ?? NONE), NONE, OTHERS])].sort();
  const serviceTiers = [...new Set([...all.map((record) => record.serviceTier ?? NONE), NONE, OTHERS])].sort();
  const found = new Map<string, { previous: number | null; deployments: string[]; serviceTiers: string[] }>();
  for (const serviceTier of serviceTiers) {
    const concerned = new Map<number | null, string[]>();
    for (const deployment of deployments) {
      const call = { deployment: deployment === NONE ? null : deployment, organizationId: organization, serviceTier: serviceTier === NONE ? null : serviceTier };
      if (pickRecord(all, call, atMs) !== added) continue;
      const previous = pickRecord(holding, call, atMs)?.number ?? null;
      concerned.set(previous, [...(concerned.get(previous) ?? []), deployment]);
    }
    for (const [previous, those] of concerned) {
      const key = JSON.stringify([previous, those]);
      const area = found.get(key);
      if (area) area.serviceTiers.push(serviceTier);
      else found.set(key, { previous, deployments: those, serviceTiers: [serviceTier] });
    }
  }
  return [...found.values()].map((area) => ({ previous: area.previous, deployments: nameSet(area.deployments, deployments), serviceTiers: nameSet(area.serviceTiers, serviceTiers) }));
}

/** Some of all classes: by name, or, where OTHERS is among them, by what is missing. */
function nameSet(some: readonly string[], all: readonly string[]): NameSet {
  const listed = !some.includes(OTHERS);
  return { names: (listed ? [...some] : all.filter((name) => !some.includes(name))).sort(), listed };
}
