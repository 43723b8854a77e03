import { randomBytes } from 'node:crypto';
import { Client, escapeIdentifier } from 'pg';
import { notifyAlerts } from '../../../src/database/alert-notice';
import { createReader, connectAs, type SqlReader } from '../../support/sql-reader';
import { SqlRoles } from '../../../src/services/analytics/sql-roles';
import { createTestDatabase } from '../../support/database';
import { waitFor } from '../../support/wait';
import { Scene, type Tenant } from './scene';

let scene: Scene;
let acme: Tenant;
let umbra: Tenant;
let reader: SqlReader;
let operators: SqlReader;
let owner: { rows: SqlReader['rows'] };
/** What only umbra has: ids and names. */
let foreign: string[];

beforeAll(async () => {
  scene = await Scene.create(['acme', 'umbra'], 3);
  [acme, umbra] = scene.tenants as [Tenant, Tenant];
  await scene.clock('2026-11-01T00:00:00Z');
  await scene.price({ model: 'direct/small', effectiveFrom: '2026-09-01T00:00:00Z', input: '0.15', output: '0.6' });
  await scene.price({
    model: 'direct/large',
    organizationId: umbra.organizationId,
    effectiveFrom: '2026-09-01T00:00:00Z',
    input: '0.77712345',
    output: '7.77123456',
    note: 'umbra only',
  });
  await scene.price({
    model: 'direct/small',
    organizationId: umbra.organizationId,
    effectiveFrom: '2026-09-01T00:00:00Z',
    input: '0.77712345',
    output: '7.77123456',
    note: 'umbra only',
  });
  await scene.price({
    model: 'direct/large',
    organizationId: acme.organizationId,
    effectiveFrom: '2026-09-01T00:00:00Z',
    input: '0.444',
    output: '4.44',
  });
  for (const day of ['03', '04', '05', '06']) {
    await scene.clock(`2026-11-${day}T10:02:00Z`);
    for (const tenant of scene.tenants) {
      await scene.settle(tenant, `2026-11-${day}T10:00:00Z`, 8);
      await scene.correct(scene.settled.at(-1)!);
    }
    if (day === '04') {
      await scene.fold(1_000_000);
      // Of all but umbra, which has a price of its own: the change names it.
      await scene.price({ model: 'direct/small', effectiveFrom: '2026-10-01T00:00:00Z', input: '0.2', output: '0.7' });
      await scene.price({
        model: 'direct/large',
        organizationId: umbra.organizationId,
        effectiveFrom: '2026-10-01T00:00:00Z',
        input: '0.88812345',
        output: '8.88123456',
        note: 'umbra only',
      });
    }
  }
  for (const tenant of scene.tenants) {
    for (const [n, [scope, subject]] of (
      [
        ['ORGANIZATION', tenant.organizationId],
        ['PROJECT', tenant.projects[0]!.id],
        ['USER', tenant.users[0]!.id],
        ['API_TOKEN', tenant.users[0]!.tokenId],
      ] as const
    ).entries()) {
      const id = `bud_${tenant.name}_${n}`;
      await scene.db.query(
        `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, $3, $4, 'MONTH', 5)`,
        [id, tenant.organizationId, scope, subject],
      );
      await scene.db.query('SELECT weir.fill_budgets($1, $2)', [tenant.organizationId, [id]]);
    }
    await scene.db.query(`INSERT INTO conversations (id, organization_id, user_id, title) VALUES ($1, $2, $3, $4)`, [
      `conv_${tenant.name}`,
      tenant.organizationId,
      tenant.users[0]!.id,
      `title of ${tenant.name}`,
    ]);
  }
  reader = await createReader(scene.database, acme.organizationId);
  operators = await createReader(scene.database, null);
  // Readers may make no temporary objects; what these would help is asked of one that an administrator lets.
  await scene.db.query(
    `DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO ${reader.name}', current_database()); END $$`,
  );
  owner = { rows: (sql, values = []) => scene.db.query(sql, values) };
  foreign = [
    umbra.organizationId,
    'umbra',
    ...umbra.users.map((user) => user.id),
    ...umbra.projects.map((project) => project.id),
    ...scene.settled.filter((end) => end.organizationId === umbra.organizationId).map((end) => end.id),
    '"0.777',
    '"0.888',
    '7.77123456',
    '8.88123456',
  ];
});
afterAll(async () => {
  await scene?.db.query(
    `DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM ${reader?.name}', current_database()); END $$`,
  );
  await reader?.close();
  await operators?.close();
  await scene?.database.close();
});

