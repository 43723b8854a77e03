import type { Db } from '../../src/database/pool';

/** Files of the write-ahead log (16 MB each): what some minutes of load fill between two checkpoints. */
const FILES = 48;

/**
 * Gives a fresh Postgres what one that has run for a while has: log files to use again. Without them it makes and fills
 * a new one for every 16 MB, and everybody who commits waits for that, some 50 ms: a cost of the first minutes of a
 * cluster, and not of what is measured.
 */
export async function fillLog(db: Db): Promise<void> {
  await db.query(`ALTER SYSTEM SET min_wal_size = '2GB'`);
  await db.query('SELECT pg_reload_conf()');
  await db.query('CREATE TABLE IF NOT EXISTS bench_log (n integer)');
  for (let n = 0; n < FILES; n += 1) {
    await db.query('INSERT INTO bench_log VALUES ($1)', [n]);
    await db.query('SELECT pg_switch_wal()');
  }
  await db.query('DROP TABLE bench_log');
  await reuseLog(db);
}

/** Makes the files that are full by now ready to be used again, as the checkpoints of a longer run do. */
export const reuseLog = async (db: Db): Promise<void> => void (await db.query('CHECKPOINT'));
