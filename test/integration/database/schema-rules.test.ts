import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { SQL_FILES } from '../../../src/database/sql-files';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { TENANT_TABLES } from '../../support/statement-rule';

const RULES = readFileSync(path.join(__dirname, '../../support/schema-rules.sql'), 'utf8');
const LEDGER = SQL_FILES.filter((file) => file.startsWith('ledger/')).map((file) => path.basename(file, '.sql'));

interface Violation {
  rule: string;
  at: string;
  what: string;
}

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

const violations = async (): Promise<Violation[]> => (await client.query<Violation>(RULES, [LEDGER])).rows;

it('is kept by the schema as it is migrated', async () => {
  expect(await violations()).toEqual([]);
});

it('has these tables of organisations and no others', async () => {
  const { rows } = await client.query<{ name: string }>(`
    SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND obj_description(oid, 'pg_class') LIKE 'tenant:%' ORDER BY 1`);
  expect(rows.map(({ name }) => name)).toEqual(TENANT_TABLES);
});

const made =
  'CREATE TABLE planted (organization_id text NOT NULL, id text NOT NULL, budget_id text, plan_id text, CONSTRAINT planted_pkey PRIMARY KEY (organization_id, id))';
const planted = (kind = 'tenant'): string => `${made}; COMMENT ON TABLE planted IS '${kind}: for this test'`;
const planting = (body: string, name = 'weir.planted'): string =>
  `CREATE FUNCTION ${name}() RETURNS void LANGUAGE plpgsql AS $$ DECLARE x text[]; v timestamptz; BEGIN ${body} END $$`;

/** For each rule something against it, and what it is found as. */
const PLANTED: [rule: string, statements: string, at: string][] = [
  ['a table says what kind it is: tenant, reference or local', made, 'planted'],
  [
    'a table says what kind it is: tenant, reference or local',
    `COMMENT ON TABLE plans IS 'which models a user may use'`,
    'plans',
  ],
  ['R1 no organization_id', `COMMENT ON TABLE plans IS 'tenant: wrong'`, 'plans'],
  [
    'R1 organization_id may be null',
    `CREATE TABLE planted (organization_id text); COMMENT ON TABLE planted IS 'tenant: wrong'`,
    'planted',
  ],
  [
    'R1 organization_id is not the first column',
    `CREATE TABLE planted (id text, organization_id text NOT NULL); COMMENT ON TABLE planted IS 'tenant: wrong'`,
    'planted',
  ],
  [
    'R1 a column before it was dropped',
    `CREATE TABLE planted (id text, organization_id text NOT NULL); ALTER TABLE planted DROP COLUMN id; COMMENT ON TABLE planted IS 'tenant: wrong'`,
    'planted',
  ],
  [
    'R2 unique key without organization_id first',
    `${planted()}; ALTER TABLE planted ADD CONSTRAINT planted_id_key UNIQUE (id, organization_id)`,
    'planted',
  ],
  ['R2 unique key without organization_id first', 'CREATE UNIQUE INDEX users_email_key ON users (email)', 'users'],
  [
    `R3 foreign key between tenants' tables without organization_id`,
    `${planted()}; CREATE UNIQUE INDEX budgets_id_key ON budgets (id); ALTER TABLE planted ADD CONSTRAINT planted_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES budgets (id)`,
    'planted',
  ],
  [
    `R3 foreign key from a table of all to a tenant's`,
    `${planted('local')}; ALTER TABLE planted ADD CONSTRAINT planted_budget_id_fkey FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id)`,
    'planted',
  ],
  [
    'R4 trigger',
    `CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER planted AFTER INSERT ON plans EXECUTE FUNCTION planted()`,
    'plans',
  ],
  [
    'R5 policy reads a table',
    'CREATE POLICY planted ON projects FOR SELECT USING (EXISTS (SELECT FROM plans))',
    'projects',
  ],
  [
    'R5 policy calls a function that reads a table of ours',
    'CREATE FUNCTION weir.planted() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM public.sql_roles $$; CREATE POLICY planted ON projects FOR SELECT USING (weir.planted() > 0)',
    'projects',
  ],
  [
    'R5 policy calls a function that calls another one of ours',
    'CREATE FUNCTION weir.planted() RETURNS text LANGUAGE sql AS $$ SELECT weir.reader_group() $$; CREATE POLICY planted ON projects FOR SELECT USING (id = weir.planted())',
    'projects',
  ],
  [
    `R6 identity or sequence in a tenant's table`,
    'ALTER TABLE messages ADD COLUMN planted bigint GENERATED ALWAYS AS IDENTITY',
    'messages',
  ],
  [`R6 identity or sequence in a tenant's table`, 'ALTER TABLE messages ADD COLUMN planted bigserial', 'messages'],
  [
    `R7 function takes a row of a tenant's table`,
    'CREATE FUNCTION weir.planted(u llm_usage) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
    'weir.planted(llm_usage)',
  ],
  ['R11 := (SELECT …): use SELECT … INTO', planting('x[1] := (SELECT name FROM plans LIMIT 1);'), 'weir.planted()'],
  [
    'R11 the clock in SET: use a variable',
    planting('UPDATE plans AS p SET name = p.name, updated_at = weir.now() WHERE id = x[1];'),
    'weir.planted()',
  ],
  [
    'R11 the clock in SET: use a variable',
    planting(
      `INSERT INTO plans (id, name, models) VALUES ('', '', '{}') ON CONFLICT (id) DO UPDATE SET updated_at = now();`,
    ),
    'weir.planted()',
  ],
  [
    'R11 NOTIFY in a function: src/database/alert-notice.ts',
    planting(`PERFORM pg_notify('planted', '');`),
    'weir.planted()',
  ],
  [
    'R11 NOTIFY in a function: src/database/alert-notice.ts',
    planting('NOTIFY planted;', 'analytics.planted'),
    'analytics.planted()',
  ],
  [
    'R11 ctid in the ledger',
    `CREATE FUNCTION weir.book(planted int) RETURNS void LANGUAGE sql AS $$ DELETE FROM plans WHERE ctid = '(0,1)' $$`,
    'weir.book(integer)',
  ],
  [
    'a constraint is named, by its table',
    'ALTER TABLE plans ADD CHECK (requests_per_minute > 0 AND tokens_per_minute > 0)',
    'plans',
  ],
  [
    'a constraint is named, by its table',
    'ALTER TABLE users ADD CONSTRAINT plan_of_users_fkey FOREIGN KEY (plan_id) REFERENCES plans (id)',
    'users',
  ],
  ['a constraint is named, by its table', 'ALTER TABLE users ADD FOREIGN KEY (plan_id) REFERENCES plans (id)', 'users'],
  ['an index is named, by its table', 'CREATE INDEX by_name ON plans (name)', 'plans'],
];

