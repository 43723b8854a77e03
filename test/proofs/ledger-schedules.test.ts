import { runSchedules } from '../support/ledger/schedules';
import { standingSeed } from '../support/seed';

/** Some 0.6 s each on an idle machine. The long form for a change of the ledger: LEDGER_SCHEDULES=1000. */
const SCHEDULES = Number(process.env.LEDGER_SCHEDULES ?? 60);
/** One that failed: LEDGER_SEED=<its seed> LEDGER_SCHEDULES=1. */
const SEED = standingSeed('LEDGER_SEED');
jest.setTimeout(60_000 + SCHEDULES * 10_000);

test(`${SCHEDULES} schedules from seed ${SEED}: replicas and connections die between any two statements, and the ledger does what the model says`, async () => {
  const { counts, failed } = await runSchedules(SCHEDULES, SEED);
  expect(failed.slice(0, 3).map(({ seed, faults }) => ({ seed, faults: faults.slice(0, 8) }))).toEqual([]);
  expect(counts.schedules).toBe(SCHEDULES);
});
