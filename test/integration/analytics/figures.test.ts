import { Decimal } from '../../../src/lib/decimal';
import { percentilesOf } from '../../../src/services/usage/histogram';
import type { CallFacts } from '../../../src/domain/call';
import { callFacts } from '../../support/call-ends';
import { createReader, type SqlReader } from '../../support/sql-reader';
import { waitFor } from '../../support/wait';
import { plain, Scene } from './scene';

const FROM = '2026-10-01T00:00:00Z';
const TO = '2026-11-21T00:00:00Z';

let scene: Scene;
let all: SqlReader;
let acme: SqlReader;
beforeAll(async () => {
  scene = await Scene.create(['acme', 'umbra'], 7);
  all = await createReader(scene.database, null);
  acme = await createReader(scene.database, scene.tenants[0]!.organizationId);
});
afterAll(async () => {
  await all?.close();
  await acme?.close();
  await scene?.database.close();
});

const MEASURES = [
  'calls',
  'failed_calls',
  'prompt_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'completion_tokens',
  'reasoning_tokens',
  'unpriced_calls',
];
/** The one truth: every entry, row by row. */
const entries = (keys: string, where = 'true'): string => `
  SELECT ${keys}, ${MEASURES.map((name) => `sum(${name}) AS ${name}`).join(', ')}, CASE WHEN sum(priced_calls) = 0 THEN NULL ELSE sum(cost) END AS cost,
    sum(latency_histogram) AS latency_histogram, sum(latency_ms) AS latency_ms_sum, sum(first_token_histogram) AS first_token_histogram
  FROM (SELECT e.*, nullif(project_id, '') AS project, nullif(provider, '') AS vendor FROM
    (SELECT organization_id, occurred_at, settled_at, day, quarter, user_id, project_id, model, provider, upstream, scenario, status, entry_at, ${MEASURES.join(', ')}, cost, priced_calls, latency_histogram, latency_ms, first_token_histogram, 'row' AS source FROM weir.row_entries
     UNION ALL SELECT organization_id, occurred_at, settled_at, day, quarter, user_id, project_id, model, provider, upstream, scenario, status, entry_at, ${MEASURES.join(', ')}, cost, priced_calls, latency_histogram, latency_ms, first_token_histogram, 'price' FROM weir.price_entries) AS e) AS e
  WHERE ${where} GROUP BY ${keys} HAVING sum(calls) <> 0 ORDER BY ${keys}`;
const COMMON = `${MEASURES.join(', ')}, cost`;
const LATENCY = 'latency_histogram, latency_ms_sum, first_token_histogram';
const without = <T extends object>(rows: T[], ...names: string[]): unknown[] =>
  rows.map((row) => plain(Object.fromEntries(Object.entries(row).filter(([name]) => !names.includes(name)))));

