import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { openDatabase, type Db } from '../../../src/database/pool';
import { migrate } from '../../../src/database/migrate';
import { ensureDatabases } from '../../../launch/databases.store';
import { newId } from '../../../src/lib/ids';
import { SqlRoles } from '../../../src/services/analytics/sql-roles';
import { asAdmin, createTestDatabase, databaseUrl } from '../../support/database';
import { createOrganization } from '../../support/factories';
import { connectAs, createReader } from '../../support/sql-reader';

const server = process.env.WEIR_TEST_PG!;
const password = 'of-the-owner';

/** Seen by whoever reads the organisation, and by nobody else. */
const PREPARE = 'PREPARE mine AS SELECT name FROM public.organizations';

/** A database as `npm start` and the compose file make it: its owner is no superuser. */
interface Owned {
  name: string;
  url: string;
  db: Db;
  organizationId: string;
  drop(): Promise<void>;
}
async function owned(makesRoles: boolean): Promise<Owned> {
  const name = `weir_owned_${randomBytes(4).toString('hex')}`;
  await ensureDatabases(server, [{ name, password, makesRoles }]);
  const url = new URL(server);
  Object.assign(url, { username: name, password, pathname: `/${name}` });
  await migrate({ url: url.href });
  const db = await openDatabase({ url: url.href, poolSize: 3 }, () => {});
  return {
    name,
    url: url.href,
    db,
    organizationId: await createOrganization(db, 'Acme'),
    drop: async () => {
      const [group] = await db.query<{ name: string; exists: boolean }>(
        `SELECT weir.reader_group() AS name, EXISTS (SELECT FROM pg_roles WHERE rolname = weir.reader_group()) AS exists`,
      );
      await db.close();
      await asAdmin(server, `DROP DATABASE ${name} WITH (FORCE)`);
      if (group!.exists) await asAdmin(server, `DROP ROLE ${group!.name}`);
      await asAdmin(server, `DROP ROLE ${name}`);
    },
  };
}

const run = promisify(execFile);
const admin = async (url: string, ...args: string[]): Promise<string> =>
  (
    await run(
      process.execPath,
      [
        '-r',
        path.join(__dirname, '../../support/register-ts.js'),
        path.join(__dirname, '../../../src/admin.ts'),
        ...args,
      ],
      { env: { ...process.env, DATABASE_URL: url } },
    )
  ).stdout;