interface Relation {
  name: string;
  columns: string[];
}
/** Everything that can stand behind FROM: also partitions, catalogs, what other sessions do. */
const relations = (): Promise<Relation[]> =>
  owner.rows<{ name: string; columns: string[] }>(`
    SELECT format('%I.%I', n.nspname, c.relname) AS name, array_agg(format('%I', a.attname) ORDER BY a.attnum) AS columns
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_toast' GROUP BY 1`);

/** What a session gets to see of all relations, by name: with a column at a time where it may not have all. */
async function everything(session: { rows: SqlReader['rows'] }): Promise<Map<string, string>> {
  const seen = new Map<string, string>();
  for (const { name, columns } of await relations()) {
    // In the catalogs rights are of whole tables.
    for (const column of ['*', ...(/^(public|weir|analytics)\./.test(name) ? columns : [])]) {
      try {
        seen.set(name, `${seen.get(name) ?? ''}${JSON.stringify(await session.rows(`SELECT ${column} FROM ${name}`))}`);
        if (column === '*') break;
      } catch (error) {
        if ((error as { code?: string }).code !== '42501') break;
      }
    }
  }
  return seen;
}

// Who is logged in, and what is running, can be seen by everybody at a Postgres server; so can the names of roles.
const found = (seen: Map<string, string>): string[] =>
  [...seen]
    .filter(([, text]) => foreign.some((value) => text.includes(value)))
    .map(([name]) => name)
    .sort();