/** Every view says what the entries say, whatever is in the cubes. */
async function compareViews(): Promise<void> {
  const { db } = scene;
  const truth = async (keys: string, where?: string): Promise<Record<string, unknown>[]> =>
    db.query(entries(keys, where));
  const usageKeys = 'organization_id, day::text, model, vendor, upstream, scenario, status';
  expect(
    without(
      await all.rows(
        `SELECT organization_id, day::text, model, provider AS vendor, upstream, scenario, status, ${COMMON}, ${LATENCY} FROM analytics.usage_daily ORDER BY 1, 2, 3, 4, 5, 6, 7`,
      ),
    ),
  ).toEqual(without(await truth(usageKeys)));
  const spendKeys = 'organization_id, day::text, project, model';
  expect(
    without(
      await all.rows(
        `SELECT organization_id, day::text, project_id AS project, model, ${COMMON} FROM analytics.spend ORDER BY 1, 2, 3, 4`,
      ),
    ),
  ).toEqual(without(await truth(spendKeys), ...LATENCY.split(', ')));
  expect(
    without(
      await all.rows(
        `SELECT organization_id, day::text, user_id, model, ${COMMON} FROM analytics.spend_by_user ORDER BY 1, 2, 3, 4`,
      ),
    ),
  ).toEqual(without(await truth('organization_id, day::text, user_id, model'), ...LATENCY.split(', ')));
  const recent = `quarter >= date_trunc('day', weir.now(), 'UTC') - interval '59 days'`;
  expect(
    without(
      await all.rows(
        `SELECT organization_id, at AS quarter, model, ${COMMON}, ${LATENCY} FROM analytics.usage_quarter_hourly ORDER BY 1, 2, 3`,
      ),
    ),
  ).toEqual(without(await truth('organization_id, quarter, model', recent)));
  // Single calls: the same sums from what is true of each now.
  expect(
    without(
      await all.rows(`
    SELECT organization_id, (occurred_at AT TIME ZONE 'UTC')::date::text AS day, project_id AS project, model, count(*) AS calls, count(*) FILTER (WHERE status IN ('FAILED', 'LOST')) AS failed_calls,
      sum(prompt_tokens) AS prompt_tokens, sum(cache_read_tokens) AS cache_read_tokens, sum(cache_write_tokens) AS cache_write_tokens, sum(completion_tokens) AS completion_tokens,
      sum(reasoning_tokens) AS reasoning_tokens, count(*) FILTER (WHERE cost IS NULL AND total_tokens > 0) AS unpriced_calls, sum(cost) AS cost
    FROM analytics.calls GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`),
    ),
  ).toEqual(without(await truth(spendKeys), ...LATENCY.split(', ')));
  // What was booked when it happened, and every later difference.
  const [booked] = await db.query<{ cost: string }>(
    `SELECT sum(cost) AS cost FROM weir.row_entries WHERE entry_at = '-infinity'`,
  );
  const [adjusted] = await all.rows('SELECT coalesce(sum(cost), 0) AS cost FROM analytics.adjustments');
  const [now] = await all.rows('SELECT sum(cost) AS cost FROM analytics.spend');
  expect(Decimal.parse(booked!.cost).plus(Decimal.parse(adjusted!.cost)).toString()).toBe(plain(now!.cost));
}

it('tells the same digits in every view, whatever of batches and price changes is in the cubes', async () => {
  const [one, two] = scene.tenants as [Scene['tenants'][0], Scene['tenants'][0]];
  await scene.clock('2026-10-01T00:00:00Z');
  await scene.price({
    model: 'direct/small',
    effectiveFrom: '2026-09-01T00:00:00Z',
    input: '0.15',
    output: '0.6',
    cacheReadPerMillion: '0.01',
  });
  await scene.price({
    model: 'direct/large',
    effectiveFrom: '2026-09-01T00:00:00Z',
    input: '2.5',
    output: '10',
    reasoningPerMillion: '12',
  });
  for (let day = 1; day <= 20; day += 1) {
    const at = `2026-11-${String(day).padStart(2, '0')}T${String((day * 5) % 24).padStart(2, '0')}:10:00Z`;
    await scene.clock(new Date(Date.parse(at) + (scene.random.chance(0.2) ? 7_200_000 : 90_000)).toISOString());
    const ends = await scene.settle(one, at, 6);
    await scene.settle(two, at, 4);
    if (scene.random.chance(0.5)) await scene.correct(scene.random.pick(ends));
    if (day === 5)
      await scene.price({ model: 'direct/small', effectiveFrom: '2026-11-02T00:00:00Z', input: '0.2', output: '0.61' });
    if (day === 9)
      await scene.price({
        model: 'direct/new',
        effectiveFrom: '2026-10-01T00:00:00Z',
        input: '1',
        output: '3',
        perRequest: '0.01',
      });
    if (day === 12)
      await scene.price({
        model: 'direct/large',
        organizationId: two.organizationId,
        effectiveFrom: '2026-11-03T00:00:00Z',
        input: '1.25',
        output: '5',
      });
    if (day === 14)
      await scene.price({
        model: 'direct/large',
        effectiveFrom: '2026-11-04T00:00:00Z',
        effectiveTo: '2026-11-13T12:00:00Z',
        input: '2.75',
        output: '11',
      });
    if (day === 16) await scene.correct(scene.random.pick(scene.settled.slice(0, 40)));
    await scene.foldAtRandom(FROM, TO);
    if (day % 4 === 0) await compareViews();
  }
  const [batches] = await scene.db.query<{ count: string }>('SELECT count(*) FROM usage_batches');
  const [changes] = await scene.db.query<{ count: string }>(
    `SELECT count(*) FROM price_changes WHERE folded_before < 'infinity'`,
  );
  expect(Number(batches!.count)).toBeGreaterThan(0);
  expect(Number(changes!.count)).toBeGreaterThan(1);
  await compareViews();
  await scene.fold(1_000_000);
  await scene.foldPrices('infinity');
  await compareViews();
});

