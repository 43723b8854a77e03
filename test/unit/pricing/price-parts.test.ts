import { endOfOpen, pickRecord } from '../../../src/services/pricing/price-lookup';
import type { NameSet } from '../../../src/services/pricing/price-areas';
import { priceParts, pricePartsInTurns, type PricePart } from '../../../src/services/pricing/price-parts';
import type { PriceRecord } from '../../../src/services/pricing/pricing.types';
import { Random } from '../../support/ledger/random';
import { slowness } from '../../support/slowness';

let number = 0;
const record = (fields: Partial<PriceRecord> = {}): PriceRecord => {
  number += 1;
  return {
    number,
    model: 'm',
    deployment: null,
    organizationId: null,
    source: 'PROXY',
    effectiveFrom: new Date(1_000),
    effectiveTo: null,
    recordedAt: new Date(number),
    serviceTier: null,
    rates: { input: String(number), output: '1' },
    ...fields,
  };
};
const has = (set: NameSet, name: string | null): boolean => set.names.includes(name ?? '') === set.listed;
/** As the database reads a part. */
const concerns = (
  part: PricePart,
  call: { organizationId: string; deployment: string | null; serviceTier: string | null },
  atMs: number,
): boolean =>
  atMs >= part.startsAtMs &&
  atMs < part.endsAtMs &&
  has(part.organizations, call.organizationId) &&
  has(part.deployments, call.deployment) &&
  has(part.serviceTiers, call.serviceTier);
const everything: NameSet = { names: [], listed: false };

