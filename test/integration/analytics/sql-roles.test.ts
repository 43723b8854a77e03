import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { openDatabase, type Db } from '../../../src/entities/data-source';
import { migrate } from '../../../src/entities/migrate';
import { ensureDatabases } from '../../../src/launch/databases.store';
import { SqlRoles } from '../../../src/services/analytics/sql-roles';
import { asAdmin } from '../../support/database';
import { createOrganization } from '../../support/factories';
import { connectAs, createReader } from '../../support/sql-reader';

const server = process.env.WEIR_TEST_PG!;
const password = 'of-the-owner';

/** A database as `npm start` and the compose file make it: its owner is no superuser. */
interface Owned { name: string; url: string; db: Db; organizationId: string; drop(): Promise<void> }
async function owned(makesRoles: boolean): Promise<Owned> {
  const name = `weir_owned_${randomBytes(4).toString('hex')}`;
  await ensureDatabases(server, [{ name, password, makesRoles }]);
  const url = new URL(server);
  Object.assign(url, { username: name, password, pathname: `/${name}` });
  await migrate({ url: url.href });
  const db = await openDatabase({ url: url.href, poolSize: 3 }, () => {});
  return {
    name, url: url.href, db, organizationId: await createOrganization(db, 'Acme'),
    drop: async () => {
      const [group] = await db.query<{ name: string; exists: boolean }>(`SELECT weir.reader_group() AS name, EXISTS (SELECT FROM pg_roles WHERE rolname = weir.reader_group()) AS exists`);
      await db.close();
      await asAdmin(server, `DROP DATABASE ${name} WITH (FORCE)`);
      if (group!.exists) await asAdmin(server, `DROP ROLE ${group!.name}`);
      await asAdmin(server, `DROP ROLE ${name}`);
    },
  };
}

const run = promisify(execFile);
const admin = async (url: string, ...args: string[]): Promise<string> =>
  (await run(process.execPath, ['-r', path.join(__dirname, '../../support/register-ts.js'), path.join(__dirname, '../../../src/admin.ts'), ...args], { env: { ...process.env, DATABASE_URL: url } })).stdout;

describe('an owner that may make roles, as with npm start', () => {
  let database: Owned;
  beforeAll(async () => {
    database = await owned(true);
  });
  afterAll(() => database?.drop());

  it('gives out a role by the command, whose password is told once and is in no statement', async () => {
    const told = await admin(database.url, 'create-sql-role', '--organization', 'Acme');
    const [, host, port, name, user] = /reads the organisation Acme \(org_\w+\): host (\S+), port (\d+), database (\S+), user (\S+)\nIts password, shown this once:\n/.exec(told)!;
    const secret = told.trim().split('\n').at(-1)!;
    expect([host, port, name]).toEqual([new URL(server).hostname, new URL(server).port, database.name]);
    expect(secret).toMatch(/^[\w-]{32}$/);
    const client = await connectAs(database.url, user!, secret);
    expect((await client.query('SELECT weir FROM (SELECT count(*) AS weir FROM calls) AS c')).rows).toEqual([{ weir: '0' }]);
    await client.end();
    expect(await admin(database.url, 'list-sql-roles')).toContain(`${user}  Acme (${database.organizationId})`);
    expect(await admin(database.url, 'drop-sql-role', '--role', user!)).toContain('is gone');
    expect(await admin(database.url, 'list-sql-roles')).toBe('No role reads with SQL.\n');
    await expect(connectAs(database.url, user!, secret)).rejects.toMatchObject({ code: '28P01' });
    const kept = await new SqlRoles(database.db).create({ organization: null, role: null });
    const [stored] = await adminRows(`SELECT rolpassword FROM pg_authid WHERE rolname = '${kept.name}'`);
    expect(stored!.rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
    await new SqlRoles(database.db).drop(kept.name);
  }, 60_000);

  it('refuses what makes no sense, and says why', async () => {
    for (const args of [['create-sql-role'], ['create-sql-role', '--operators', '--organization', 'Acme'], ['drop-sql-role'], ['toString']]) {
      await expect(admin(database.url, ...args)).rejects.toThrow('what to do?');
    }
    await expect(admin(database.url, 'create-sql-role', '--organization', 'Nobody')).rejects.toThrow('there is no organisation Nobody');
    await expect(admin(database.url, 'drop-sql-role', '--role', 'postgres')).rejects.toThrow('no SQL role of this installation is called postgres');
  }, 60_000);

  it('leaves a reader neither the locks that settlement needs nor large objects', async () => {
    const reader = await createReader(database, database.organizationId);
    for (const call of ['pg_advisory_lock(2, 0)', 'pg_advisory_xact_lock(1)', 'pg_try_advisory_lock_shared(2, 0)', 'lo_create(0)', `lo_from_bytea(0, '')`]) expect([call, await reader.failure(`SELECT ${call}`)]).toEqual([call, '42501']);
    await reader.close();
    expect((await new SqlRoles(database.db).list()).length).toBe(0);
  });

  it.each([
    ['is a superuser', 'ALTER ROLE $ SUPERUSER', '', 'it is a superuser'],
    ['row security does not bind', 'ALTER ROLE $ BYPASSRLS', '', 'it is a superuser'],
    ['may become the owner', 'GRANT @ TO $', '', 'it is a superuser'],
    ['may write', '', 'GRANT UPDATE (name) ON organizations TO $', 'it may write: organizations'],
    ['may read without row security', '', 'GRANT SELECT ON llm_calls TO $', 'it may read without row security: llm_calls'],
    ['may make functions that we could call', '', 'GRANT CREATE ON SCHEMA public TO $', 'it may create objects in public'],
  ])('takes no role that %s', async (_, bySuperuser, byOwner, message) => {
    const role = `weir_test_${randomBytes(4).toString('hex')}`;
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
    const told = await admin(database.url, 'create-sql-role', '--organization', 'Acme');
    const statements = told.split('\n').filter((line) => /^(CREATE|ALTER|GRANT) .*;$/.test(line));
    const [, command] = /^Then: npm run admin -- (.*)$/m.exec(told)!;
    const secret = told.trim().split('\n').at(-1)!;
    expect(statements.length).toBeGreaterThan(5);
    expect(statements.join()).not.toContain(secret);
    expect(await database.db.query('SELECT name FROM sql_roles')).toEqual([]);
    for (const statement of statements) await asAdmin(server, statement);
    const taken = await admin(database.url, ...command!.split(' '));
    expect(taken).toContain('reads the organisation Acme');
    // Nothing has reserved the functions of locks here.
    expect(taken).toContain('REVOKE EXECUTE ON FUNCTION');
    const role = command!.split(' ').at(-1)!;
    const client = await connectAs(database.url, role, secret);
    expect((await client.query('SELECT current_setting($1) AS timeout, (SELECT count(*) FROM analytics.spend) AS count', ['statement_timeout'])).rows).toEqual([{ timeout: '1min', count: '0' }]);
    const dropped = await admin(database.url, 'drop-sql-role', '--role', role);
    expect(dropped).toContain(`DROP ROLE "${role}";`);
    expect((await client.query('SELECT count(*) FROM analytics.prices')).rows).toEqual([{ count: '0' }]);
    await client.end();
    await asAdmin(server, `DROP ROLE "${role}"`);
  }, 60_000);
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
