import path from 'node:path';
import { version } from '../../../package.json';
import { buildDataSource } from '../../../src/database/pool';
import { BASELINE, migrationFiles, readMigration } from '../../support/migrations/migration-files';
import { lintMigrations } from '../../support/migrations/migration-rules';

const FOLDER = path.join(__dirname, '../../../src/database/migrations');
const sqlFile = (sql: string, more: { inTransaction?: boolean } = {}) => ({
  ...readMigration('20270101000000-example.sql', sql),
  ...more,
});
/** `rule@line` of everything that is found. */
const found = (sql: string, more: { inTransaction?: boolean } = {}): string[] =>
  lintMigrations([sqlFile(sql, more)], '0.4.0').map(({ rule, line }) => `${rule}@${line}`);

describe('the migrations after the baseline', () => {
  const files = migrationFiles(FOLDER);

  test('can run while the release before still serves, and block nobody for long', () => {
    expect(lintMigrations(files, version)).toEqual([]);
  });

  test('are all of those that the program runs', () => {
    const classes = buildDataSource({ url: 'postgresql://127.0.0.1/none', poolSize: 1 }).options.migrations as {
      name: string;
    }[];
    const stamps = classes.map(({ name }) => name.slice(-14)).filter((stamp) => stamp > BASELINE);
    expect(files.map(({ name }) => name.slice(0, 14))).toEqual(stamps.sort());
  });
});

describe('a migration may', () => {
  const TENANT = `CREATE TABLE notes (organization_id text NOT NULL, id text NOT NULL, at timestamptz NOT NULL, CONSTRAINT notes_pkey PRIMARY KEY (organization_id, id));
    COMMENT ON TABLE notes IS 'tenant: what a person wrote';`;
  test.each([
    [
      'add a column that may be empty, or has a constant',
      `ALTER TABLE plans ADD COLUMN note text, ADD COLUMN seats integer NOT NULL DEFAULT 1;`,
    ],
    [
      'add a column with the time of its transaction',
      `ALTER TABLE plans ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();`,
    ],
    [
      'make a tenant table with an index, a foreign key and a check',
      `${TENANT} CREATE INDEX notes_at ON notes (at); ALTER TABLE notes ADD CONSTRAINT notes_id_check CHECK (id <> '');`,
    ],
    [
      'make a reference table, and a partition',
      `CREATE TABLE regions (id text); COMMENT ON TABLE public.regions IS 'reference: where'; CREATE TABLE u2 PARTITION OF u FOR VALUES FROM (1) TO (2);`,
    ],
    [
      'add a check without reading the table',
      `ALTER TABLE plans ADD CONSTRAINT plans_seats_check CHECK (seats > 0) NOT VALID;`,
    ],
    ['validate what an earlier one added', `ALTER TABLE plans VALIDATE CONSTRAINT plans_seats_check;`],
    [
      'replace a function whose body drops and renames',
      `CREATE OR REPLACE FUNCTION weir.f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE x; ALTER TABLE y RENAME TO z; END $$;`,
    ],
    [
      'name forbidden words in comments and texts',
      `-- DROP FUNCTION weir.f;\nUPDATE plans SET note = 'DROP FUNCTION x; ALTER TABLE y RENAME TO z' WHERE id = 'a' /* DROP VIEW v; */;`,
    ],
    [
      'drop what the release before has not used',
      `-- contract: 0.3.0\nALTER TABLE plans\n  DROP COLUMN note;\n-- contract: 0.3.0\nDROP FUNCTION weir.settle(text);`,
    ],
    [
      'drop one column among other changes',
      `ALTER TABLE plans\n  ADD COLUMN memo text,\n-- contract: 0.3.0\n  DROP COLUMN note;`,
    ],
  ])('%s', (_, sql) => expect(found(sql)).toEqual([]));

  test('make an index beside the writers, in a migration outside of transactions that can be repeated', () => {
    const sql = 'CREATE INDEX CONCURRENTLY IF NOT EXISTS plans_seats ON plans (seats);';
    expect(found(sql, { inTransaction: false })).toEqual([]);
    expect(found(sql)).toEqual(['concurrently@1']);
    expect(found(sql.replace('IF NOT EXISTS ', ''), { inTransaction: false })).toEqual(['prefer-robust-stmts@1']);
  });

  test('forbid emptiness once an earlier one checked it, of the same column', () => {
    const files = (column: string) => [
      readMigration(
        '20270101000000-a.sql',
        `ALTER TABLE public.plans ADD CONSTRAINT plans_note_check CHECK (${column} IS NOT NULL) NOT VALID;`,
      ),
      readMigration('20270101000001-b.sql', 'ALTER TABLE plans VALIDATE CONSTRAINT plans_note_check;'),
      readMigration('20270101000002-c.sql', 'ALTER TABLE plans ALTER COLUMN note SET NOT NULL;'),
    ];
    expect(lintMigrations(files('note'), '0.4.0')).toEqual([]);
    expect(lintMigrations(files('memo'), '0.4.0')).toMatchObject([
      { file: '20270101000002-c.sql', rule: 'set-not-null' },
    ]);
  });
});

