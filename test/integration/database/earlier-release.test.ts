import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Client } from 'pg';
import { buildDataSource } from '../../../src/database/pool';
import { EarlierRelease } from '../../../src/database/earlier-release';
import { migrate } from '../../../src/database/migrate';
import { asAdmin, databaseUrl } from '../../support/database';
import { EARLIER_INSTALLATION, EARLIER_SCHEMA } from '../../support/earlier-release';

const ROOT = path.join(__dirname, '..', '..', '..');
const serverUrl = process.env.WEIR_TEST_PG!;

let name: string;
let url: string;
beforeEach(async () => {
  name = `weir_earlier_${randomBytes(6).toString('hex')}`;
  url = databaseUrl(serverUrl, name);
  await asAdmin(serverUrl, `CREATE DATABASE ${name}`);
});
afterEach(() => asAdmin(serverUrl, `DROP DATABASE ${name} WITH (FORCE)`));

/** Every row and every relation, function and schema of the database's own. */
async function content(): Promise<unknown> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query(`
      SELECT (SELECT array_agg(relname::text ORDER BY oid) FROM pg_class WHERE oid >= 16384) AS relations,
             (SELECT array_agg(nspname::text ORDER BY oid) FROM pg_namespace WHERE nspname !~ '^pg_') AS schemas,
             (SELECT count(*)::int FROM pg_proc WHERE oid >= 16384) AS functions,
             (SELECT array_agg(name ORDER BY id) FROM weir_migrations) AS migrations`);
    return rows[0];
  } finally {
    await client.end();
  }
}

/** A program of ours until it ends, with what it wrote. */
async function run(program: string): Promise<{ code: number | null; output: string }> {
  const env = {
    PATH: process.env.PATH,
    NODE_ENV: 'test',
    PORT: '0',
    DATABASE_URL: url,
    LLM_BASE_URL: 'http://127.0.0.1:9',
    WEIR_SECRET_KEY: Buffer.alloc(32).toString('base64'),
  };
  const child = spawn(
    process.execPath,
    ['-r', path.join(ROOT, 'test/support/register-ts.js'), path.join(ROOT, 'src', program)],
    { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

test('a database of 0.1.0 is refused with what to do, and nothing is changed in it', async () => {
  await asAdmin(url, EARLIER_SCHEMA);
  const before = await content();
  const refusal: unknown = await migrate({ url }).then(
    () => null,
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(EarlierRelease);
  expect(refusal).toMatchObject({ release: '0.1.0', installation: EARLIER_INSTALLATION });
  expect((refusal as Error).message).toMatch(
    /schema of Weir 0\.1\.0.*point DATABASE_URL at an empty database.*docs\/releases\.md/,
  );
  expect(await content()).toEqual(before);
});

test.each(['main.ts', 'migrate.ts'])('%s ends with that sentence, an exit code and no stack trace', async (program) => {
  await asAdmin(url, EARLIER_SCHEMA);
  const { code, output } = await run(program);
  expect(code).toBe(1);
  expect(output).toContain('point DATABASE_URL at an empty database');
  expect(output).not.toMatch(/^\s+at |"stack"/m);
  expect(
    output
      .trim()
      .split('\n')
      .filter((line) => !/^\(|Warning/.test(line)),
  ).toHaveLength(1);
});

test('one whose first migration never ended is taken: the table of migrations is empty', async () => {
  await asAdmin(url, EARLIER_SCHEMA.replace(/INSERT INTO weir_migrations[^;]*;[\s\S]*/, ''));
  expect(await migrate({ url })).toBe(migrations());
});

test('one of this release, also with a migration of a later one, is no earlier one', async () => {
  await migrate({ url });
  await asAdmin(
    url,
    `INSERT INTO weir_migrations ("timestamp", name) VALUES (991231000000, 'OfALaterRelease20991231000000')`,
  );
  expect(await migrate({ url })).toBe(0);
});

const migrations = (): number => (buildDataSource({ url, poolSize: 1 }).options.migrations as unknown[]).length;
