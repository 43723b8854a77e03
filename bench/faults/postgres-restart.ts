import 'reflect-metadata';
import { restartRounds, type Restart } from '../../test/support/ledger/restarts';
import { print, setting } from './database';

/** Postgres restarted under load, fast and immediate in turn, 20 times. LEDGER_ROUNDS, LEDGER_SEED. */
async function main(): Promise<void> {
  const rounds = setting('LEDGER_ROUNDS', 20);
  const seed = setting('LEDGER_SEED', 1);
  const restarts = Array.from({ length: rounds }, (_, i): Restart => (i % 2 === 0 ? 'FAST' : 'IMMEDIATE'));
  const found = await restartRounds({ restarts, streams: 12, chats: 6, seed });
  print(`${rounds} restarts of Postgres, seed ${seed}`, found);
  if (found.lost + found.doubled + found.left + found.wrong > 0) process.exitCode = 1;
}

void main();