describe('an owner that may make roles, as with npm start', () => {
  let database: Owned;
  beforeAll(async () => {
    database = await owned(true);
  });
  afterAll(() => database?.drop());

  it('gives out a role by the command, whose password is told once and is in no statement', async () => {
    const told = await admin(database.url, 'create-sql-role', '--organization', 'Acme');
    const [, host, port, name, user, secret] =
      /reads the organisation Acme \(org_\w+\): host (\S+), port (\d+), database (\S+), user (\S+)\nIts password, shown this once:\n(\S+)\n/.exec(
        told,
      )!;
    // Only a superuser may set that.
    expect(told).toContain(`ALTER ROLE "${user}" SET temp_file_limit = '1GB';`);
    expect([host, port, name]).toEqual([new URL(server).hostname, new URL(server).port, database.name]);
    expect(secret).toMatch(/^[\w-]{32}$/);
    const client = await connectAs(database.url, user!, secret!);
    expect((await client.query('SELECT weir FROM (SELECT count(*) AS weir FROM calls) AS c')).rows).toEqual([
      { weir: '0' },
    ]);
    await client.end();
    expect(await admin(database.url, 'list-sql-roles')).toContain(`${user}  Acme (${database.organizationId})`);
    expect(await admin(database.url, 'drop-sql-role', '--role', user!)).toContain('is gone');
    expect(await admin(database.url, 'list-sql-roles')).toBe('No role reads with SQL.\n');
    await expect(connectAs(database.url, user!, secret!)).rejects.toMatchObject({ code: '28P01' });
    const kept = await new SqlRoles(database.db).create({ organization: null, role: null });
    const [stored] = await adminRows(`SELECT rolpassword FROM pg_authid WHERE rolname = '${kept.name}'`);
    expect(stored!.rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
    await new SqlRoles(database.db).drop(kept.name);
  });

  it('refuses what makes no sense, and says why', async () => {
    for (const args of [
      ['create-sql-role'],
      ['create-sql-role', '--operators', '--organization', 'Acme'],
      ['drop-sql-role'],
      ['toString'],
    ]) {
      await expect(admin(database.url, ...args)).rejects.toThrow('what to do?');
    }
    await expect(admin(database.url, 'create-sql-role', '--organization', 'Nobody')).rejects.toThrow(
      `there is no organisation Nobody; there are: Acme (${database.organizationId})`,
    );
    await expect(admin(database.url, 'drop-sql-role', '--role', 'postgres')).rejects.toThrow(
      'no SQL role of this installation is called postgres',
    );
  });

  it('leaves a reader neither the locks that settlement needs nor large objects', async () => {
    const reader = await createReader(database, database.organizationId);
    for (const call of [
      'pg_advisory_lock(2, 0)',
      'pg_advisory_xact_lock(1)',
      'pg_try_advisory_lock_shared(2, 0)',
      'lo_create(0)',
      `lo_from_bytea(0, '')`,
    ])
      expect([call, await reader.failure(`SELECT ${call}`)]).toEqual([call, '42501']);
    await reader.close();
    expect((await new SqlRoles(database.db).list()).length).toBe(0);
  });

  it('gives nothing more to a statement that a session has prepared, also where that session cannot be ended', async () => {
    const role = `weir_sql_${database.organizationId}_${randomBytes(4).toString('hex')}`;
    await asAdmin(server, `CREATE ROLE ${role} LOGIN PASSWORD 'secret'`);
    await new SqlRoles(database.db).create({ organization: 'Acme', role });
    const [prepared, snapshot] = [
      await connectAs(database.url, role, 'secret'),
      await connectAs(database.url, role, 'secret'),
    ];
    for (const client of [prepared, snapshot]) await client.query(PREPARE);
    await snapshot.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (const client of [prepared, snapshot])
      for (let n = 0; n < 7; n += 1) expect((await client.query('EXECUTE mine')).rows).toEqual([{ name: 'Acme' }]);
    const told = await new SqlRoles(database.db).drop(role);
    expect(told).toEqual({
      ended: false,
      missing: [
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${role}'`,
        `DROP ROLE "${role}"`,
      ],
    });
    await expect(prepared.query('EXECUTE mine')).rejects.toMatchObject({ code: '42501' });
    // Within a transaction Postgres asks no more than it did: only its end, or the session's, stops that one.
    await snapshot.query('ROLLBACK');
    await expect(snapshot.query('EXECUTE mine')).rejects.toMatchObject({ code: '42501' });
    const ended = Promise.all(
      [prepared, snapshot].map((client) => new Promise((resolve) => client.once('end', resolve))),
    );
    for (const statement of told.missing) await asAdmin(server, statement);
    await ended;
  });

  it('takes a role of others only under a name that says what it reads, and says which name that is', async () => {
    const id = database.organizationId;
    const [other] = await database.db.query<{ id: string }>(
      `INSERT INTO organizations (id, name) VALUES ($1, 'Umbra') RETURNING id`,
      [newId('organization')],
    );
    const names = [
      'metabase',
      `weir_sql_${other!.id}_x`,
      'weir_sql_all_x',
      `weir_sql_${id}`,
      `weir_sql_${id}_`,
      `weir_sql_${id}_X`,
      `weir_sql_${id}_x_y`,
      `weir_sql_${id}_${'x'.repeat(24)}`,
    ];
    for (const role of names)
      await expect(new SqlRoles(database.db).create({ organization: 'Acme', role })).rejects.toThrow(
        `CREATE ROLE weir_sql_${id}_<suffix>`,
      );
    for (const role of ['metabase', `weir_sql_${id}_x`, 'weir_sql_all', 'weir_sql_all_x y']) {
      await expect(new SqlRoles(database.db).create({ organization: null, role })).rejects.toThrow(
        'CREATE ROLE weir_sql_all_<suffix>',
      );
    }
    // As long as Postgres takes it whole.
    const longest = `weir_sql_${id}_${'x'.repeat(23)}`;
    await expect(new SqlRoles(database.db).create({ organization: 'Acme', role: longest })).rejects.toThrow(
      `the database server has no role ${longest}`,
    );
  });

  it('lists a role that was renamed by what it reads now, and takes that from it', async () => {
    const roles = new SqlRoles(database.db);
    const { name } = await roles.create({ organization: 'Acme', role: null });
    const renamed = `weir_sql_all_${randomBytes(4).toString('hex')}`;
    await asAdmin(server, `ALTER ROLE ${name} RENAME TO ${renamed}; ALTER ROLE ${renamed} PASSWORD 'secret'`);
    const told = await admin(database.url, 'list-sql-roles');
    expect(told).toMatch(new RegExp(`^${name} {2}Acme .*reads nothing`, 'm'));
    expect(told).toMatch(new RegExp(`^${renamed} {2}all organisations {2}not made under this name here`, 'm'));
    const client = await connectAs(database.url, renamed, 'secret');
    expect((await client.query('SELECT name FROM public.organizations ORDER BY name')).rows).toEqual([
      { name: 'Acme' },
      { name: 'Umbra' },
    ]);
    await client.end();
    for (const role of [renamed, name]) expect((await roles.drop(role)).missing).toEqual([]);
    expect(await roles.list()).toEqual([]);
    await expect(connectAs(database.url, renamed, 'secret')).rejects.toMatchObject({ code: '28P01' });
  });

  it('makes and drops roles side by side', async () => {
    const roles = new SqlRoles(database.db);
    const made = await Promise.all([1, 2, 3].map(() => roles.create({ organization: 'Acme', role: null })));
    expect((await roles.list()).filter(({ reads }) => reads)).toHaveLength(3);
    await Promise.all(made.map(({ name }) => roles.drop(name)));
    expect(await roles.list()).toEqual([]);
  });

  it.each([
    ['is a superuser', 'ALTER ROLE $ SUPERUSER', '', 'it is a superuser'],
    ['row security does not bind', 'ALTER ROLE $ BYPASSRLS', '', 'it is a superuser'],
    ['may become the owner', 'GRANT @ TO $', '', 'it is a superuser'],
    ['may write', '', 'GRANT UPDATE (name) ON organizations TO $', 'it may write: organizations'],
    [
      'may read without row security',
      '',
      'GRANT SELECT ON llm_calls TO $',
      'it may read without row security: llm_calls',
    ],
    [
      'may make functions that we could call',
      '',
      'GRANT CREATE ON SCHEMA public TO $',
      'it may create objects in public',
    ],
  ])('takes no role that %s', async (_, bySuperuser, byOwner, message) => {
    const role = `weir_sql_${database.organizationId}_${randomBytes(4).toString('hex')}`;
    const filled = (statement: string): string => statement.replace('$', role).replace('@', database.name);
    await asAdmin(server, `CREATE ROLE ${role} LOGIN`);
    if (bySuperuser) await asAdmin(server, filled(bySuperuser));
    if (byOwner) await database.db.query(filled(byOwner));
    await expect(new SqlRoles(database.db).create({ organization: 'Acme', role })).rejects.toThrow(message);
    expect(await new SqlRoles(database.db).list()).toEqual([]);
    if (byOwner) await database.db.query(filled(byOwner).replace('GRANT', 'REVOKE').replace(' TO ', ' FROM '));
    await asAdmin(server, `DROP ROLE ${role}`);
  });
});

describe('an owner that may not make roles', () => {
  let database: Owned;
  beforeAll(async () => {
    database = await owned(false);
  });
  afterAll(() => database?.drop());

  it('is told what a database administrator has to run, and takes the role that this makes', async () => {
    const inside = databaseUrl(server, database.name);
    const told = await admin(database.url, 'create-sql-role', '--organization', 'Acme');
    const [making, reserving] = told.split('\n\n')[1]!.split(/^(?=DO )/m) as [string, string];
    const [, command] = /^Then: npm run admin -- (.*)$/m.exec(told)!;
    const secret = told.trim().split('\n').at(-1)!;
    expect(making + reserving).not.toContain(secret);
    expect(making).toContain('temp_file_limit');
    expect(await database.db.query('SELECT name FROM sql_roles')).toEqual([]);
    await asAdmin(inside, making);
    const role = command!.split(' ').at(-1)!;
    // It could stop every settlement, as long as nothing reserves the functions of locks.
    const waiting = await new SqlRoles(database.db).create({ organization: 'Acme', role });
    expect(waiting.missing.map((statement) => `${statement};\n`)).toEqual([reserving.trimEnd() + '\n']);
    expect(await database.db.query('SELECT name FROM sql_roles')).toEqual([]);
    expect(
      (await new SqlRoles(database.db).create({ organization: 'Acme', role, acceptsLocks: true })).missing,
    ).toEqual([]);
    await database.db.query(`DELETE FROM sql_roles; REVOKE EXECUTE ON FUNCTION weir.reader() FROM "${role}"`);
    await asAdmin(inside, reserving);
    const taken = await admin(database.url, ...command!.split(' '));
    expect(taken).toContain('reads the organisation Acme');
    expect(taken).not.toContain('A superuser can bound it further');
    const client = await connectAs(database.url, role, secret);
    await expect(client.query('SELECT pg_advisory_lock(4, 1)')).rejects.toMatchObject({ code: '42501' });
    await client.query(PREPARE);
    for (let n = 0; n < 7; n += 1) expect((await client.query('EXECUTE mine')).rows).toEqual([{ name: 'Acme' }]);
    expect(
      (
        await client.query('SELECT current_setting($1) AS timeout, (SELECT count(*) FROM analytics.spend) AS count', [
          'statement_timeout',
        ])
      ).rows,
    ).toEqual([{ timeout: '1min', count: '0' }]);
    const dropped = await admin(database.url, 'drop-sql-role', '--role', role);
    for (const statement of ['REVOKE "weir_readers_', 'SELECT pg_terminate_backend(pid)', `DROP ROLE "${role}";`])
      expect(dropped).toContain(statement);
    expect((await client.query('EXECUTE mine')).rows).toEqual([]);
    expect((await client.query('SELECT count(*) FROM analytics.prices')).rows).toEqual([{ count: '0' }]);
    await client.end();
    await asAdmin(server, `DROP ROLE "${role}"`);
  });
});

it('keeps locks and temporary tables from readers itself, where it is a superuser', async () => {
  const database = await createTestDatabase({ poolSize: 2 });
  const reader = await createReader(database, null);
  for (const statement of [
    'SELECT pg_advisory_lock(4, 1)',
    'SELECT pg_advisory_lock(2, 0)',
    'SELECT pg_try_advisory_xact_lock_shared(5, 0)',
    'SELECT lo_create(0)',
    'CREATE TEMP TABLE mine ()',
    `SET temp_file_limit = '-1'`,
  ]) {
    expect([statement, await reader.failure(statement)]).toEqual([statement, '42501']);
  }
  expect(await reader.rows('SHOW temp_file_limit')).toEqual([{ temp_file_limit: '1GB' }]);
  await reader.close();
  await database.close();
});

async function adminRows(sql: string): Promise<Record<string, string>[]> {
  const client = new Client({ connectionString: server });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
