import 'reflect-metadata';
import { Client } from 'pg';
import { migrate } from '../../src/database/migrate';
import { TEMPLATE } from '../../test/support/database';
import { startPostgres } from '../../test/support/postgres';

/** A Postgres with the migrated database that tests clone, for as long as the work takes. */
export async function withPostgres<T>(options: { durable: boolean }, work: () => Promise<T>): Promise<T> {
  const server = await startPostgres(options);
  try {
    process.env.WEIR_TEST_PG = server.url('postgres');
    const admin = new Client({ connectionString: server.url('postgres') });
    await admin.connect();
    await admin.query(`CREATE DATABASE ${TEMPLATE}`);
    await admin.end();
    await migrate({ url: server.url(TEMPLATE) });
    return await work();
  } finally {
    await server.stop();
  }
}

/** A number from the environment. */
export const setting = (name: string, fallback: number): number =>
  process.env[name] ? Number(process.env[name]) : fallback;

export function print(title: string, counts: object): void {
  console.log(`\n${title}`);
  for (const [name, value] of Object.entries(counts) as [string, unknown][])
    console.log(`  ${name.padEnd(16)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
}