it('tells the same while others fold: a statement sees a batch either in the cubes or beside them', async () => {
  const [umbra] = scene.tenants.slice(1) as [Scene['tenants'][0]];
  await scene.clock('2026-11-20T12:00:00Z');
  for (let n = 0; n < 40; n += 1) await scene.settle(umbra, `2026-11-20T0${n % 9}:00:00Z`, 2);
  await scene.price({ model: 'direct/small', effectiveFrom: '2026-10-20T00:00:00Z', input: '0.3', output: '0.9' });
  const ask = async (): Promise<unknown> =>
    (
      await all.rows(
        `SELECT (SELECT sum(cost) FROM analytics.spend) AS one, (SELECT sum(cost) FROM analytics.usage_daily) AS two, (SELECT sum(calls) FROM analytics.spend_by_user) AS calls, (SELECT sum(cost) FROM analytics.adjustments) AS later`,
      )
    )[0];
  const first = await ask();
  let folds = 0;
  let asked = 0;
  let isAsking = true;
  const folding = (async () => {
    for (; (await scene.db.query('SELECT FROM usage_batches LIMIT 1')).length > 0; folds += 1) {
      await scene.fold(3);
      await scene.foldPrices(new Date(Date.parse('2026-11-01') + folds * 43_200_000).toISOString());
      // In step, however slow either is: between two ends of a question there is no more than one fold.
      const seen = asked;
      await waitFor(() => asked > seen || !isAsking, { what: 'the next answer' });
    }
  })();
  let ended = false;
  const watched = folding.finally(() => (ended = true));
  try {
    for (; !ended; asked += 1) expect(await ask()).toEqual(first);
  } finally {
    isAsking = false;
    await watched;
  }
  expect(folds).toBeGreaterThan(10);
});

it('tells as of a time what was told then, also where calls were settled late and prices have changed since', async () => {
  const times = (
    await scene.db.query<{ at: Date }>(
      `SELECT DISTINCT settled_at AS at FROM llm_usage UNION SELECT recorded_at FROM price_changes ORDER BY 1`,
    )
  ).map((row) => row.at);
  await scene.clock('2026-11-21T12:00:00Z');
  for (let n = 0; n < 12; n += 1) {
    const asOf = new Date(scene.random.pick(times).getTime() + scene.random.pick([-1, 0, 1])).toISOString();
    const where = `CASE source WHEN 'row' THEN settled_at <= '${asOf}' ELSE entry_at <= '${asOf}' END`;
    for (const [from, to] of [
      ['2026-10-01', '2026-12-01'],
      [asOf.slice(0, 10), '2026-11-30'],
      ['2026-11-03', '2026-11-08'],
    ]) {
      const span = `${where} AND day >= '${from}' AND day < '${to}'`;
      expect(
        without(
          await all.rows(
            `SELECT organization_id, day::text, project_id AS project, model, ${COMMON} FROM analytics.spend_as_of($1, $2, $3) ORDER BY 1, 2, 3, 4`,
            [asOf, from, to],
          ),
        ),
      ).toEqual(
        without(
          await scene.db.query(entries('organization_id, day::text, project, model', span)),
          ...LATENCY.split(', '),
        ),
      );
      expect(
        without(
          await all.rows(
            `SELECT model, status, sum(cost) AS cost, sum(calls) AS calls FROM analytics.usage_as_of($1, $2, $3) GROUP BY 1, 2 ORDER BY 1, 2`,
            [asOf, from, to],
          ),
        ),
      ).toEqual(
        without(await scene.db.query(entries('model, status', span))).map((row) => {
          const { model, status, cost, calls } = row as Record<string, unknown>;
          return { model, status, cost, calls };
        }),
      );
    }
  }
});

