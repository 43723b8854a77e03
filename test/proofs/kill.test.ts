import { createTestDatabase, type TestDatabase } from '../support/database';
import { killRounds } from '../support/ledger/kill-rounds';

/** The long form for a change of the ledger: KILL_ROUNDS=100. */
const ROUNDS = Number(process.env.KILL_ROUNDS ?? 10);
jest.setTimeout(300_000 + ROUNDS * 60_000);

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

test(`kill -9 in ${ROUNDS} rounds under load with streams: nothing lost, nothing doubled, nothing held for ever`, async () => {
  const { replies, lostRows, killed, ...found } = await killRounds({
    database,
    rounds: ROUNDS,
    seed: 1,
    streams: 6,
    chats: 3,
    deadAfterMs: 5_000,
  });
  expect({ lost: found.lost, doubled: found.doubled, left: found.left, wrong: found.wrong }).toEqual({
    lost: 0,
    doubled: 0,
    left: 0,
    wrong: 0,
  });
  expect(killed).toBe(ROUNDS);
  // The kills did hit calls, and the others were answered.
  expect(lostRows).toBeGreaterThan(ROUNDS);
  expect(replies).toBeGreaterThan(ROUNDS * 6);
});
