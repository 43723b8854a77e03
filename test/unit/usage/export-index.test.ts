import { ExportIndex, type ExportPoint } from '../../../src/services/exports/export-index';

const HEADER = 500;
const PAGE = 2_000_000;
const point = (n: number): ExportPoint => ({
  offset: HEADER + n * PAGE,
  key: { at: String(n), organizationId: 'o', callId: 'c' },
});

describe('what is known of a file', () => {
  it('finds the last known place at or before a byte', () => {
    const index = new ExportIndex(HEADER);
    for (const n of [1, 2, 3]) index.passed(point(n));
    for (const [offset, n] of [
      [HEADER + PAGE, 1],
      [HEADER + 2 * PAGE - 1, 1],
      [HEADER + 2 * PAGE, 2],
      [HEADER + 3 * PAGE, 3],
      [1e15, 3],
    ] as const)
      expect([offset, index.before(offset)]).toEqual([offset, point(n)]);
    for (const offset of [0, HEADER - 1, HEADER, HEADER + PAGE - 1])
      expect([offset, index.before(offset)]).toEqual([offset, { offset: HEADER, key: null }]);
    expect(index.furthest).toEqual(point(3));
  });

  it('keeps few places of a file of any length, each not far from the next', () => {
    const index = new ExportIndex(HEADER);
    const pages = 100_000;
    for (let n = 1; n <= pages; n += 1) index.passed(point(n));
    expect((index as unknown as { points: unknown[] }).points.length).toBeLessThanOrEqual(512);
    for (let n = 0; n <= pages; n += 997) {
      const { offset } = index.before(HEADER + n * PAGE);
      expect(offset).toBeLessThanOrEqual(HEADER + n * PAGE);
      expect(HEADER + n * PAGE - offset).toBeLessThan((pages * PAGE) / 100);
    }
    expect(index.before(Number.MAX_SAFE_INTEGER)).toEqual(point(pages));
  });

  it('learns nothing from whoever is behind', () => {
    const index = new ExportIndex(HEADER);
    for (const n of [1, 2, 3, 1, 2]) index.passed(point(n));
    expect((index as unknown as { points: unknown[] }).points).toHaveLength(4);
    expect(index.furthest).toEqual(point(3));
  });
});
