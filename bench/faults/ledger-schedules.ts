import { runSchedules } from '../../test/support/ledger/schedules';
import { print, setting, withPostgres } from './database';

/** The schedules of test/proofs/ledger-schedules.test.ts, 10,000 of them. LEDGER_SCHEDULES, LEDGER_SEED. */
async function main(): Promise<void> {
  const schedules = setting('LEDGER_SCHEDULES', 10_000);
  const seed = setting('LEDGER_SEED', Math.floor(Date.now() / 1_000));
  console.log(`${schedules} schedules from seed ${seed}`);
  const startedAt = performance.now();
  const { counts, failed } = await withPostgres({ durable: false }, () =>
    runSchedules(schedules, seed, (done) => {
      if (done % 500 === 0) console.log(`  ${done} after ${Math.round((performance.now() - startedAt) / 1_000)} s`);
    }),
  );
  print('Schedules', { ...counts, failed: failed.length });
  for (const outcome of failed.slice(0, 10))
    print(`Failed: LEDGER_SEED=${outcome.seed} LEDGER_SCHEDULES=1`, { ...outcome.faults.slice(0, 10) });
  if (failed.length > 0) process.exitCode = 1;
}

void main();
