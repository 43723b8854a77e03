import type { QueryRunner } from 'typeorm';
import { buildDataSource, type DatabaseOptions } from './pool';
import { earlierRelease } from './earlier-release';
import { hashOf, readSqlFile, SQL_FILES } from './sql-files';

/** One number for all versions of the program: a process that migrates waits for another one that migrates already. */
const MIGRATION_LOCK = 4_761_100;
/**
 * Milliseconds that a migration waits for a table: behind it everything else that wants the table would wait as well.
 * One that does not get it fails, nothing is changed, and the program tries again.
 */
const LOCK_MS = 5_000;

/**
 * Brings the database up to date and returns how many migrations ran. TypeORM takes no lock itself: two processes that
 * start at once would both run the same migration. Here the second waits, and then finds nothing to do. Throws
 * EarlierRelease, and changes nothing, where the database has the schema of a release that cannot be taken over.
 */
export async function migrate(options: Pick<DatabaseOptions, 'url'>): Promise<number> {
  // A migration of a big table takes longer than any statement of the server may. Two connections: the lock's own and
  // the migrations'.
  const dataSource = buildDataSource({
    url: options.url,
    poolSize: 2,
    statementTimeoutMs: 0,
    lockTimeoutMs: LOCK_MS,
    applicationName: 'weir-migrate',
  });
  await dataSource.initialize();
  try {
    const lock = dataSource.createQueryRunner();
    await lock.query('SET lock_timeout = 0');
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    try {
      const earlier = await earlierRelease(dataSource, dataSource.migrations);
      if (earlier) throw earlier;
      await lock.query('SET lock_timeout = DEFAULT');
      const done = (await dataSource.runMigrations({ transaction: 'each' })).length;
      await loadSqlFiles(lock);
      // Later ones are made by the housekeeping of every server.
      if (done > 0) await lock.query('SELECT weir.ensure_usage_partitions(3)');
      return done;
    } finally {
      await lock.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
      await lock.release();
    }
  } finally {
    await dataSource.destroy();
  }
}

/**
 * The repeatable migration: each function and view whose file has changed since it was last loaded. In one transaction,
 * so that none calls a missing one.
 */
async function loadSqlFiles(runner: QueryRunner): Promise<void> {
  const rows: { name: string; hash: string }[] = await runner.query('SELECT name, hash FROM sql_files');
  const loaded = new Map(rows.map(({ name, hash }) => [name, hash]));
  const changed = SQL_FILES.map((name) => ({ name, text: readSqlFile(name) })).filter(
    ({ name, text }) => loaded.get(name) !== hashOf(text),
  );
  if (changed.length === 0) return;
  await runner.startTransaction();
  try {
    for (const { name, text } of changed) {
      await runner.query(text);
      await runner.query(
        'INSERT INTO sql_files (name, hash) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, loaded_at = now()',
        [name, hashOf(text)],
      );
    }
    // What is new may be read by the roles that read already.
    await runner.query('SELECT weir.grant_readers()');
    await runner.commitTransaction();
  } catch (error) {
    await runner.rollbackTransaction();
    throw error;
  }
}