describe('a migration may not', () => {
  test.each([
    ['drop a table', 'DROP TABLE plans;', ['ban-drop-table@1']],
    ['drop a column', '\nALTER TABLE plans DROP COLUMN note;', ['ban-drop-column@2']],
    ['drop a function', 'DROP FUNCTION IF EXISTS weir.settle(text);', ['drop@1']],
    ['drop a view', '/* why */ DROP VIEW llm_calls;', ['drop@1']],
    ['rename a table', 'ALTER TABLE plans RENAME TO tariffs;', ['rename@1']],
    ['rename a column', 'ALTER TABLE plans RENAME COLUMN note TO memo;', ['rename@1']],
    ['rename a function', 'ALTER FUNCTION weir.settle(text) RENAME TO settle_old;', ['rename@1']],
    ['change a type', 'ALTER TABLE plans ALTER COLUMN seats TYPE bigint;', ['changing-column-type@1']],
    ['forbid emptiness at once', 'ALTER TABLE plans ADD COLUMN x text, ALTER note SET NOT NULL;', ['set-not-null@1']],
    [
      'make an index that blocks writers',
      'CREATE UNIQUE INDEX plans_note ON plans (note);',
      ['require-concurrent-index-creation@1'],
    ],
    ['drop an index that everybody waits for', 'DROP INDEX plans_note;', ['require-concurrent-index-deletion@1']],
    [
      'add a column that needs a value',
      'ALTER TABLE plans ADD COLUMN note text NOT NULL;',
      ['adding-required-field@1'],
    ],
    [
      'add a column with a volatile default',
      'ALTER TABLE plans ADD COLUMN key uuid DEFAULT gen_random_uuid();',
      ['adding-field-with-default@1'],
    ],
    [
      'add a column with a function of ours as default',
      'ALTER TABLE plans ADD COLUMN at timestamptz DEFAULT weir.now();',
      ['adding-field-with-default@1'],
    ],
    [
      'add a column with a check',
      "ALTER TABLE plans ADD COLUMN n integer, ADD COLUMN note text CONSTRAINT c CHECK (note <> '');",
      ['column-check@1'],
    ],
    [
      'add a check that reads the table',
      'ALTER TABLE plans ADD CONSTRAINT c CHECK (seats > 0);',
      ['constraint-missing-not-valid@1'],
    ],
    [
      'validate in the same transaction',
      'ALTER TABLE plans ADD CONSTRAINT c CHECK (seats > 0) NOT VALID;\nALTER TABLE plans VALIDATE CONSTRAINT c;',
      ['constraint-missing-not-valid@2'],
    ],
    [
      'add a foreign key that reads the table',
      'ALTER TABLE users ADD CONSTRAINT u FOREIGN KEY (plan_id) REFERENCES plans (id);',
      ['adding-foreign-key-constraint@1', 'constraint-missing-not-valid@1'],
    ],
    ['make a table without saying whose', 'CREATE TABLE notes (id text);', ['table-comment@1']],
    [
      'make a table and say something else',
      `CREATE TABLE notes (id text); COMMENT ON TABLE notes IS 'notes of people';`,
      ['table-comment@1'],
    ],
    [
      'make a tenant table that begins with something else',
      `CREATE TABLE notes (id text NOT NULL, organization_id text NOT NULL); COMMENT ON TABLE notes IS 'tenant: notes';`,
      ['organization-first@1'],
    ],
    ['be no SQL', 'ALTER TABEL plans;', ['syntax-error@1', 'syntax-error@1']],
  ])('%s', (_, sql, rules) => {
    const findings = lintMigrations([sqlFile(sql)], '0.4.0');
    expect([...new Set(findings.map(({ rule, line }) => `${rule}@${line}`))].sort()).toEqual(
      [...new Set(rules)].sort(),
    );
    // Says what to do instead, in whole sentences.
    for (const { message } of findings) expect(message).toMatch(/^[A-Z`].{30,}\.$/);
  });

  test('drop what the release before still uses, whatever a line says', () => {
    for (const line of ['-- contract: 0.4.0', '-- contract: soon', '-- contract: 0.10.0', '-- contract: 0.3.0\n'])
      expect(found(`${line}\nDROP TABLE plans;`)).toHaveLength(1);
  });
  test('rename or change a type by calling it a contract', () => {
    expect(found('-- contract: 0.3.0\nALTER TABLE plans RENAME TO tariffs;')).toEqual(['rename@2']);
    expect(found('-- contract: 0.3.0\nALTER TABLE plans ALTER COLUMN seats TYPE bigint;')).toEqual([
      'changing-column-type@2',
    ]);
  });
});

describe('of a TypeScript migration', () => {
  const wrap = (body: string, more = ''): string =>
    `// Ä comment – before all.\nconst TABLES = \`\n  DROP TABLE plans;\`;\nexport class Some20270101000000 {\n${more}  async up(runner: any): Promise<void> {\n    const title = 'über';\n${body}\n  }\n}\n`;

  test('every statement is found at its line, also in a constant and in quotes', () => {
    const file = readMigration(
      '20270101000000-some.ts',
      wrap(
        "    await runner.query(TABLES);\n    await runner.query('DROP VIEW v');\n    await runner.query(`\n      -- é\n      DROP FUNCTION f`);",
      ),
    );
    expect(lintMigrations([file], '0.4.0').map(({ rule, line }) => `${rule}@${line}`)).toEqual([
      'ban-drop-table@3',
      'drop@8',
      'drop@11',
    ]);
  });
  test('a statement that is put together is refused, since nobody can read it', () => {
    const file = readMigration(
      '20270101000000-some.ts',
      wrap('    await runner.query(`DROP TABLE ${title}`);\n    for (const sql of []) await runner.query(sql);'),
    );
    expect(lintMigrations([file], '0.4.0').map(({ rule, line }) => `${rule}@${line}`)).toEqual([
      'literal@7',
      'literal@8',
    ]);
  });
  test('transaction = false is seen', () => {
    const body = '    await runner.query(`CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON plans (id)`);';
    expect(lintMigrations([readMigration('20270101000000-some.ts', wrap(body))], '0.4.0')).toMatchObject([
      { rule: 'concurrently', line: 7 },
    ]);
    expect(
      lintMigrations([readMigration('20270101000000-some.ts', wrap(body, '  transaction = false;\n'))], '0.4.0'),
    ).toEqual([]);
  });
});
