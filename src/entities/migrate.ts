import { buildDataSource, type DatabaseOptions } from './data-source';

/** One number for all versions of the program: whoever migrates waits for whoever migrates already. */
const MIGRATION_LOCK = 4_761_100;

/**
 * Brings the database up to date and returns how many migrations ran. TypeORM takes no lock itself: two processes that start at once would
 * both run the same migration. Here the second waits, and then finds nothing to do.
 */
export async function migrate(options: Pick<DatabaseOptions, 'url'>): Promise<number> {
  // A migration of a big table takes longer than any statement of the server may. Two connections: the lock's own and the migrations'.
  const dataSource = buildDataSource({ url: options.url, poolSize: 2, statementTimeoutMs: 0, applicationName: 'weir-migrate' });
  await dataSource.initialize();
  try {
    const lock = dataSource.createQueryRunner();
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    try {
      return (await dataSource.runMigrations({ transaction: 'each' })).length;
    } finally {
      await lock.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
      await lock.release();
    }
  } finally {
    await dataSource.destroy();
  }
}
