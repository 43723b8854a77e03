import 'reflect-metadata';
import { Client } from 'pg';
import { migrate } from '../src/entities/migrate';
import { startPostgres, type PostgresServer } from './support/postgres';
import { TEMPLATE } from './support/database';

declare global {
  var weirTestPostgres: PostgresServer | undefined;
}

/** One Postgres for the whole run, migrated once into a database that every test file clones. Without it the run fails. */
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
}
