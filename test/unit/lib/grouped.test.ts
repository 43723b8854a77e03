import { Grouped } from '../../../src/lib/grouped';
import { gate } from '../../support/provider-script';

describe('Grouped', () => {
  it('takes what queued meanwhile into the next group, and answers each with its own', async () => {
    const groups: number[][] = [];
    const first = gate();
    const grouped = new Grouped(
      async (items: number[]) => {
        groups.push(items);
        if (groups.length === 1) await first.opened;
        return items.map((n) => n * 10);
      },
      { maxItems: 3 },
    );
    const all = [1, 2, 3, 4, 5].map((n) => grouped.add(n));
    first.open();
    expect(await Promise.all(all)).toEqual([10, 20, 30, 40, 50]);
    expect(groups).toEqual([[1], [2, 3, 4], [5]]);
  });

  it('has as many groups under way as it has lanes, while whole ones wait', async () => {
    const groups: number[][] = [];
    const gates = [gate(), gate()];
    const grouped = new Grouped(
      async (items: number[]) => {
        groups.push(items);
        await gates[groups.length - 1]?.opened;
        return items;
      },
      { maxItems: 2, lanes: 2 },
    );
    const all = [1, 2, 3, 4, 5, 6].map((n) => grouped.add(n));
    expect(groups).toEqual([[1], [2, 3]]);
    gates[1]!.open();
    await all[4];
    // The last one is no whole group: it waits for the limiter that stays.
    expect(groups).toEqual([[1], [2, 3], [4, 5]]);
    gates[0]!.open();
    expect(await Promise.all(all)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(groups).toEqual([[1], [2, 3], [4, 5], [6]]);
  });

  it('lets nobody fail for somebody else', async () => {
    const grouped = new Grouped(async (items: string[]) => {
      if (items.includes('bad')) throw new Error('bad is in it');
      return items;
    });
    const results = await Promise.allSettled(['a', 'b', 'bad', 'c'].map((item) => grouped.add(item)));
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(await grouped.add('d')).toBe('d');
  });
});
