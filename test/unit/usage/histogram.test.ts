import { percentilesOf } from '../../../src/services/usage/histogram';
import { percentileOf, representativeOf } from '../../support/percentiles';

/** What the database makes of values: 12 digits a bucket. */
const BOUNDS = Array.from({ length: 63 }, (_, index) => Math.ceil(10 * 2 ** (index / 4)));
const packed = (values: readonly number[]): string =>
  values
    .reduce((sum, value) => sum + 10n ** BigInt(12 * BOUNDS.filter((bound) => bound <= value).length), 0n)
    .toString();

let state = 3;
const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;

describe('percentiles of a packed histogram', () => {
  it('are what the buckets of the sorted values stand for, in every place', () => {
    for (let round = 0; round < 300; round += 1) {
      const values = Array.from({ length: 1 + random(200) }, () => random(2 ** (1 + random(21))));
      expect(percentilesOf(packed(values), values.length, [1, 50, 95, 99, 100])).toEqual(
        [1, 50, 95, 99, 100].map((percent) => percentileOf(values, percent)),
      );
    }
  });

  it('are at most 9.1 % off from 10 ms up to the last bucket, and 5 ms below', () => {
    for (let ms = 10; ms < 463_410; ms += ms < 20_000 ? 1 : 997)
      expect(Math.abs(representativeOf(ms) - ms) / ms).toBeLessThanOrEqual(0.091);
    for (let ms = 0; ms < 10; ms += 1) expect(Math.abs(representativeOf(ms) - ms)).toBeLessThanOrEqual(5);
  });

  it('count exactly at the edge of a bucket: 95 % of a multiple of twenty is a whole number', () => {
    for (let count = 20; count <= 4_000; count += 20) {
      const values = Array.from({ length: count }, (_, index) => (index < count * 0.95 ? 100 : 9_000));
      expect(percentilesOf(packed(values), count, [95])).toEqual([representativeOf(100)]);
    }
  });

  it('of nothing are null, and a bucket holds twelve digits', () => {
    expect(percentilesOf('0', 0, [50, 95])).toEqual([null, null]);
    expect(percentilesOf('', 0, [50])).toEqual([null]);
    expect(percentilesOf('999999999999', 999_999_999_999, [50, 100])).toEqual([5, 5]);
    expect(percentilesOf(`1${'0'.repeat(12 * 63)}`, 1, [50])).toEqual([463_410]);
  });
});
