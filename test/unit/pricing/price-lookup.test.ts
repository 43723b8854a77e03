import { missingPrices } from '../../../src/services/pricing/observed-prices';
import { endOfOpen, inForceAt, pickRecord } from '../../../src/services/pricing/price-lookup';
import type { ObservedPrice, PriceRecord } from '../../../src/services/pricing/pricing.types';

let number = 0;
const record = (fields: Partial<PriceRecord> & { price: string }): PriceRecord => {
  const { price, ...rest } = fields;
  const from = fields.effectiveFrom ?? new Date(1_000);
  number += 1;
  return {
    number,
    model: 'm',
    deployment: null,
    organizationId: null,
    source: 'PROXY',
    effectiveFrom: from,
    effectiveTo: null,
    recordedAt: from,
    serviceTier: null,
    rates: { input: price, output: price },
    ...rest,
  };
};
const at = (ms: number): Date => new Date(ms);
const picked = (
  records: PriceRecord[],
  deployment: string | null = null,
  organizationId = 'org_a',
  ms = 10_000,
  serviceTier: string | null = null,
): string | null => pickRecord(records, { deployment, organizationId, serviceTier }, ms)?.rates.input ?? null;
const observed = (deployment: string | null, price: string | null): ObservedPrice => ({
  model: 'm',
  deployment,
  rates: price === null ? null : { input: price, output: price },
  knownAs: [],
});

describe('which record prices a call', () => {
  it("the organisation's own goes before the general one, an administrator's before the proxy's before the shipped one", () => {
    const book = [record({ price: '1', source: 'FALLBACK' })];
    expect(picked(book)).toBe('1');
    book.push(record({ price: '2' }));
    expect(picked(book)).toBe('2');
    book.push(record({ price: '3', source: 'ADMIN' }));
    expect(picked(book)).toBe('3');
    book.push(record({ price: '4', source: 'PROXY', organizationId: 'org_a' }));
    expect(picked(book)).toBe('4');
    expect(picked(book, null, 'org_b')).toBe('3');
  });

  it('the latest one in force, not one of the future nor one that has ended', () => {
    const book = [
      record({ price: '1' }),
      record({ price: '2', effectiveFrom: at(5_000) }),
      record({ price: '3', effectiveFrom: at(6_000), effectiveTo: at(8_000) }),
      record({ price: '4', effectiveFrom: at(20_000) }),
    ];
    expect(picked(book, null, 'org_a', 999)).toBeNull();
    expect([1_000, 5_000, 7_999, 8_000, 20_000].map((ms) => picked(book, null, 'org_a', ms))).toEqual([
      '1',
      '2',
      '3',
      '2',
      '4',
    ]);
  });

  it("the deployment's own where deployments are priced one by one; none for one that has no price; the dearest where it is not known", () => {
    const book = [
      record({ price: '1' }),
      record({ price: '2', deployment: 'd1', effectiveFrom: at(2_000) }),
      record({ price: '3', deployment: 'd2', effectiveFrom: at(2_000) }),
    ];
    expect([picked(book, 'd1'), picked(book, 'd2'), picked(book, 'd3'), picked(book, null)]).toEqual([
      '2',
      '3',
      null,
      '3',
    ]);
  });

  it("the service tier's own within the same owner and source, else the usual one's; a tier's record prices no other call", () => {
    const book = [
      record({ price: '1' }),
      record({ price: '2', serviceTier: 'flex' }),
      record({ price: '3', source: 'FALLBACK', serviceTier: 'priority' }),
    ];
    const of = (tier: string | null): string | null => picked(book, null, 'org_a', 10_000, tier);
    expect([of(null), of('flex'), of('priority'), of('batch')]).toEqual(['1', '2', '1', '1']);
    book.push(record({ price: '4', source: 'ADMIN' }));
    expect([of(null), of('flex')]).toEqual(['4', '4']);
    book.push(record({ price: '5', source: 'ADMIN', serviceTier: 'flex', deployment: 'd1' }));
    expect([
      of('flex'),
      picked(book, 'd1', 'org_a', 10_000, 'flex'),
      picked(book, 'd2', 'org_a', 10_000, 'flex'),
      picked(book, 'd1'),
    ]).toEqual(['5', '5', '4', '4']);
  });

  it('later knowledge, whenever it begins: a correction of last week does not wait for what began since', () => {
    const book = [
      record({ price: '1' }),
      record({ price: '2', effectiveFrom: at(5_000) }),
      record({ price: '3', effectiveFrom: at(2_000), effectiveTo: at(7_000) }),
    ];
    expect([1_500, 2_000, 5_000, 6_999, 7_000].map((ms) => picked(book, null, 'org_a', ms))).toEqual([
      '1',
      '3',
      '3',
      '3',
      '2',
    ]);
  });

  it("the alias' record again once it is the later one", () => {
    const book = [record({ price: '2', deployment: 'd1' }), record({ price: '5', effectiveFrom: at(3_000) })];
    expect([picked(book, 'd1'), picked(book, 'd9'), picked(book, null)]).toEqual(['5', '5', '5']);
  });
});