it.each(PLANTED)('finds what is planted against it: %s (%#)', async (rule, statements, at) => {
  await client.query('BEGIN');
  try {
    await client.query(statements);
    expect(await violations()).toContainEqual(expect.objectContaining({ rule, at }));
  } finally {
    await client.query('ROLLBACK');
  }
});

it('has something planted against each of its rules', () => {
  const rules = [...RULES.matchAll(/SELECT '((?:[^']|'')+)'(?: AS rule)?, /g)].map((match) =>
    match[1]!.replaceAll(`''`, `'`),
  );
  expect(rules.length).toBeGreaterThan(15);
  expect(new Set(PLANTED.map(([rule]) => rule))).toEqual(new Set(rules));
});

it('may read the clock in a condition, and name in comments what it forbids', async () => {
  await client.query('BEGIN');
  await client.query(
    planting(`-- x[1] := (SELECT 1); NOTIFY x
    v := weir.now(); UPDATE plans SET name = '' WHERE updated_at < weir.now(); UPDATE plans SET name = x.name FROM (SELECT weir.now()::text AS name) AS x;`),
  );
  expect(await violations()).toEqual([]);
  await client.query('ROLLBACK');
});

/** Postgres names what has no name as we would: only the files say who did. */
const FOLDER = path.join(__dirname, '../../../src/database/migrations/baseline');
function unnamed(file: string): string[] {
  const sql = file.replace(/--[^\n]*/g, '');
  return [...sql.matchAll(/\b(PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY|REFERENCES)\b[^\n]*/g)].flatMap(
    ({ 0: text, index }) => {
      const before = sql.slice(0, index).trimEnd();
      return /\bCONSTRAINT\s+\w+$|\bFOREIGN KEY\s*\([^)]*\)$|\bCREATE$/.test(before) ? [] : [text];
    },
  );
}

it('has a name in the files for each constraint', () => {
  for (const file of readdirSync(FOLDER))
    expect([file, unnamed(readFileSync(path.join(FOLDER, file), 'utf8'))]).toEqual([file, []]);
  expect(
    unnamed(
      'CREATE TABLE a (\n  b text PRIMARY KEY,\n  c text NOT NULL REFERENCES d (e),\n  CHECK (b > 0),\n  UNIQUE (c),\n  FOREIGN KEY (b) REFERENCES d (e)\n)',
    ),
  ).toHaveLength(5);
});
