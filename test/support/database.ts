import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { openDatabase, type Db } from '../../src/database/pool';

/** The migrated database that tests clone. */
export const TEMPLATE = 'weir_template';

export interface TestDatabase {
  url: string;
  db: Db;
  /** Ends the connections and drops the database, whoever else is still connected. */
  close(): Promise<void>;
}

/**
 * A database of its own with all migrations, for one test file. Takes about 100 ms; the files are copied, which without
 * fsync is the faster way.
 */
export async function createTestDatabase(options: { poolSize?: number } = {}): Promise<TestDatabase> {
  const serverUrl = process.env.WEIR_TEST_PG;
  if (!serverUrl)
    throw new Error(
      'WEIR_TEST_PG is not set: this test needs the Postgres of test/global-setup.ts (npx jest --selectProjects integration)',
    );
  const name = `weir_test_${randomBytes(6).toString('hex')}`;
  await asAdmin(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE} STRATEGY FILE_COPY`);
  const url = databaseUrl(serverUrl, name);
  let db: Db;
  try {
    // Connections that are cut by `close` or by a test are no news.
    db = await openDatabase({ url, poolSize: options.poolSize ?? 10, applicationName: 'weir-test' }, () => {});
  } catch (error) {
    await asAdmin(serverUrl, `DROP DATABASE ${name} WITH (FORCE)`);
    throw error;
  }
  return {
    url,
    db,
    close: async () => {
      await db.close();
      await asAdmin(serverUrl, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/**
 * By so many seconds the run has another date than the machine (npm run test:dates): Node by libfaketime, SQL by
 * weir.now(), which all of it asks.
 */
export const CLOCK_SECONDS = Number(process.env.WEIR_TEST_CLOCK_SECONDS ?? 0);

/** Stops the clock of all SQL at a time (RFC 3339), or lets it run again with null. */
export async function setClock(db: Db, time: string | null): Promise<void> {
  if (time !== null && Number.isNaN(Date.parse(time))) throw new Error(`not a time: ${time}`);
  await db.query(clockStatements(time));
}

export function clockStatements(time: string | null): string {
  const running = CLOCK_SECONDS === 0 ? 'SELECT now()' : `SELECT now() + interval '${CLOCK_SECONDS} seconds'`;
  const body = time === null ? running : `SELECT timestamptz '${new Date(time).toISOString()}'`;
  const moment = time === null ? 'SELECT weir.now() + (clock_timestamp() - now())' : body;
  return `
    CREATE OR REPLACE FUNCTION weir.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ ${body} $$;
    CREATE OR REPLACE FUNCTION weir.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ ${moment} $$;`;
}

export function databaseUrl(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.toString();
}

export async function asAdmin(serverUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