it('refuses an as-of time whose calls may still be on their way, and one whose calls were removed', async () => {
  await expect(
    all.rows(`SELECT * FROM analytics.usage_as_of('2026-11-21T11:59:45Z', '2026-11-01', '2026-12-01')`),
  ).rejects.toThrow('20 seconds');
  await expect(
    all.rows(`SELECT * FROM analytics.spend_as_of('2027-01-01', '2026-11-01', '2026-12-01')`),
  ).rejects.toThrow('20 seconds');
  await scene.db.query(`UPDATE usage_retention SET dropped_before = '2026-11-10'`);
  try {
    await expect(
      all.rows(`SELECT * FROM analytics.spend_as_of('2026-11-05 12:00+00', '2026-11-01', '2026-12-01')`),
    ).rejects.toThrow('2026-11-05');
    // An invoice is of days before the time that it is asked as of, and is told forever.
    expect(
      (await all.rows(`SELECT * FROM analytics.spend_as_of('2026-11-05 12:00+00', '2026-11-01', '2026-11-05')`)).length,
    ).toBeGreaterThan(0);
  } finally {
    await scene.db.query(`UPDATE usage_retention SET dropped_before = '-infinity'`);
  }
});

it('names for each adjustment the price record that made it', async () => {
  const rows = await all.rows(
    `SELECT DISTINCT kind, price_number FROM analytics.adjustments ORDER BY kind, price_number`,
  );
  const changes = await scene.db.query<{ book: string }>('SELECT DISTINCT book FROM weir.price_entries ORDER BY book');
  expect(changes.length).toBeGreaterThan(3);
  expect(rows.filter((row) => row.kind === 'PRICE_CHANGE').map((row) => row.price_number)).toEqual(
    changes.map((row) => row.book),
  );
  expect(rows.filter((row) => row.kind === 'LATER_ENTRY')).toEqual([{ kind: 'LATER_ENTRY', price_number: null }]);
  const [recorded] = await all.rows(
    `SELECT count(*) FROM analytics.adjustments AS a JOIN analytics.prices AS p ON p.price_number = a.price_number WHERE a.entry_at <> p.recorded_at`,
  );
  expect(recorded).toEqual({ count: '0' });
});

it('adds the parts of a call up to its cost, by the price that it names', async () => {
  const rows = await acme.rows(
    'SELECT cost, cost_input + cost_cache_read + cost_cache_write + cost_output + cost_reasoning + cost_request AS parts, price_number, booked_cost FROM analytics.calls',
  );
  expect(rows.length).toBeGreaterThan(100);
  for (const row of rows) expect(plain(row.parts)).toBe(plain(row.cost));
  expect(rows.some((row) => row.booked_cost !== row.cost)).toBe(true);
  expect(rows.every((row) => (row.price_number === null) === (row.cost === null))).toBe(true);
});

it('has a comment on every view, every column and every function', async () => {
  const missing = await scene.db.query<{ name: string }>(`
    SELECT c.relname || '.' || coalesce(a.attname, '') AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE n.nspname = 'analytics' AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
    UNION ALL SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'analytics'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL`);
  expect(missing).toEqual([]);
  const views = await scene.db.query<{ name: string }>(
    `SELECT viewname AS name FROM pg_views WHERE schemaname = 'analytics' ORDER BY 1`,
  );
  expect(views.map((row) => row.name)).toEqual([
    'adjustments',
    'budgets',
    'calls',
    'prices',
    'reconciliations',
    'spend',
    'spend_by_user',
    'usage_daily',
    'usage_quarter_hourly',
  ]);
});

