import { readDatabaseUrl } from './config';
import { migrate } from './database/migrate';

/** `npm run migrate`: for deployments that migrate before the servers start. The server does the same by itself. */
async function main(): Promise<void> {
  const count = await migrate({ url: readDatabaseUrl() });
  console.log(count === 0 ? 'The database is up to date.' : `${count} migration${count === 1 ? '' : 's'} ran.`);
}

main().catch((error: unknown) => {
  console.error(`The database could not be migrated: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