describe('the role of one organisation', () => {
  it('sees nothing of another one in any relation of the database, and the search would find it', async () => {
    expect(found(await everything(reader))).toEqual([]);
    expect(found(await everything(operators)).filter((name) => name.startsWith('analytics.'))).toEqual(
      [
        'adjustments',
        'budgets',
        'calls',
        'prices',
        'spend',
        'spend_by_user',
        'usage_daily',
        'usage_quarter_hourly',
      ].map((name) => `analytics.${name}`),
    );
    expect(found(await everything(owner))).toEqual(
      expect.arrayContaining([
        'public.api_tokens',
        'public.users',
        'public.llm_usage',
        'public.llm_calls',
        'public.price_change_parts',
        'public.usage_batches',
        'public.conversations',
      ]),
    );
  });

  it('sees what is its own, and what is general', async () => {
    const [calls] = await reader.rows(
      'SELECT count(*)::int AS count, count(DISTINCT organization)::int AS organizations, min(organization) AS name, count(user_name)::int AS users FROM analytics.calls',
    );
    expect(calls).toEqual({ count: 32, organizations: 1, name: 'acme', users: 32 });
    expect(await reader.rows('SELECT DISTINCT organization FROM analytics.prices ORDER BY 1 NULLS FIRST')).toEqual([
      { organization: null },
      { organization: 'acme' },
    ]);
    expect(await reader.rows('SELECT scope, subject FROM analytics.budgets ORDER BY scope')).toEqual([
      { scope: 'API_TOKEN', subject: null },
      { scope: 'ORGANIZATION', subject: 'acme' },
      { scope: 'PROJECT', subject: 'acme project 1' },
      { scope: 'USER', subject: 'acme user 1' },
    ]);
    const cost = async (session: SqlReader, where: string): Promise<unknown> =>
      (await session.rows(`SELECT sum(cost) AS cost, sum(calls) AS calls FROM analytics.spend WHERE ${where}`))[0];
    expect(await cost(reader, 'true')).toEqual(await cost(operators, `organization = 'acme'`));
    expect(await cost(reader, `organization = 'umbra' OR organization_id = '${umbra.organizationId}'`)).toEqual({
      cost: null,
      calls: null,
    });
  });

  it('gets nothing of another one from a function', async () => {
    for (const name of ['usage_as_of', 'spend_as_of']) {
      const rows = await reader.rows(
        `SELECT * FROM analytics.${name}('2026-11-06 09:00+00', '2026-10-01', '2026-12-01')`,
      );
      expect(rows.length).toBeGreaterThan(0);
      expect(new Set(rows.map((row) => row.organization_id))).toEqual(new Set([acme.organizationId]));
    }
    // Functions of ours are out of reach: they cannot even be named.
    const functions = await owner.rows<{ name: string }>(
      `SELECT p.oid::regprocedure::text AS name FROM pg_proc AS p WHERE p.pronamespace = 'weir'::regnamespace`,
    );
    expect(functions.length).toBeGreaterThan(20);
    for (const call of [
      `weir.reader()`,
      `weir.settle('[]')`,
      `weir.fold(1)`,
      `weir.grant_readers()`,
      `weir.share_prices('{}')`,
      `weir.lock_prices('{direct/small}')`,
      `weir.lock_budgets('${umbra.organizationId}')`,
      `weir.reader_cost(NULL)`,
    ]) {
      expect(await reader.failure(`SELECT ${call}`)).toBe('42501');
    }
  });

  it('is not helped by what a session can set: roles, paths, row security, tables of the same name', async () => {
    const count = async (): Promise<unknown> =>
      (await reader.rows('SELECT count(*)::int AS count FROM analytics.calls'))[0]!.count;
    for (const statement of [
      'SET ROLE postgres',
      `SET ROLE ${operators.name}`,
      'SET SESSION AUTHORIZATION postgres',
      `SET SESSION AUTHORIZATION ${operators.name}`,
      `GRANT ${operators.name} TO ${reader.name}`,
      `ALTER ROLE ${reader.name} BYPASSRLS`,
    ]) {
      expect(await reader.failure(statement)).toMatch(/^(42501|42P01|0LP01)$/);
    }
    await reader.client.query('SET row_security = off');
    await expect(reader.rows('SELECT * FROM analytics.calls')).rejects.toMatchObject({ code: '42501' });
    await reader.client.query('RESET row_security');
    await reader.client.query(`SET default_transaction_read_only = off; SET search_path = pg_temp, analytics, public`);
    await reader.client
      .query(`CREATE TEMP TABLE sql_roles (name text, organization_id text); INSERT INTO sql_roles VALUES ('${reader.name}', NULL);
      CREATE TEMP TABLE price_changes (book bigint); CREATE TEMP TABLE llm_usage (organization_id text);
      CREATE FUNCTION pg_temp.reader() RETURNS text LANGUAGE sql AS $$ SELECT '*' $$`);
    expect(await count()).toBe(32);
    expect(found(await everything(reader))).toEqual([]);
    await reader.client.query('DISCARD TEMP; RESET ALL');
  });

  it('learns nothing by conditions that tell what they were asked about', async () => {
    await reader.client.query('SET default_transaction_read_only = off');
    await reader.client.query(`
      CREATE FUNCTION pg_temp.tells(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'told: % %', $1, $2; RETURN true; END $$;
      CREATE FUNCTION pg_temp.same(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'told: % %', $1, $2; RETURN $1 = $2; END $$;
      CREATE OPERATOR pg_temp.=== (LEFTARG = text, RIGHTARG = text, PROCEDURE = pg_temp.same)`);
    const told: string[] = [];
    reader.client.on('notice', (notice) => void told.push(String(notice.message)));
    const columns: Record<string, [string, string]> = {
      'analytics.calls': ['id', 'user_id'],
      'analytics.usage_daily': ['organization_id', 'model'],
      'analytics.spend': ['organization_id', 'project_id'],
      'analytics.spend_by_user': ['user_id', 'model'],
      'analytics.usage_quarter_hourly': ['organization_id', 'model'],
      'analytics.adjustments': ['organization_id', 'project_id'],
      'analytics.budgets': ['budget_id', 'subject_id'],
      'analytics.prices': ['organization_id', 'note'],
      'public.llm_usage': ['id', 'user_id'],
      'public.model_prices': ['organization_id', 'note'],
      'public.usage_daily': ['organization_id', 'model'],
      'weir.reader_rows': ['organization_id', 'user_id'],
    };
    // Whoever wants to know more chooses the plan: in a scan of everything the cheapest condition is asked first.
    for (const scans of ['on', 'off'])
      for (const [name, [one, two]] of Object.entries(columns)) {
        await reader.client.query(
          `SET enable_indexscan = ${scans}; SET enable_bitmapscan = ${scans}; SET enable_indexonlyscan = ${scans}`,
        );
        for (const condition of [`pg_temp.tells(${one}::text, ${two}::text)`, `${one} OPERATOR(pg_temp.===) ${two}`])
          await reader.rows(`SELECT 1 FROM ${name} WHERE ${condition}`).catch(() => []);
        // An error names the value that it is about.
        const error: Error = await reader.rows(`SELECT 1 FROM ${name} WHERE ${one}::int > 0`).then(
          () => new Error('none'),
          (failure) => failure,
        );
        told.push(error.message);
        const plan = await reader
          .rows(`EXPLAIN (ANALYZE, VERBOSE, BUFFERS OFF) SELECT * FROM ${name} WHERE ${one} <> 'x'`)
          .catch(() => []);
        told.push(JSON.stringify(plan));
      }
    expect(told.length).toBeGreaterThan(100);
    expect(told.some((text) => text.includes(acme.users[0]!.id))).toBe(true);
    expect(
      told.filter((text) => foreign.some((value) => text.includes(value))).map((text) => text.slice(0, 200)),
    ).toEqual([]);
    await reader.client.query('RESET ALL');
  });

  it('reads no secret, no message, no e-mail address', async () => {
    const secret: Record<string, string> = {
      api_tokens: 'hash',
      virtual_keys: 'secret',
      idempotency_keys: 'input_hash',
      messages: 'content',
      conversations: 'title',
      call_checkpoints: 'content',
      calls_in_flight: 'id',
      users: 'email, external_id',
      plans: 'name',
      sql_roles: 'name',
      usage_batches: 'organization_id',
      price_change_parts: 'organizations',
      usage_daily_overall: 'cost',
      llm_calls: 'id',
      owners: 'id',
      installation: 'id',
      weir_migrations: 'name',
    };
    for (const [table, columns] of Object.entries(secret)) {
      for (const column of columns.split(', '))
        for (const session of [reader, operators])
          expect([table, column, await session.failure(`SELECT ${column} FROM public.${table}`)]).toEqual([
            table,
            column,
            '42501',
          ]);
    }
  });

  it('writes nothing, also where it takes back that its sessions only read', async () => {
    for (const { name, columns } of (await relations()).filter((relation) =>
      /^(public|analytics|weir)\./.test(relation.name),
    )) {
      for (const session of [reader, operators]) {
        for (const statement of [
          `DELETE FROM ${name}`,
          `UPDATE ${name} SET ${columns[0]} = NULL`,
          `INSERT INTO ${name} DEFAULT VALUES`,
          `TRUNCATE ${name}`,
          `LOCK TABLE ${name} IN EXCLUSIVE MODE`,
        ]) {
          // Views of several tables cannot be written to at all, whoever asks.
          expect([statement, await session.failure(statement)]).toEqual([
            statement,
            expect.stringMatching(/^(42501|55000|42809|428C9)$/),
          ]);
        }
      }
    }
    for (const statement of [
      'CREATE TABLE public.mine ()',
      'CREATE TABLE analytics.mine ()',
      'CREATE TABLE weir.mine ()',
      'CREATE SCHEMA mine',
      'CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
      'CREATE ROLE mine',
      `COPY (SELECT 1) TO PROGRAM 'true'`,
      `SELECT pg_read_file('/etc/passwd')`,
    ]) {
      expect([statement, await reader.failure(statement)]).toEqual([statement, '42501']);
    }
    const [defaults] = await reader.rows(
      `SELECT current_setting('default_transaction_read_only') AS read_only, current_setting('statement_timeout') AS timeout, current_setting('TimeZone') AS zone`,
    );
    expect(defaults).toEqual({ read_only: 'on', timeout: '1min', zone: 'UTC' });
  });
});