it('gives an analyst with each call how it came and what was known of it then', async () => {
  await scene.clock('2026-11-21T12:10:00Z');
  const facts = callFacts({
    door: 'OPENAI_CHAT_COMPLETIONS' as CallFacts['door'],
    operation: 'EMBEDDING',
    planId: 'pln_1',
    sessionId: 'session-1',
    tags: ['nightly', 'search'],
    maxTokens: 777,
    routeRule: 'long prompts',
    reasoningEffort: 'high',
    endUser: 'hidden',
    callHash: 'hidden',
    requestId: 'hidden',
  });
  const [end] = await scene.settle(scene.tenants[0]!, '2026-11-21T12:09:00Z', 1, { facts });
  const [usual] = await scene.settle(scene.tenants[0]!, '2026-11-21T12:09:00Z', 1);
  await scene.db.query(
    `UPDATE llm_usage SET cache_use = 'HIT', usage_source = 'CACHE', budget_left = 1.5, budget_left_percent = 30 WHERE organization_id = $1 AND id = $2`,
    [end!.organizationId, end!.id],
  );
  const columns =
    'door, operation, plan_id, session_id, tags, cache_use, usage_source, budget_left, budget_left_percent, max_tokens, route_rule, reasoning_effort';
  expect(await acme.rows(`SELECT ${columns} FROM analytics.calls WHERE id = $1`, [end!.id])).toEqual([
    {
      door: 'OPENAI_CHAT_COMPLETIONS',
      operation: 'EMBEDDING',
      plan_id: 'pln_1',
      session_id: 'session-1',
      tags: ['nightly', 'search'],
      cache_use: 'HIT',
      usage_source: 'CACHE',
      budget_left: '1.5',
      budget_left_percent: '30',
      max_tokens: 777,
      route_rule: 'long prompts',
      reasoning_effort: 'high',
    },
  ]);
  expect(
    await acme.rows(`SELECT tags, cache_use, budget_left, route_rule FROM analytics.calls WHERE id = $1`, [usual!.id]),
  ).toEqual([{ tags: [], cache_use: 'NO', budget_left: null, route_rule: null }]);
});

it('lets readers execute and read what the views need, and not a relation, function or column of a call more', async () => {
  const [{ readers }] = (await scene.db.query('SELECT weir.reader_group() AS readers')) as [{ readers: string }];
  // What the views of analytics and of readers name, by Postgres' own account. Views that read with their owner's
  // rights need nothing of the reader but their functions.
  const needed = await scene.db.query<{ what: string }>(`
    WITH made AS (
      SELECT r.oid, 'pg_rewrite'::regclass AS class, n.nspname = 'analytics' AS invokes FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'analytics' OR c.relname ~ '^reader_|_entries$'
      UNION ALL SELECT p.oid, 'pg_proc'::regclass, true FROM pg_proc AS p WHERE p.pronamespace = 'analytics'::regnamespace
      UNION ALL SELECT p.oid, 'pg_policy'::regclass, true FROM pg_policy AS p)
    SELECT DISTINCT CASE WHEN a.attname IS NULL THEN c.oid::regclass::text ELSE c.relname || '.' || a.attname END AS what
      FROM made AS m JOIN pg_depend AS d ON d.classid = m.class AND d.objid = m.oid AND d.refclassid = 'pg_class'::regclass AND m.invokes AND m.class <> 'pg_policy'::regclass JOIN pg_class AS c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'v')
      LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND c.relname IN ('llm_usage', 'users', 'projects', 'organizations') WHERE c.relnamespace <> 'analytics'::regnamespace
    UNION SELECT p.oid::regprocedure::text FROM made AS m JOIN pg_depend AS d ON d.classid = m.class AND d.objid = m.oid AND d.refclassid = 'pg_proc'::regclass JOIN pg_proc AS p ON p.oid = d.refobjid WHERE p.pronamespace = 'weir'::regnamespace`);
  const granted = await scene.db.query<{ what: string }>(
    `
    SELECT c.oid::regclass::text AS what FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE a.grantee = $1::regrole AND c.relnamespace <> 'analytics'::regnamespace
    UNION ALL SELECT c.relname || '.' || t.attname FROM pg_attribute AS t JOIN pg_class AS c ON c.oid = t.attrelid, aclexplode(t.attacl) AS a WHERE a.grantee = $1::regrole
    UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc AS p, aclexplode(p.proacl) AS a WHERE a.grantee = $1::regrole AND p.pronamespace = 'weir'::regnamespace`,
    [readers],
  );
  const sorted = (rows: { what: string }[]): string[] => rows.map(({ what }) => what).sort();
  expect(sorted(granted)).toEqual(sorted(needed));
  // And it is enough where nobody may execute functions that were not given to them.
  await scene.db.query('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA weir, analytics FROM PUBLIC');
  const careful = await createReader(scene.database, scene.tenants[0]!.organizationId);
  for (const view of [
    'adjustments',
    'budgets',
    'calls',
    'prices',
    'reconciliations',
    'spend',
    'spend_by_user',
    'usage_daily',
    'usage_quarter_hourly',
  ])
    await careful.rows(`SELECT * FROM analytics.${view}`);
  for (const name of ['usage_as_of', 'spend_as_of'])
    expect(
      (await careful.rows(`SELECT * FROM analytics.${name}('2026-11-21 11:00+00', '2026-11-01', '2026-12-01')`)).length,
    ).toBeGreaterThan(0);
  await careful.close();
});