describe('a record without an end', () => {
  const end = (book: PriceRecord[], fields: Partial<PriceRecord>): number | undefined =>
    endOfOpen(book, record({ price: '1', ...fields }))?.getTime();
  it('ends where the next of its model, organisation, source, service tier and deployment begins, and by no other', () => {
    const book = [
      record({ price: '1', effectiveFrom: at(1_000) }),
      record({ price: '1', effectiveFrom: at(9_000) }),
      record({ price: '1', effectiveFrom: at(7_000) }),
      record({ price: '1', effectiveFrom: at(4_000), source: 'ADMIN' }),
      record({ price: '1', effectiveFrom: at(4_100), organizationId: 'org_a' }),
      record({ price: '1', effectiveFrom: at(4_200), serviceTier: 'flex' }),
      record({ price: '1', effectiveFrom: at(4_300), deployment: 'd1' }),
    ];
    expect([
      end(book, { effectiveFrom: at(2_000) }),
      end(book, { effectiveFrom: at(7_000) }),
      end(book, { effectiveFrom: at(9_000) }),
    ]).toEqual([7_000, 9_000, undefined]);
    expect(
      [
        { source: 'ADMIN' as const },
        { organizationId: 'org_a' },
        { serviceTier: 'flex' },
        { deployment: 'd1' },
        { source: 'FALLBACK' as const },
      ].map((fields) => end(book, { effectiveFrom: at(2_000), ...fields })),
    ).toEqual([4_000, 4_100, 4_200, 4_300, undefined]);
  });
});

describe('what the book still lacks', () => {
  const play = (...rounds: ObservedPrice[][]): string[] => {
    const book: PriceRecord[] = [];
    rounds.forEach((round, index) => {
      for (const price of missingPrices(book, round, 'PROXY', 100_000 + index, null))
        book.push(
          record({ price: price.rates.input, deployment: price.deployment, effectiveFrom: at(100_000 + index) }),
        );
      for (const { deployment, rates } of round)
        expect(Number(picked(book, deployment, 'org_a', 100_000 + index))).toBe(Number(rates?.input ?? null));
    });
    return book.map((entry) => `${entry.deployment ?? 'alias'}=${entry.rates.input}`);
  };

  it('one record for the alias where all deployments agree, and nothing when it says so already', () => {
    expect(play([observed('d1', '1'), observed('d2', '1')], [observed('d1', '1.0'), observed('d2', '1')])).toEqual([
      'alias=1',
    ]);
  });

  it('a record for each deployment where they differ', () => {
    expect(play([observed('d1', '1'), observed('d2', '2')])).toEqual(['d1=1', 'd2=2']);
  });

  it('follows deployments that differ, agree, and differ again', () => {
    expect(
      play(
        [observed('d1', '1'), observed('d2', '1')],
        [observed('d1', '1'), observed('d2', '2')],
        [observed('d1', '1'), observed('d2', '1')],
        [observed('d1', '1'), observed('d2', '2')],
      ),
    ).toEqual(['alias=1', 'd1=1', 'd2=2', 'alias=1', 'd1=1', 'd2=2']);
  });

  it('a deployment without a price is not priced like its neighbour', () => {
    expect(play([observed('d1', '1')], [observed('d1', '1'), observed('d2', null)])).toEqual(['alias=1', 'd1=1']);
  });

  it('writes nothing where nothing is known, and a price that is not told any more stays', () => {
    expect(missingPrices([], [observed('d1', null)], 'PROXY', 5, null)).toEqual([]);
    expect(missingPrices([record({ price: '1' })], [observed('d1', null)], 'PROXY', 5_000, null)).toEqual([]);
  });
});

describe('the book at a time', () => {
  it('names the end of each record: its own, or the beginning of the next', () => {
    const book = [
      record({ price: '1' }),
      record({ price: '2', effectiveFrom: at(5_000) }),
      record({ price: '9', source: 'ADMIN', effectiveTo: at(7_000) }),
    ];
    expect(inForceAt(book, 2_000, Infinity).map((entry) => [entry.rates.input, entry.effectiveTo?.getTime()])).toEqual([
      ['1', 5_000],
      ['9', 7_000],
    ]);
    expect(inForceAt(book, 8_000, Infinity).map((entry) => [entry.rates.input, entry.effectiveTo])).toEqual([
      ['2', null],
    ]);
  });

  it('is asked as of a time without what was recorded later', () => {
    const book = [
      record({ price: '1', recordedAt: at(1_000) }),
      record({ price: '2', effectiveFrom: at(1_500), recordedAt: at(8_000) }),
    ];
    expect(
      [7_999, 8_000, Infinity].map((asOf) => inForceAt(book, 2_000, asOf).map((entry) => entry.rates.input)),
    ).toEqual([['1'], ['2'], ['2']]);
    expect(inForceAt(book, 1_200, 7_999)[0]!.effectiveTo).toBeNull();
    expect(inForceAt(book, 1_200, 8_000)[0]!.effectiveTo).toEqual(at(1_500));
  });

  it('drops an alias record once its deployments have their own, and the other way round', () => {
    const book = [
      record({ price: '1' }),
      record({ price: '2', deployment: 'd1', effectiveFrom: at(2_000) }),
      record({ price: '3', deployment: 'd2', effectiveFrom: at(2_000) }),
      record({ price: '4', effectiveFrom: at(3_000) }),
    ];
    expect([1_500, 2_500, 3_500].map((ms) => inForceAt(book, ms, Infinity).map((entry) => entry.rates.input))).toEqual([
      ['1'],
      ['2', '3'],
      ['4'],
    ]);
  });
});
