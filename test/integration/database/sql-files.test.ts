import { execFile } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { readSqlFile, SQL_FILES } from '../../../src/database/sql-files';
import { createTestDatabase, type TestDatabase } from '../../support/database';

const ROOT = path.join(__dirname, '../../..');
const SERVICES = path.join(ROOT, 'src/services');

let database: TestDatabase;
let client: Client;
beforeAll(async () => {
  database = await createTestDatabase({ poolSize: 1 });
  client = new Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await database?.close();
});

/** Everything that files make, as Postgres says it back. */
async function definitions(): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; text: string }>(`
    SELECT p.oid::regprocedure::text AS name, concat_ws(E'\\n', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')) AS text
      FROM pg_proc AS p WHERE p.pronamespace IN ('weir'::regnamespace, 'analytics'::regnamespace)
    UNION ALL SELECT c.oid::regclass::text, concat_ws(E'\\n', pg_get_viewdef(c.oid), c.reloptions::text, obj_description(c.oid, 'pg_class'),
        (SELECT string_agg(concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod), ' ', col_description(c.oid, a.attnum)), E'\\n' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0))
      FROM pg_class AS c WHERE c.relkind IN ('v', 'm') AND c.relnamespace IN ('public'::regnamespace, 'weir'::regnamespace, 'analytics'::regnamespace)
    UNION ALL SELECT 'row security of ' || c.oid::regclass, concat(c.relrowsecurity, (SELECT string_agg(concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles::text, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), E'\\n' ORDER BY p.polname) FROM pg_policy AS p WHERE p.polrelid = c.oid))
      FROM pg_class AS c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace`);
  return new Map(rows.map(({ name, text }) => [name, text]));
}

/** What is another thing in the database than in the files. */
async function differences(): Promise<string[]> {
  const before = await definitions();
  await client.query('SAVEPOINT files');
  for (const file of SQL_FILES) await client.query(readSqlFile(file));
  const after = await definitions();
  await client.query('ROLLBACK TO SAVEPOINT files');
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .sort();
}

/**
 * Functions and views that no file makes. Counted by name: one with other arguments, left behind by a file that has
 * changed them, is found too.
 */
async function withoutFile(): Promise<string[]> {
  const made = SQL_FILES.flatMap((file) =>
    [...readSqlFile(file).matchAll(/^CREATE OR REPLACE (?:FUNCTION|VIEW) ((?:\w+\.)?\w+)/gm)].map((match) => match[1]!),
  ).sort();
  const { rows } = await client.query<{ name: string }>(`
    SELECT p.oid::regproc::text AS name FROM pg_proc AS p WHERE p.pronamespace IN ('weir'::regnamespace, 'analytics'::regnamespace)
    UNION ALL SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relkind IN ('v', 'm') AND c.relnamespace IN ('public'::regnamespace, 'weir'::regnamespace, 'analytics'::regnamespace)`);
  return rows
    .map(({ name }) => name)
    .filter((name) => {
      const at = made.indexOf(name);
      if (at >= 0) made.splice(at, 1);
      return at < 0;
    })
    .concat(made.map((name) => `${name}, not in the database`));
}

async function planted<T>(statements: string, look: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    if (statements) await client.query(statements);
    return await look();
  } finally {
    await client.query('ROLLBACK');
  }
}

