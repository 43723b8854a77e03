import { createTestDatabase } from '../../test/support/database';
import { killRounds } from '../../test/support/ledger/kill-rounds';
import { print, setting, withPostgres } from './database';

/** kill -9 of a server under load with streams, 200 times. LEDGER_ROUNDS, LEDGER_SEED. */
async function main(): Promise<void> {
  const rounds = setting('LEDGER_ROUNDS', 200);
  const seed = setting('LEDGER_SEED', 1);
  const found = await withPostgres({ durable: true }, async () => {
    const database = await createTestDatabase();
    try {
      return await killRounds({ database, rounds, seed, streams: 12, chats: 4, deadAfterMs: 2_000 });
    } finally {
      await database.close();
    }
  });
  print(`${rounds} rounds of kill -9, seed ${seed}`, found);
  if (found.lost + found.doubled + found.left + found.wrong > 0) process.exitCode = 1;
}

void main();
