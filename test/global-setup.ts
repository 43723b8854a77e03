import 'reflect-metadata';
import { Client } from 'pg';
import { migrate } from '../src/database/migrate';
import { startPostgres, type PostgresServer } from './support/postgres';
import { CLOCK_SECONDS, clockStatements, TEMPLATE } from './support/database';

declare global {
  var weirTestPostgres: PostgresServer | undefined;
}

/**
 * Months that tests name, as the migrations would have made them then. They make those of the day of the run: without
 * these, rows of a test would have partitions on one day and none on another.
 */
const MONTHS = ['2026-09', '2026-10', '2026-11', '2026-12', '2027-01', '2027-02', '2027-03'];
/**
 * One Postgres for the whole run, migrated once into a database that every test file clones. Without it the run fails.
 */
export default async function globalSetup(): Promise<void> {
  const server = await startPostgres({ durable: false });
  globalThis.weirTestPostgres = server;
  process.env.WEIR_TEST_PG = server.url('postgres');
  try {
    await prepareTemplate(server);
  } catch (error) {
    // jest does not call the teardown after a failed setup.
    await server.stop();
    throw error;
  }
}

async function prepareTemplate(server: PostgresServer): Promise<void> {
  const admin = new Client({ connectionString: server.url('postgres') });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${TEMPLATE}`);
  await admin.end();
  // It closes its connections: a database cannot be cloned while somebody is connected to it.
  await migrate({ url: server.url(TEMPLATE) });
  const template = new Client({ connectionString: server.url(TEMPLATE) });
  await template.connect();
  for (const [i, month] of MONTHS.slice(0, -1).entries()) {
    await template.query(
      `CREATE TABLE IF NOT EXISTS llm_usage_${month.replace('-', '_')} PARTITION OF llm_usage FOR VALUES FROM ('${month}-01 00:00+00') TO ('${MONTHS[i + 1]}-01 00:00+00')`,
    );
  }
  if (CLOCK_SECONDS !== 0) {
    await template.query(clockStatements(null));
    await template.query('SELECT weir.ensure_usage_partitions(3)');
  }
  await checkClock(template);
  await template.end();
}

/** Where the run has a date of its own (npm run test:dates), both clocks have it. */
async function checkClock(database: Client): Promise<void> {
  const { rows } = await database.query<{ now: Date }>('SELECT weir.now() AS now');
  const apart = Date.now() - rows[0]!.now.getTime();
  if (Math.abs(apart) > 5_000)
    throw new Error(
      `the clocks of Node and SQL are ${apart} ms apart: ${new Date().toISOString()} and ${rows[0]!.now.toISOString()}`,
    );
}