describe('functions, views and row security', () => {
  it('are in the database what they are in the files', async () => {
    expect(await planted('', differences)).toEqual([]);
  });

  it.each([
    [
      `CREATE OR REPLACE FUNCTION weir.period_end(period text, day date) RETURNS date LANGUAGE sql IMMUTABLE AS 'SELECT day'`,
      'weir.period_end(text,date)',
    ],
    ['ALTER FUNCTION weir.settle SECURITY DEFINER', 'weir.settle('],
    ['ALTER VIEW analytics.calls SET (security_invoker = false)', 'analytics.calls'],
    [
      `CREATE OR REPLACE VIEW analytics.reconciliations WITH (security_invoker = true) AS SELECT run_on, from_at, to_at, compared_up_to, ended_at, compared_calls, proxy_cost AS our_cost, our_cost AS proxy_cost, missing_here,
      missing_at_proxy, tokens_differ, cost_differs, corrected, not_corrected FROM reconciliations`,
      'analytics.reconciliations',
    ],
    [`COMMENT ON COLUMN analytics.calls.cost IS 'another'`, 'analytics.calls'],
    [
      'DROP POLICY users_readers ON users; CREATE POLICY users_readers ON users FOR SELECT USING (true)',
      'row security of users',
    ],
    ['ALTER TABLE budgets DISABLE ROW LEVEL SECURITY', 'row security of budgets'],
  ])('would be found to be another one: %s', async (statement, name) => {
    // What a file may replace only with the same arguments is no matter here: the statement comes before.
    const found = await planted(statement, differences).catch((error: Error) => [error.message]);
    expect(found).toEqual([expect.stringContaining(name.replace(/\($/, ''))]);
  });

  it('have each a file, and files that are listed', async () => {
    expect(await withoutFile()).toEqual([]);
    const files = readdirSync(SERVICES, { recursive: true })
      .map(String)
      .filter((file) => file.endsWith('.sql'))
      .sort();
    expect(files).toEqual([...SQL_FILES].sort());
  });

  it.each([
    [`CREATE FUNCTION weir.forgotten() RETURNS int LANGUAGE sql AS 'SELECT 1'`, 'weir.forgotten'],
    [`CREATE FUNCTION weir.settle(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'`, 'weir.settle'],
    ['CREATE VIEW analytics.forgotten AS SELECT 1 AS x', 'analytics.forgotten'],
    ['DROP VIEW llm_calls', 'llm_calls, not in the database'],
  ])('would be found without a file: %s', async (statement, name) => {
    expect(await planted(statement, withoutFile)).toEqual([name]);
  });
});

test('no line of a file is longer than 120 columns', () => {
  const long = SQL_FILES.flatMap((file) =>
    readSqlFile(file)
      .split('\n')
      .flatMap((line, i) => (line.length > 120 ? [`${file}:${i + 1}`] : [])),
  );
  expect(long).toEqual([]);
});

describe('a migration', () => {
  /** A copy of the program, whose files may be changed. */
  let copy: string;
  beforeAll(() => {
    copy = mkdtempSync(path.join(tmpdir(), 'weir-sql-'));
    cpSync(path.join(ROOT, 'src'), path.join(copy, 'src'), { recursive: true });
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  const run = promisify(execFile);
  const migrate = async (): Promise<string> =>
    (
      await run(
        process.execPath,
        ['-r', path.join(ROOT, 'test/support/register-ts.js'), path.join(copy, 'src/migrate.ts')],
        { env: { ...process.env, DATABASE_URL: database.url } },
      )
    ).stdout;
  const at = (file: string): string => path.join(copy, 'src/services', file);
  /** Loads are counted by what the files do. */
  const load = (name: string): string => `INSERT INTO loads VALUES ('${name}');\n`;
  const restore = (...files: string[]): void => files.forEach((file) => writeFileSync(at(file), readSqlFile(file)));
  const loads = async (): Promise<string[]> =>
    (await client.query<{ name: string }>('SELECT name FROM loads ORDER BY ctid')).rows.map(({ name }) => name);
  const hashes = async (): Promise<unknown[]> =>
    (await client.query('SELECT name, hash, loaded_at FROM sql_files ORDER BY name')).rows;
  const END = 'ledger/sql/period_end.sql';
  const START = 'ledger/sql/period_start.sql';
  const PERCENTILE = 'analytics/sql/percentile.sql';

  beforeAll(() => client.query('CREATE TABLE loads (name text)'));
  afterAll(() => client.query('DROP TABLE loads'));
  beforeEach(() => client.query('TRUNCATE loads'));

  it('loads nothing where nothing has changed', async () => {
    const before = await hashes();
    expect(before).toHaveLength(SQL_FILES.length);
    await migrate();
    expect(await hashes()).toEqual(before);
  });

  it('loads the files that have changed, in their order, and no others', async () => {
    const before = await hashes();
    appendFileSync(at(PERCENTILE), load('percentile'));
    writeFileSync(at(END), readSqlFile(END).replace(/\d+ month|1 month/i, '2 months') + load('end'));
    await client
      .query(
        `CREATE OR REPLACE FUNCTION weir.period_end(v_period text, v_day date) RETURNS date LANGUAGE sql IMMUTABLE AS 'SELECT v_day'`,
      )
      .catch(() => undefined);
    await migrate();
    expect(await loads()).toEqual(['end', 'percentile']);
    const changed = (await hashes()).filter(
      (row) => !before.some((old) => JSON.stringify(old) === JSON.stringify(row)),
    );
    expect(changed.map((row) => (row as { name: string }).name)).toEqual([PERCENTILE, END]);
    await migrate();
    expect(await loads()).toEqual(['end', 'percentile']);
    restore(PERCENTILE, END);
    await migrate();
    expect((await hashes()).map((row) => (row as { hash: string }).hash)).toEqual(
      before.map((row) => (row as { hash: string }).hash),
    );
    expect(await planted('', differences)).toEqual([]);
  });

  it('loads nothing of it where one file is broken, says why, and goes on once that is repaired', async () => {
    const before = await hashes();
    const was = await definitions();
    appendFileSync(at(START), `${load('start')}CREATE FUNCTION weir.half() RETURNS int LANGUAGE sql AS 'SELECT 1';\n`);
    appendFileSync(at(PERCENTILE), 'CREATE OR REPLACE VIEW analytics.broken AS SELECT no_such_column FROM plans;\n');
    await expect(migrate()).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('column "no_such_column" does not exist'),
    });
    expect(await loads()).toEqual([]);
    expect(await hashes()).toEqual(before);
    expect(await definitions()).toEqual(was);
    restore(PERCENTILE);
    writeFileSync(at(START), readSqlFile(START) + load('start'));
    await migrate();
    expect(await loads()).toEqual(['start']);
    restore(START);
    await migrate();
  });

  it('loads once where processes migrate at the same time', async () => {
    appendFileSync(at(START), load('start'));
    appendFileSync(at(PERCENTILE), load('percentile'));
    await Promise.all([migrate(), migrate(), migrate()]);
    expect(await loads()).toEqual(['start', 'percentile']);
    restore(START, PERCENTILE);
    await migrate();
  });
});
