import { pickRecord } from './price-lookup';
import type { PriceRecord } from './pricing.types';

/** Names, or everything but these. */
export interface NameSet {
  names: string[];
  listed: boolean;
}

/**
 * Which calls of one organisation at one time a new record is in force for, and the number of the record that was
 * before; null: none was.
 */
export interface Area {
  deployments: NameSet;
  serviceTiers: NameSet;
  previous: number | null;
}

/** One object for all lists that are equal: compared as such. */
export interface Areas {
  id: number;
  list: readonly Area[];
}

/** Stands for every name that no record has. A NUL cannot be in a name. */
export const OTHERS = '\0';
/** A deployment that is not known, the usual service tier. */
const NONE = '';

/**
 * Own records of an organisation that hold together, by number, and what tells them from those of others beside their
 * numbers.
 */
export interface OwnRecords {
  records: readonly PriceRecord[];
  shape: string;
}

export const ownRecords = (records: readonly PriceRecord[]): OwnRecords => ({
  records,
  // Rates decide only between deployments that are priced one by one.
  shape: JSON.stringify(
    records.map(({ source, deployment, serviceTier, rates }) => [
      source,
      deployment,
      serviceTier,
      deployment === null ? null : rates,
    ]),
  ),
});

/**
 * Asks for the areas of a new record, once for all organisations whose own records differ in names and figures alone.
 */
export class AreaBook {
  private readonly asked = new Map<
    readonly PriceRecord[],
    Map<string, { areas: Areas; own: readonly PriceRecord[] }>
  >();
  private readonly equal = new Map<string, Areas>();

  constructor(private readonly added: PriceRecord) {}

  /** `general`: the same array for the same records, by which it is known again. All of them hold at `atMs`. */
  areas(general: readonly PriceRecord[], own: OwnRecords, organization: string, atMs: number): Areas {
    let known = this.asked.get(general);
    if (!known) this.asked.set(general, (known = new Map()));
    // The order of all numbers, general and own.
    const key = own.records.reduce(
      (text, { number }) => `${text} ${general.filter((record) => record.number < number).length}`,
      own.shape,
    );
    const found = known.get(key);
    if (!found) {
      const areas = this.one(areasOf([...general, ...own.records], this.added, organization, atMs));
      known.set(key, { areas, own: own.records });
      return areas;
    }
    const placeOf = ({ previous }: Area): number => found.own.findIndex((record) => record.number === previous);
    if (!found.areas.list.some((area) => placeOf(area) !== -1)) return found.areas;
    return this.one(
      found.areas.list.map((area) =>
        placeOf(area) === -1 ? area : { ...area, previous: own.records[placeOf(area)]!.number },
      ),
    );
  }

  private one(list: readonly Area[]): Areas {
    const key = JSON.stringify(list);
    let areas = this.equal.get(key);
    if (!areas) this.equal.set(key, (areas = { id: this.equal.size, list }));
    return areas;
  }
}

/**
 * One organisation at one time: service tiers for which the same deployments are concerned in the same way are one
 * area.
 */
function areasOf(holding: readonly PriceRecord[], added: PriceRecord, organization: string, atMs: number): Area[] {
  const all = [...holding, added];
  const deployments = [...new Set([...all.map((record) => record.deployment ?? NONE), NONE, OTHERS])].sort();
  const serviceTiers = [...new Set([...all.map((record) => record.serviceTier ?? NONE), NONE, OTHERS])].sort();
  const found = new Map<string, { previous: number | null; deployments: string[]; serviceTiers: string[] }>();
  for (const serviceTier of serviceTiers) {
    const concerned = new Map<number | null, string[]>();
    for (const deployment of deployments) {
      const call = {
        deployment: deployment === NONE ? null : deployment,
        organizationId: organization,
        serviceTier: serviceTier === NONE ? null : serviceTier,
      };
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
  return [...found.values()].map((area) => ({
    previous: area.previous,
    deployments: nameSet(area.deployments, deployments),
    serviceTiers: nameSet(area.serviceTiers, serviceTiers),
  }));
}

/** Some of all classes: by name, or, where OTHERS is among them, by what is missing. Both in order. */
export function nameSet(some: readonly string[], all: readonly string[]): NameSet {
  const these = new Set(some);
  const listed = !these.has(OTHERS);
  return { names: all.filter((name) => these.has(name) === listed), listed };
}