it('hears no budget of another organisation by listening to what servers tell each other', async () => {
  const heard: (string | undefined)[] = [];
  reader.client.on('notification', ({ payload }) => void heard.push(payload));
  await reader.client.query('LISTEN weir_budget_alerts');
  await scene.db.query(`UPDATE budgets SET limit_amount = 0.0000001 WHERE organization_id = $1`, [
    umbra.organizationId,
  ]);
  await scene.db.query(
    `SELECT ${notifyAlerts('weir.check_alerts(organization_id, array_agg(id))')} FROM budgets WHERE organization_id = $1 GROUP BY organization_id`,
    [umbra.organizationId],
  );
  await waitFor(async () => heard.length > 0, { what: 'a notification' });
  expect(new Set(heard)).toEqual(new Set(['']));
  await reader.client.query('UNLISTEN *');
});

describe('what lets a role read', () => {
  const made: string[] = [];
  afterAll(async () => {
    for (const name of made)
      await scene.db.query(`DROP OWNED BY ${escapeIdentifier(name)}; DROP ROLE ${escapeIdentifier(name)}`);
  });

  /** A role as others may make it, with one or both of what SqlRoles gives. */
  async function outsider(name: string, { group = false, right = false } = {}): Promise<Client> {
    await scene.db.query(`CREATE ROLE ${escapeIdentifier(name)} LOGIN PASSWORD 'secret'`);
    made.push(name);
    const [{ readers }] = (await scene.db.query('SELECT weir.reader_group() AS readers')) as [{ readers: string }];
    if (group) await scene.db.query(`GRANT ${readers} TO ${escapeIdentifier(name)}`);
    if (right) await scene.db.query(`GRANT EXECUTE ON FUNCTION weir.reader() TO ${escapeIdentifier(name)}`);
    return connectAs(scene.database.url, name, 'secret');
  }
  const COUNT =
    'SELECT (SELECT count(*) FROM analytics.calls)::int AS calls, (SELECT count(*) FROM analytics.spend)::int AS spend, (SELECT count(*) FROM analytics.prices)::int AS prices';
  const NOTHING = { calls: 0, spend: 0, prices: 0 };
  const count = async (client: Client, sql = COUNT): Promise<unknown> => (await client.query(sql)).rows[0];
  const suffix = (): string => randomBytes(4).toString('hex');

  it('is its name and a right of its own: with one of them alone it sees nothing', async () => {
    for (const start of [`weir_sql_${acme.organizationId}`, 'weir_sql_all']) {
      const named = await outsider(`${start}_${suffix()}`, { group: true });
      expect(await count(named)).toEqual(NOTHING);
      await named.end();
      const alone = await outsider(`${start}_${suffix()}`);
      await expect(count(alone)).rejects.toMatchObject({ code: '42501' });
      await alone.end();
      const both = await outsider(`${start}_${suffix()}`, { group: true, right: true });
      expect(await count(both)).toMatchObject({ calls: start === 'weir_sql_all' ? 64 : 32 });
      await both.end();
    }
  });

  it('is taken back with the right, whatever else the role has', async () => {
    const roles = new SqlRoles(scene.db);
    const { name, password } = await roles.create({ organization: acme.organizationId, role: null });
    const client = await connectAs(scene.database.url, name, password!);
    expect(await count(client)).toMatchObject({ calls: 32 });
    await scene.db.query(`REVOKE EXECUTE ON FUNCTION weir.reader() FROM ${name}`);
    await client.end();
    const again = await connectAs(scene.database.url, name, password!);
    expect(await count(again)).toEqual(NOTHING);
    await again.end();
    await roles.drop(name);
    await expect(connectAs(scene.database.url, name, password!)).rejects.toMatchObject({ code: '28P01' });
  });

  it("is not what it has as a member of another role: neither that one's right nor its name", async () => {
    // Up to PostgreSQL 15 every role may make others a member of itself.
    const operator = await outsider(`weir_sql_all_${suffix()}`);
    await scene.db.query(`GRANT ${reader.name} TO ${made.at(-1)}`);
    expect(await count(operator)).toEqual(NOTHING);
    await operator.query(`SET ROLE ${reader.name}`);
    expect(await count(operator)).toEqual(NOTHING);
    await operator.end();
    const two = await outsider(`weir_sql_${acme.organizationId}_${suffix()}`, { group: true, right: true });
    await scene.db.query(`GRANT ${operators.name} TO ${made.at(-1)}`);
    await two.query(`SET ROLE ${operators.name}`);
    expect(await count(two)).toMatchObject({ calls: 32 });
    await two.end();
  });

  it('is who is logged in, also for a superuser that takes on the roles of others, and for what it has prepared', async () => {
    const superuser = new Client({ connectionString: scene.database.url });
    await superuser.connect();
    await superuser.query(`PREPARE counts AS ${COUNT}`);
    for (const [statement, calls] of [
      [`SET SESSION AUTHORIZATION ${reader.name}`, 32],
      [`SET SESSION AUTHORIZATION ${operators.name}`, 64],
      ['RESET SESSION AUTHORIZATION', 64],
      [`SET SESSION AUTHORIZATION ${reader.name}`, 32],
    ] as const) {
      await superuser.query(statement);
      for (let n = 0; n < 7; n += 1) expect(await count(superuser, 'EXECUTE counts')).toMatchObject({ calls });
      await superuser.query('RESET SESSION AUTHORIZATION');
    }
    await superuser.end();
  });

  it('reads no name in two ways, nor one of another form', async () => {
    const { organizationId } = acme;
    const names = [
      'weir_sql_all',
      'weir_sql_all_',
      'weir_sql_all_x_y',
      'weir_sql_all_X',
      'weir_sql_all_x ',
      'weir_sql_all_x\n',
      'weir_sql_all_é',
      'xweir_sql_all_x',
      '\nweir_sql_all_x',
      'weir_sql_*_x',
      'weir_sql__x',
      'weir_sql_org_all_x',
      `weir_sql_${organizationId}`,
      `weir_sql_${organizationId}_`,
      `weir_sql_${organizationId}_x_y`,
      `weir_sql_${organizationId}x_y`,
      `weir_sql_${organizationId.slice(0, -1)}_x`,
      `weir_sql_x_${organizationId}_x`,
      `weir_sql_${organizationId.toUpperCase()}_x`,
    ];
    for (const name of names) {
      const client = await outsider(name, { group: true, right: true });
      expect([name, await count(client)]).toEqual([name, NOTHING]);
      await client.end();
    }
  });

  it('gives no role to an organisation whose id is not of our form, and could be read as another one or as all', async () => {
    const ids = ['all', 'org', '*', `${acme.organizationId}_x`, `${acme.organizationId}x`];
    for (const id of ids) {
      await scene.db.query('INSERT INTO organizations (id, name) VALUES ($1, $2)', [id, `crafted ${id}`]);
      for (const role of [null, `weir_sql_${id}_x`])
        await expect(new SqlRoles(scene.db).create({ organization: id, role })).rejects.toThrow('not of our form');
    }
    await scene.db.query('DELETE FROM organizations WHERE id = ANY ($1)', [ids]);
  });

  it('is of one installation: another one at the same server shows its roles nothing', async () => {
    const other = await createTestDatabase({ poolSize: 2 });
    try {
      await other.db.query(`UPDATE installation SET id = 'other'`);
      await other.db.query('INSERT INTO organizations (id, name) VALUES ($1, $2)', [
        acme.organizationId,
        'the same id',
      ]);
      const own = await createReader(other, null);
      expect((await own.rows('SELECT count(*)::int AS count FROM public.organizations'))[0]).toEqual({ count: 1 });
      for (const { name, password } of [reader, operators]) {
        const visitor = await connectAs(other.url, name, password);
        await expect(visitor.query('SELECT name FROM public.organizations')).rejects.toMatchObject({ code: '42501' });
        await other.db.query(`GRANT weir_readers_other TO ${name}`);
        expect((await visitor.query('SELECT name FROM public.organizations')).rows).toEqual([]);
        await other.db.query(`REVOKE weir_readers_other FROM ${name}`);
        await visitor.end();
      }
      await own.close();
    } finally {
      await other.close();
      await scene.db.query('DROP ROLE IF EXISTS weir_readers_other');
    }
  });
});

it('ends the sessions of a role that is dropped', async () => {
  const extra = await createReader(scene.database, umbra.organizationId);
  const ended = new Promise((resolve) => extra.client.once('end', resolve));
  await new SqlRoles(scene.db).drop(extra.name);
  await ended;
});

it('puts no condition on what the application reads', async () => {
  const [plan] = await scene.db.query<{ 'QUERY PLAN': unknown }>(
    'EXPLAIN (FORMAT JSON) SELECT count(*) FROM llm_usage, budgets, usage_daily, model_prices',
  );
  expect(JSON.stringify(plan)).not.toContain('Filter');
  expect(
    JSON.stringify(
      (await operators.rows(`EXPLAIN (FORMAT JSON) SELECT count(*) FROM public.budget_periods, public.usage_daily`))[0],
    ),
  ).not.toContain('Filter');
  expect(
    JSON.stringify((await reader.rows(`EXPLAIN (FORMAT JSON) SELECT count(*) FROM public.usage_daily`))[0]),
  ).toContain(acme.organizationId);
});
