#!/usr/bin/env node
// Applies LiteLLM's own SQL migrations in order, each once, as `prisma migrate deploy` would with the schema engine that closed networks
// cannot download. Keeps Prisma's own table, so that the original can take over later.
//   DATABASE_URL=postgresql://… node litellm/migrate.mjs FOLDER
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

/** Any number that nobody else locks: two proxies on one database must not migrate at once. */
const ADVISORY_LOCK = 5_283_641;

/** `folder` holds one folder per migration. Gives how many were applied now, and how many were there before. */
export async function migrate({ databaseUrl, folder }) {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    await client.query(`CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
      id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text,
      rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)`);
    const { rows } = await client.query('SELECT migration_name FROM "_prisma_migrations" WHERE finished_at IS NOT NULL');
    const known = new Set(rows.map((row) => row.migration_name));
    const names = fs.readdirSync(folder).filter((name) => fs.existsSync(path.join(folder, name, 'migration.sql'))).sort();
    const missing = names.filter((name) => !known.has(name));
    for (const name of missing) await apply(client, name, fs.readFileSync(path.join(folder, name, 'migration.sql'), 'utf8'));
    // LiteLLM builds the indexes of its request log after its migrations, not in them. Without this one, finding a call by our id reads the whole table.
    await client.query('CREATE INDEX IF NOT EXISTS "LiteLLM_SpendLogs_litellm_call_id_idx" ON "LiteLLM_SpendLogs" (litellm_call_id)');
    return { applied: missing.length, known: names.length - missing.length };
  } finally {
    await client.end();
  }
}

async function apply(client, name, sql) {
  try {
    // Many statements in one message are one transaction; a file with CREATE INDEX CONCURRENTLY, which allows none, has that one statement only.
    await client.query(sql);
  } catch (error) {
    throw new Error(`LiteLLM's migration ${name} failed: ${error.message}`, { cause: error });
  }
  await client.query(
    'INSERT INTO "_prisma_migrations" (id, checksum, migration_name, finished_at, applied_steps_count) VALUES (gen_random_uuid(), $1, $2, now(), 1)',
    [createHash('sha256').update(sql).digest('hex'), name],
  );
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [folder] = process.argv.slice(2);
  if (!folder || !process.env.DATABASE_URL) {
    console.error('usage: DATABASE_URL=postgresql://… node litellm/migrate.mjs FOLDER');
    process.exit(2);
  }
  const { applied, known } = await migrate({ databaseUrl: process.env.DATABASE_URL, folder });
  console.log(`LiteLLM's database: ${applied} migrations applied, ${known} were there`);
}
