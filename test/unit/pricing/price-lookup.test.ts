import { inForceAt, missingPrices, pickRecord } from '../../../src/services/pricing/price-lookup';
import type { ObservedPrice, PriceRecord } from '../../../src/services/pricing/pricing.types';

let number = 0;
const record = (fields: Partial<PriceRecord> & { price: string }): PriceRecord => {
  const { price, ...rest } = fields;
  const from = fields.effectiveFrom ?? new Date(1_000);
  number += 1;
  return { number, model: 'm', deployment: null, organizationId: null, source: 'PROXY', effectiveFrom: from, effectiveTo: null, recordedAt: from, serviceTier: null, rates: { input: price, output: price }, ...rest };
};
const at = (ms: number): Date => new Date(ms);
const picked = (records: PriceRecord[], deployment: string | null = null, organization = 'org_a', ms = 10_000): string | null => pickRecord(records, deployment, organization, ms)?.rates.input ?? null;
const observed = (deployment: string | null, price: string | null): ObservedPrice => ({ model: 'm', deployment, rates: price === null ? null : { input: price, output: price }, knownAs: [] });

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
    const book = [record({ price: '1' }), record({ price: '2', effectiveFrom: at(5_000) }), record({ price: '3', effectiveFrom: at(6_000), effectiveTo: at(8_000) }), record({ price: '4', effectiveFrom: at(20_000) })];
    expect(picked(book, null, 'org_a', 999)).toBeNull();
    expect([1_000, 5_000, 7_999, 8_000, 20_000].map((ms) => picked(book, null, 'org_a', ms))).toEqual(['1', '2', '3', '2', '4']);
  });

  it("the deployment's own where deployments are priced one by one; none for one that has no price; the dearest where it is not known", () => {
    const book = [record({ price: '1' }), record({ price: '2', deployment: 'd1', effectiveFrom: at(2_000) }), record({ price: '3', deployment: 'd2', effectiveFrom: at(2_000) })];
    expect([picked(book, 'd1'), picked(book, 'd2'), picked(book, 'd3'), picked(book, null)]).toEqual(['2', '3', null, '3']);
  });

  it("the alias' record again once it is the later one", () => {
    const book = [record({ price: '2', deployment: 'd1' }), record({ price: '5', effectiveFrom: at(3_000) })];
    expect([picked(book, 'd1'), picked(book, 'd9'), picked(book, null)]).toEqual(['5', '5', '5']);
  });
});

describe('what the book still lacks', () => {
  const play = (...rounds: ObservedPrice[][]): string[] => {
    const book: PriceRecord[] = [];
    rounds.forEach((round, index) => {
      for (const price of missingPrices(book, round, 'PROXY', 100_000 + index, null)) book.push(record({ price: price.rates.input, deployment: price.deployment, effectiveFrom: at(100_000 + index) }));
      for (const { deployment, rates } of round) expect(Number(picked(book, deployment, 'org_a', 100_000 + index))).toBe(Number(rates?.input ?? null));
    });
    return book.map((entry) => `${entry.deployment ?? 'alias'}=${entry.rates.input}`);
  };

  it('one record for the alias where all deployments agree, and nothing when it says so already', () => {
    expect(play([observed('d1', '1'), observed('d2', '1')], [observed('d1', '1.0'), observed('d2', '1')])).toEqual(['alias=1']);
  });

  it('a record for each deployment where they differ', () => {
    expect(play([observed('d1', '1'), observed('d2', '2')])).toEqual(['d1=1', 'd2=2']);
  });

  it('follows deployments that differ, agree, and differ again', () => {
    expect(play([observed('d1', '1'), observed('d2', '1')], [observed('d1', '1'), observed('d2', '2')], [observed('d1', '1'), observed('d2', '1')], [observed('d1', '1'), observed('d2', '2')])).toEqual(['alias=1', 'd1=1', 'd2=2', 'alias=1', 'd1=1', 'd2=2']);
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
    const book = [record({ price: '1' }), record({ price: '2', effectiveFrom: at(5_000) }), record({ price: '9', source: 'ADMIN', effectiveTo: at(7_000) })];
    expect(inForceAt(book, 2_000).map((entry) => [entry.rates.input, entry.effectiveTo?.getTime()])).toEqual([['1', 5_000], ['9', 7_000]]);
    expect(inForceAt(book, 8_000).map((entry) => [entry.rates.input, entry.effectiveTo])).toEqual([['2', null]]);
  });

  it('drops an alias record once its deployments have their own, and the other way round', () => {
    const book = [record({ price: '1' }), record({ price: '2', deployment: 'd1', effectiveFrom: at(2_000) }), record({ price: '3', deployment: 'd2', effectiveFrom: at(2_000) }), record({ price: '4', effectiveFrom: at(3_000) })];
    expect([1_500, 2_500, 3_500].map((ms) => inForceAt(book, ms).map((entry) => entry.rates.input))).toEqual([['1'], ['2', '3'], ['4']]);
  });
});