it('reads percentiles as Node does, whatever the histogram', async () => {
  const { random } = scene;
  for (let n = 0; n < 60; n += 1) {
    const counts = Array.from({ length: 64 }, () =>
      random.chance(0.15) ? random.int(1, random.pick([1, 3, 400, 900_000_000])) : 0,
    );
    const total = counts.reduce((sum, count) => sum + count, 0);
    const packed = counts
      .map((count) => String(count).padStart(12, '0'))
      .reverse()
      .join('');
    const percents = [1, 50, 95, 99, 100];
    const [row] = await acme.rows(
      `SELECT ${percents.map((percent) => `analytics.percentile($1, ${percent / 100}) AS p${percent}`).join(', ')}`,
      [packed],
    );
    expect(percents.map((percent) => row![`p${percent}`])).toEqual(percentilesOf(packed, total, percents));
  }
});

it('refuses a percentile of a share that is none', async () => {
  for (const fraction of ['95', '-0.01', '1.000001', `'NaN'`, `'Infinity'`])
    await expect(acme.rows(`SELECT analytics.percentile(1, ${fraction})`)).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining('is no share of the calls; 0.95 means 95 %'),
    });
  expect(
    await acme.rows('SELECT analytics.percentile(1, 0) AS none, analytics.percentile(1, 1) AS all_of_them'),
  ).toEqual([{ none: 5, all_of_them: 5 }]);
});

it('reaches the indexes with the organisation of the reader and the days that are asked', async () => {
  await acme.client.query('SET enable_seqscan = off; SET enable_bitmapscan = off');
  const own = `organization_id = '${scene.tenants[0]!.organizationId}'::text`;
  const plan = async (sql: string): Promise<string> =>
    (await acme.rows(`EXPLAIN (VERBOSE off) ${sql}`)).map((row) => row['QUERY PLAN']).join('\n');
  for (const [view, cube] of [
    ['usage_daily', 'usage_daily'],
    ['spend', 'usage_daily_by_project'],
    ['spend_by_user', 'usage_daily_by_user'],
  ]) {
    // In tables as small as these the index by user may be taken as well: it has the order of the groups.
    const [, condition] = (
      await plan(
        `SELECT model, sum(cost) FROM analytics.${view} WHERE day >= current_date - 30 AND day < '2026-12-01' GROUP BY model`,
      )
    ).split(new RegExp(`Index Scan using ${cube}_(?:pkey|user_id_day_idx) on ${cube} `));
    expect(condition).toContain(
      `Index Cond: ((${own}) AND (day >= (CURRENT_DATE - 30)) AND (day < '2026-12-01'::date))`,
    );
  }
  expect(await plan(`SELECT sum(cost) FROM analytics.usage_quarter_hourly WHERE at >= '2026-11-20'`)).toMatch(
    /Index Cond: \(\(organization_id = 'org_\w+'::text\) AND .*\(at >= '2026-11-20 00:00:00\+00'/,
  );
  expect(await plan(`SELECT sum(cost) FROM analytics.spend_as_of('2026-11-10', '2026-10-01', '2026-11-01')`)).toMatch(
    /Index Cond: \(\(organization_id = 'org_\w+'::text\) AND \(day >= '2026-10-01'::date\) AND \(day < LEAST\('2026-11-01'::date/,
  );
  const calls = await plan(
    `SELECT sum(cost) FROM analytics.calls WHERE occurred_at >= '2026-11-20 00:00+05:30' AND occurred_at < '2026-11-21 00:00+05:30'`,
  );
  expect(calls).toContain(`Index Cond: ((${own}) AND (occurred_at >= '2026-11-19 18:30:00+00'`);
  // Other months are not looked at.
  expect(calls).not.toMatch(/ on llm_usage_2026_12 u_/);
  await acme.client.query('RESET ALL');
});
