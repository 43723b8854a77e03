import { migrate } from '../../../src/database/migrate';
import { LlmUsage } from '../../../src/entities/llm-usage.entity';
import { asAdmin, createTestDatabase, databaseUrl, type TestDatabase } from '../../support/database';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

/** Entities have no comments: another test reads those of the tables. */
const changes = (queries: readonly { query: string }[]): string[] =>
  queries.map(({ query }) => query).filter((query) => !query.startsWith('COMMENT ON TABLE'));

describe('the schema', () => {
  it('has not drifted from the entities', async () => {
    const { upQueries } = await database.db.dataSource.driver.createSchemaBuilder().log();
    expect(changes(upQueries)).toEqual([]);
  });

  it('would be found to have drifted', async () => {
    await database.db.query('ALTER TABLE plans ADD COLUMN forgotten text');
    const { upQueries } = await database.db.dataSource.driver.createSchemaBuilder().log();
    expect(changes(upQueries)).toEqual(['ALTER TABLE "plans" DROP COLUMN "forgotten"']);
    await database.db.query('ALTER TABLE plans DROP COLUMN forgotten');
  });

  it('has the columns of the usage entity, which the comparison above leaves out', async () => {
    const rows = await database.db.query<{ name: string; type: string; nullable: boolean }>(
      `SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable
       FROM pg_attribute a WHERE a.attrelid = 'llm_usage'::regclass AND a.attnum > 0 AND NOT a.attisdropped`,
    );
    const entity = database.db.dataSource.getMetadata(LlmUsage).columns.map((column) => ({
      name: column.databaseName,
      type: String(column.type).replace('timestamptz', 'timestamp with time zone') + (column.isArray ? '[]' : ''),
      nullable: column.isNullable,
    }));
    const byName = (a: { name: string }, b: { name: string }): number => a.name.localeCompare(b.name);
    expect(entity.sort(byName)).toEqual(rows.sort(byName));
  });
});

it('is made once when several processes migrate at the same time: one works, the others wait', async () => {
  const serverUrl = process.env.WEIR_TEST_PG!;
  const name = `weir_empty_${process.pid}`;
  await asAdmin(serverUrl, `CREATE DATABASE ${name}`);
  try {
    const url = databaseUrl(serverUrl, name);
    const counts = await Promise.all([migrate({ url }), migrate({ url }), migrate({ url })]);
    expect(counts.sort((a, b) => a - b)).toEqual([0, 0, database.db.dataSource.migrations.length]);
    expect(await migrate({ url })).toBe(0);
  } finally {
    await asAdmin(serverUrl, `DROP DATABASE ${name} WITH (FORCE)`);
  }
});

it('keeps its tables in public also for a role that is named like the schema of the functions', async () => {
  const serverUrl = process.env.WEIR_TEST_PG!;
  const name = `weir_named_${process.pid}`;
  await asAdmin(serverUrl, `CREATE ROLE weir LOGIN SUPERUSER PASSWORD 'weir'`);
  await asAdmin(serverUrl, `CREATE DATABASE ${name} OWNER weir`);
  try {
    const url = new URL(databaseUrl(serverUrl, name));
    url.username = 'weir';
    url.password = 'weir';
    expect(await migrate({ url: url.href })).toBe(database.db.dataSource.migrations.length);
    expect(await migrate({ url: url.href })).toBe(0);
  } finally {
    await asAdmin(serverUrl, `DROP DATABASE ${name} WITH (FORCE)`);
    await asAdmin(serverUrl, 'DROP ROLE weir');
  }
});
