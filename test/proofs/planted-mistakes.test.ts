import { Lane } from '../support/ledger/lane';
import { withMistake, type Mutation } from '../support/ledger/mutate';
import { runSchedule } from '../support/ledger/schedule';

// The most work of one test in the suite; for slow machines.
jest.setTimeout(900_000);

/** One is found by about every twentieth schedule at the least. */
const SCHEDULES = 300;
/**
 * Mistakes that somebody could make, each in a function of the ledger: a proof that finds none of them proves nothing.
 */
const MISTAKES: Record<string, [name: string, mutations: Mutation[]]> = {
  'period rows that are read without a lock': ['weir.admit_unwatched', [[/FOR NO KEY UPDATE OF p/, '']]],
  'a refusal that keeps its key': [
    'weir.admit_unwatched',
    [[/fates\[x\.nr\] IN \('BUDGET_EXCEEDED', 'UNPRICED'\)/, `fates[x.nr] IN ('UNPRICED')`]],
  ],
  'a call that is asked again and admitted again': ['weir.admit_unwatched', [[/IF has_again THEN/g, 'IF false THEN']]],
  'a hold that is a little less than the worst case': [
    'weir.admit_unwatched',
    [[/SET held = p\.held \+ t\.hold/, 'SET held = p.held + t.hold * 0.999']],
  ],
  'a call that is booked whenever it is settled': [
    'weir.settle_unwatched',
    [[/CASE WHEN is_all_new OR x\.id = ANY \(settled\) THEN coalesce\(x\.cost, 0\) ELSE 0 END/, 'coalesce(x.cost, 0)']],
  ],
  'usage above the hold that is no overage': [
    'weir.book',
    [[/ELSE\s+p\.overage\s+\+ least\(/, 'ELSE p.overage + 0 * least(']],
  ],
  'calls that are not told of a new budget': [
    'weir.fill_budgets',
    [[/WHERE f\.organization_id = v_organization AND f\.id = a\.id;/, 'WHERE false;']],
  ],
  'a period that begins with the second midnight': [
    'weir.local_midnight',
    [[/SELECT min\(t\)[\s\S]*>= day/, 'SELECT day::timestamp AT TIME ZONE zone']],
  ],
};

let lane: Lane;
beforeAll(async () => {
  lane = await Lane.open(3);
});
afterAll(() => lane.close());

test.each(Object.keys(MISTAKES))('the schedules find %s', async (mistake) => {
  const [name, mutations] = MISTAKES[mistake]!;
  const faults = await withMistake(lane.db, name, mutations, async () => {
    const base = 7_000_000 + Object.keys(MISTAKES).indexOf(mistake) * 1_000;
    for (let seed = base; seed < base + SCHEDULES; seed += 1) {
      const found = (await runSchedule(lane, seed)).faults;
      if (found.length > 0) return found;
    }
    return [];
  });
  expect(faults).not.toEqual([]);
});