describe('the parts of a price change', () => {
  it('are one where nothing was before', () => {
    const added = record({ source: 'ADMIN', effectiveFrom: new Date(5_000), effectiveTo: new Date(9_000) });
    expect(priceParts([], added)).toEqual([
      {
        startsAtMs: 5_000,
        endsAtMs: 9_000,
        organizations: everything,
        deployments: everything,
        serviceTiers: everything,
        previous: null,
      },
    ]);
  });

  it('are as few as what was before has differences', () => {
    const book = [record(), record({ effectiveFrom: new Date(6_000) })];
    const own = record({
      organizationId: 'org_a',
      source: 'ADMIN',
      effectiveFrom: new Date(7_000),
      effectiveTo: new Date(8_000),
    });
    const added = record({ source: 'ADMIN', effectiveFrom: new Date(5_000) });
    const part = (startsAtMs: number, endsAtMs: number, organizations: NameSet, previous: number): PricePart => ({
      startsAtMs,
      endsAtMs,
      organizations,
      deployments: everything,
      serviceTiers: everything,
      previous,
    });
    expect(new Set(priceParts([...book, own], added))).toEqual(
      new Set([
        part(5_000, 6_000, everything, book[0]!.number),
        part(6_000, Infinity, { names: ['org_a'], listed: false }, book[1]!.number),
        part(6_000, 7_000, { names: ['org_a'], listed: true }, book[1]!.number),
        part(8_000, Infinity, { names: ['org_a'], listed: true }, book[1]!.number),
      ]),
    );
  });

  it("name the organisation's record that was in force at each time, also where its records differ in figures alone", () => {
    const own = [5_000, 6_000].map((from) =>
      record({
        organizationId: 'org_a',
        source: 'ADMIN',
        effectiveFrom: new Date(from),
        effectiveTo: new Date(from + 1_000),
      }),
    );
    const added = record({
      organizationId: 'org_a',
      source: 'ADMIN',
      effectiveFrom: new Date(5_000),
      effectiveTo: new Date(7_000),
    });
    expect(
      priceParts([record(), ...own], added).map((part) => [part.startsAtMs, part.endsAtMs, part.previous]),
    ).toEqual([
      [5_000, 6_000, own[0]!.number],
      [6_000, 7_000, own[1]!.number],
    ]);
  });

  it('are none where another record goes before it throughout', () => {
    expect(priceParts([record({ source: 'ADMIN' })], record({ effectiveFrom: new Date(2_000) }))).toEqual([]);
  });

  it('hold every call whose record becomes another, once, with the record before, and no other call, for random books', () => {
    const seed = 20_261_121;
    const random = new Random(seed);
    let concerned = 0;
    let untouched = 0;
    for (let round = 0; round < 60; round += 1) {
      const maybe = <T>(items: readonly T[], probability: number): T | null =>
        random.chance(probability) ? random.pick(items) : null;
      const dated = (): Pick<PriceRecord, 'effectiveFrom' | 'effectiveTo'> => {
        const from = random.int(0, 20);
        return {
          effectiveFrom: new Date(from),
          effectiveTo: random.chance(0.5) ? new Date(from + random.int(1, 15)) : null,
        };
      };
      const book = Array.from({ length: random.int(0, 12) }, () =>
        record({
          ...dated(),
          source: random.pick(['ADMIN', 'ADMIN', 'PROXY', 'FALLBACK'] as const),
          deployment: maybe(['d1', 'd2', 'd3'], 0.5),
          organizationId: maybe(['org_a', 'org_b'], 0.4),
          serviceTier: maybe(['flex', 'batch'], 0.3),
        }),
      );
      const added = record({
        ...dated(),
        source: random.pick(['ADMIN', 'ADMIN', 'ADMIN', 'PROXY', 'FALLBACK'] as const),
        organizationId: maybe(['org_a', 'org_c'], 0.3),
        serviceTier: maybe(['flex', 'batch'], 0.3),
      });
      added.effectiveTo ??= endOfOpen(book, added);
      const parts = priceParts(book, added);
      for (const organizationId of ['org_a', 'org_b', 'org_c', 'org_z']) {
        for (const deployment of ['d1', 'd2', 'd3', 'd9', null]) {
          for (const serviceTier of ['flex', 'batch', 'other', null]) {
            for (let atMs = 0; atMs <= 40; atMs += 1) {
              const call = { organizationId, deployment, serviceTier };
              const before = pickRecord(book, call, atMs);
              const after = pickRecord([...book, added], call, atMs);
              const matching = parts.filter((part) => concerns(part, call, atMs));
              if (
                after === added
                  ? matching.length !== 1 || matching[0]!.previous !== (before?.number ?? null)
                  : matching.length !== 0 || after !== before
              ) {
                throw new Error(
                  `seed ${seed}, round ${round}: ${JSON.stringify({ call, atMs, book, added, parts, before: before?.number, after: after?.number })}`,
                );
              }
              if (after === added) concerned += 1;
              else untouched += 1;
            }
          }
        }
      }
    }
    expect(concerned).toBeGreaterThan(10_000);
    expect(untouched).toBeGreaterThan(10_000);
  });

  const manyOwn = ({
    organizations,
    own,
    general,
  }: {
    organizations: number;
    own: number;
    general: number;
  }): PriceRecord[] => [
    ...Array.from({ length: general }, (_, i) => record({ effectiveFrom: new Date(86_400_000 * i) })),
    ...Array.from({ length: organizations * own }, (_, i) =>
      record({
        organizationId: `org_${i % organizations}`,
        source: 'ADMIN',
        effectiveFrom: new Date(86_400_000 * (10 + 5 * Math.floor(i / organizations) + ((i % organizations) % 30))),
      }),
    ),
  ];

  it.each([
    { organizations: 1_000, own: 2, general: 100 },
    { organizations: 300, own: 1, general: 365 },
  ])('take no time to speak of for a general price where %j', (sizes) => {
    const book = manyOwn(sizes);
    const begun = process.cpuUsage();
    const parts = priceParts(book, record({ source: 'ADMIN', effectiveFrom: new Date(0) }));
    // Some 100 ms of the processor's time; what goes over all records for every span and organisation takes three
    // seconds and more.
    expect(process.cpuUsage(begun).user / 1_000).toBeLessThan(1_000 * slowness());
    expect(parts.filter((part) => !part.organizations.listed)).toHaveLength(sizes.general);
  });

  it('are worked out in turns with whatever else is to be done, and are the same', async () => {
    const book = manyOwn({ organizations: 400, own: 2, general: 200 });
    const added = record({ source: 'ADMIN', effectiveFrom: new Date(0) });
    let turns = 0;
    let isDone = false;
    const count = (): unknown => !isDone && setImmediate(() => ((turns += 1), count()));
    count();
    const parts = await pricePartsInTurns(book, added);
    isDone = true;
    expect(turns).toBeGreaterThan(1);
    expect(parts).toEqual(priceParts(book, added));
  });
});
