import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Client, types } from 'pg';
import { Decimal } from '../../../src/lib/decimal';
import { startTestApp, type TestApp } from '../../support/app';
import { LitellmStandIn } from '../../support/litellm-admin';
import { startLitellmFront, type LitellmFront } from '../../support/litellm-front';
import { startProvider, type FakeProvider } from '../../support/provider';
import { createReader, type SqlReader } from '../../support/sql-reader';
import { plain, Scene, type Tenant } from './scene';

interface Question {
  title: string;
  sql: string[];
  graphql: string[];
}
const DOCUMENT = readFileSync(path.join(__dirname, '../../../docs/analytics.md'), 'utf8');
/** Of the document's last part, by number. */
const questions = new Map<number, Question>(
  DOCUMENT.split(/^### /m)
    .slice(1)
    .map((section): [number, Question] => {
      const blocks = (language: string): string[] =>
        [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1]!);
      return [
        Number.parseInt(section, 10),
        { title: section.split('\n')[0]!, sql: blocks('sql'), graphql: blocks('graphql') },
      ];
    }),
);

let scene: Scene;
let acme: Tenant;
let umbra: Tenant;
let provider: FakeProvider;
let proxy: LitellmStandIn;
let front: LitellmFront;
let app: TestApp;
let analyst: SqlReader;
let operator: SqlReader;
/** Keeps the folders of the app out, so that nothing but this test changes what is in the cubes. */
let folding: Client;

beforeAll(async () => {
  scene = await Scene.create(['acme', 'umbra'], 11);
  [acme, umbra] = scene.tenants as [Tenant, Tenant];
  proxy = await LitellmStandIn.start();
  await history();
  folding = new Client({ connectionString: scene.database.url });
  await folding.connect();
  await folding.query('SELECT pg_advisory_lock(5, 0), pg_advisory_lock(5, 1)');
  provider = await startProvider();
  front = await startLitellmFront({ admin: proxy, providerUrl: provider.url, deployments: [] });
  const upstream = {
    kind: 'LITELLM' as const,
    baseUrl: front.baseUrl,
    masterKey: proxy.masterKey,
    otherwise: { kind: 'DIRECT' as const, baseUrl: provider.url, apiKey: null, provider: 'direct' },
  };
  app = await startTestApp({
    database: scene.database,
    upstream: provider,
    config: { upstream, reconcileAtHour: null },
  });
  await budgets();
  analyst = await createReader(scene.database, acme.organizationId);
  operator = await createReader(scene.database, null);
});
afterAll(async () => {
  await analyst?.close();
  await operator?.close();
  await app?.stop();
  await front?.close();
  await provider?.close();
  await proxy?.stop();
  await folding?.end();
  await scene?.database.close();
});

/** Seven weeks of calls, some settled late, some corrected, with prices that were corrected afterwards. */
async function history(): Promise<void> {
  const { random } = scene;
  await scene.clock('2026-09-30T00:00:00Z');
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
  await scene.price({
    model: 'direct/small',
    organizationId: umbra.organizationId,
    effectiveFrom: '2026-09-01T00:00:00Z',
    input: '0.1',
    output: '0.4',
  });
  for (let day = 0; day < 52; day += 1) {
    // At all hours, so that days in India are others than in UTC.
    const at = new Date(
      Date.parse('2026-09-30T00:00:00Z') +
        day * 86_400_000 +
        random.int(0, 23) * 3_600_000 +
        random.int(0, 58) * 60_000,
    ).toISOString();
    await scene.clock(new Date(Date.parse(at) + (random.chance(0.2) ? 5_400_000 : 120_000)).toISOString());
    const ends = await scene.settle(acme, at, 5);
    await scene.settle(umbra, at, 2);
    if (random.chance(0.4)) await scene.correct(random.pick(ends));
    if (at.startsWith('2026-11-17')) await tuesday();
    if (at.startsWith('2026-11-19'))
      await scene.price({
        model: 'direct/small',
        effectiveFrom: '2026-11-01T00:00:00Z',
        input: '0.16',
        output: '0.64',
      });
  }
  await yesterday();
  await scene.clock('2026-11-21T12:00:00Z');
}

/** The correction that is asked about: a dearer model all October, and a price for one that had none. */
async function tuesday(): Promise<void> {
  await scene.price({
    model: 'direct/large',
    effectiveFrom: '2026-10-01T00:00:00Z',
    effectiveTo: '2026-11-01T00:00:00Z',
    input: '2.75',
    output: '11.01',
    note: 'as invoiced',
  });
  await scene.price({
    model: 'direct/new',
    effectiveFrom: '2026-10-01T00:00:00Z',
    effectiveTo: '2026-11-01T00:00:00Z',
    input: '1',
    output: '3.3',
  });
}

/** Calls through the proxy, which prices some of them by another table. */
async function yesterday(): Promise<void> {
  await scene.clock('2026-11-20T18:05:00Z');
  const [installation] = await scene.db.query<{ id: string }>('SELECT id FROM installation');
  // The proxy knows nothing of this one.
  await scene.settle(acme, '2026-11-20T18:01:00Z', 1, {
    upstream: 'LITELLM',
    model: 'direct/large',
    servedModel: 'direct/large',
    status: 'COMPLETED',
    usageSource: 'PROVIDER',
    errorCode: null,
    tokens: { uncachedPrompt: 777, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 5, reasoning: 0 },
    proxyCost: null,
  });
  for (let n = 0; n < 12; n += 1) {
    const tokens = {
      uncachedPrompt: 1_000 + n,
      cacheRead: n % 3 === 0 ? 100 : 0,
      cacheWrite: 0,
      cacheWriteOneHour: 0,
      output: 200,
      reasoning: 0,
    };
    const ours = Decimal.parse('0.0000025')
      .times(tokens.uncachedPrompt + tokens.cacheRead)
      .plus(Decimal.parse('0.00001').times(200));
    const theirs = n % 3 === 0 ? ours.minus(Decimal.parse('0.0001')) : ours;
    const [end] = await scene.settle(acme, `2026-11-20T18:0${Math.floor(n / 4)}:00Z`, 1, {
      upstream: 'LITELLM',
      model: 'direct/large',
      servedModel: 'direct/large',
      provider: 'openai',
      status: 'COMPLETED',
      usageSource: 'PROVIDER',
      errorCode: null,
      streamed: false,
      timeToFirstTokenMs: null,
      tokens,
      proxyCost: theirs.toString(),
    });
    const prefix = `weir-${installation!.id}-`;
    proxy.record({
      callId: end!.id,
      startTime: end!.occurredAt,
      keyAlias: `${prefix}${end!.userId}`,
      teamId: `${prefix}${acme.planId}`,
      modelGroup: 'direct/large',
      promptTokens: tokens.uncachedPrompt + tokens.cacheRead,
      completionTokens: 200,
      cachedTokens: tokens.cacheRead,
      spend: Number(theirs.toString()),
    });
  }
}

async function budgets(): Promise<void> {
  const [month] = await scene.db.query<{ cost: string }>(
    `SELECT sum(cost) AS cost FROM llm_usage WHERE organization_id = $1 AND occurred_at >= '2026-11-01'`,
    [acme.organizationId],
  );
  const limit = (factor: string): string => Decimal.parse(month!.cost).times(Decimal.parse(factor)).toString();
  const set = async (scope: string, subjectId: string, amount: string, period = 'MONTH'): Promise<void> => {
    const { errors } = await app.graphql(
      acme.admin.token,
      'mutation ($input: BudgetInput!) { setBudget(input: $input) { id } }',
      { input: { scope, subjectId, period, limit: amount, timeZone: 'Asia/Kolkata' } },
    );
    expect(errors).toBeNull();
  };
  await set('ORGANIZATION', acme.organizationId, limit('1.1'));
  await set('PROJECT', acme.projects[0]!.id, limit('0.1'));
  await set('PROJECT', acme.projects[1]!.id, limit('5'));
  await set('USER', acme.users[0]!.id, limit('0.4'), 'WEEK');
  await set('USER', acme.users[1]!.id, '0', 'DAY');
  await set('API_TOKEN', acme.users[1]!.tokenId, '3');
}

const sqlTypes = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === types.builtins.DATE ? (text: string): string => text : types.getTypeParser(oid, format as 'text'),
} as never;
async function askSql(reader: SqlReader, sql: string): Promise<any[]> {
  return (await reader.client.query({ text: sql, types: sqlTypes })).rows;
}
async function askGraph(token: string, query: string): Promise<any> {
  const { data, errors } = await app.graphql(token, query);
  expect(errors).toBeNull();
  return data;
}

const india = (at: string): string => new Date(Date.parse(at) + 19_800_000).toISOString().slice(0, 10);
const day = (at: string): string => at.slice(0, 10);
const called = (row: any): boolean => row.figures.calls > 0;
const pick = (row: any, ...names: string[]): any => Object.fromEntries(names.map((name) => [name, row[name]]));
const plus = (a: string, b: string): string => Decimal.parse(a).plus(Decimal.parse(b)).toString();
const minus = (a: string | null, b: string | null): string =>
  Decimal.parse(a ?? '0')
    .minus(Decimal.parse(b ?? '0'))
    .toString();

/** What both answers say, brought into one form; by number of the question. */
const SAME: Record<number, { sql(...answers: any[][]): unknown[]; graph(data: any): unknown[] }> = {
  1: {
    sql: (rows) => rows,
    graph: ({ usage }) =>
      usage.rows.filter(called).map((row: any) => ({
        day: india(row.at),
        project: row.project?.name ?? null,
        model: row.model,
        calls: row.figures.calls,
        cost: row.figures.cost,
      })),
  },
  2: {
    sql: (rows) =>
      rows.map((row) => ({
        ...pick(row, 'scope', 'spent', 'held', 'remaining'),
        id: row.budget_id,
        limit: row.limit_amount,
        resetsAt: row.resets_at,
      })),
    graph: (data) =>
      Object.values(data)
        .flat()
        .filter(
          (row: any) => Number(row.limit) === 0 || (Number(row.spent) + Number(row.held)) / Number(row.limit) >= 0.8,
        )
        .map((row) => pick(row, 'scope', 'spent', 'held', 'remaining', 'id', 'limit', 'resetsAt')),
  },
  3: {
    sql: (rows) => rows.map((row) => pick(row, 'model', 'difference', 'unpriced_calls')),
    graph: ({ before, after }) => {
      const was = new Map<string, any>(before.rows.map((row: any) => [row.model, row.figures]));
      const all = after.rows.map((row: any) => ({
        model: row.model,
        difference: minus(row.figures.cost, was.get(row.model)?.cost ?? null),
        unpriced_calls: row.figures.unpricedCalls - (was.get(row.model)?.unpricedCalls ?? 0),
      }));
      return all.filter((row: any) => row.difference !== '0' || row.unpriced_calls !== 0);
    },
  },
  4: {
    sql: (rows) => rows,
    graph: ({ usage }) =>
      usage.rows.map((row: any) => ({
        project: row.project?.name ?? null,
        model: row.model,
        calls: row.figures.calls,
        cost: row.figures.cost,
      })),
  },
  5: {
    sql: (rows) => [
      { unpriced: rows.length },
      ...rows.map((row) => ({ id: row.id, at: row.occurred_at, model: row.served_model, tokens: row.total_tokens })),
    ],
    graph: ({ usage, calls }) => [
      { unpriced: usage.totals.unpricedCalls },
      ...calls.edges
        .map((edge: any) => edge.node)
        .filter((call: any) => call.cost === null && call.usage.totalTokens > 0)
        .map((call: any) => ({ id: call.id, at: call.at, model: call.servedModel, tokens: call.usage.totalTokens })),
    ],
  },
  6: {
    sql: ([sums], rows) => [
      {
        calls: Number(sums.calls) + Number(sums.calls_without_proxy_cost),
        without: Number(sums.calls_without_proxy_cost),
        ours: plus(sums.our_cost, sums.our_cost_without_proxy_cost),
        theirs: sums.proxy_cost,
      },
      ...rows!.map((row) => ({ id: row.id, ours: row.our_cost, theirs: row.proxy_cost })),
    ],
    graph: ({ reconciliation: { summary, edges } }) => [
      {
        calls: summary.comparedCalls,
        without: edges.filter((edge: any) => edge.node.kind === 'MISSING_AT_PROXY').length,
        ours: summary.ourCost,
        theirs: summary.proxyCost,
      },
      ...edges
        .map((edge: any) => edge.node)
        .filter((node: any) => node.kind === 'COST_DIFFERS')
        .map((node: any) => ({ id: node.call.id, ours: node.ourCost, theirs: node.proxyCost })),
    ],
  },
  7: {
    sql: (rows) => rows,
    graph: ({ usage }) =>
      usage.rows.map((row: any) => ({
        user_name: row.user.name,
        user_id: row.user.id,
        calls: row.figures.calls,
        tokens: row.figures.totalTokens,
        cost: row.figures.cost,
      })),
  },
  8: {
    sql: (rows) => rows,
    graph: ({ usage }) =>
      usage.rows.filter(called).map((row: any) => ({
        day: day(row.at),
        model: row.model,
        p95_ms: row.figures.p95LatencyMs,
        average_ms: row.figures.averageLatencyMs,
      })),
  },
  9: {
    sql: (rows) => rows.map((row) => pick(row, 'provider', 'calls', 'failed_calls')),
    graph: ({ usage }) =>
      usage.rows.map((row: any) => ({
        provider: row.provider,
        calls: row.figures.calls,
        failed_calls: row.figures.failedCalls,
      })),
  },
  10: {
    sql: (rows) =>
      rows.map((row) =>
        pick(row, 'scenario', 'model', 'calls', 'prompt_tokens', 'cache_read_tokens', 'completion_tokens', 'cost'),
      ),
    graph: ({ usage }) =>
      usage.rows.map((row: any) => ({
        scenario: row.scenario,
        model: row.model,
        calls: row.figures.calls,
        prompt_tokens: row.figures.promptTokens,
        cache_read_tokens: row.figures.cacheReadTokens,
        completion_tokens: row.figures.completionTokens,
        cost: row.figures.cost,
      })),
  },
  11: {
    sql: (rows) => rows,
    graph: ({ usage }) =>
      usage.rows.filter(called).map((row: any) => ({
        day: india(row.at),
        calls: row.figures.calls,
        cost: row.figures.cost,
        unpriced_calls: row.figures.unpricedCalls,
      })),
  },
  12: {
    sql: (rows) => rows,
    graph: ({ usage }) =>
      usage.rows.map((row: any) => ({
        organization: row.organization.name,
        model: row.model,
        calls: row.figures.calls,
        cost: row.figures.cost,
        price_book: usage.priceBook,
      })),
  },
};

const sorted = (rows: unknown[]): string[] => rows.map((row) => JSON.stringify(sortKeys(plain(row)))).sort();
const sortKeys = (row: any): any => Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Both answers of every question, alike. Gives them. */
async function askAll(): Promise<string[][]> {
  const answers: string[][] = [];
  for (const [number, { title, sql, graphql }] of questions) {
    const [reader, token] = number === 12 ? [operator, acme.operator.token] : [analyst, acme.analyst.token];
    const told: any[][] = [];
    for (const statement of sql) told.push(await askSql(reader, statement));
    const bySql = sorted(SAME[number]!.sql(...told));
    const byGraph = sorted(SAME[number]!.graph(await askGraph(token, graphql[0]!)));
    expect([title, bySql]).toEqual([title, byGraph]);
    expect([title, bySql.length > 0]).toEqual([title, true]);
    answers.push(bySql);
  }
  return answers;
}

const state = async (): Promise<{ batches: number; changes: number }> =>
  (
    await scene.db.query<{ batches: number; changes: number }>(
      `SELECT (SELECT count(*)::int FROM usage_batches) AS batches, (SELECT count(*)::int FROM price_changes WHERE folded_before < 'infinity') AS changes`,
    )
  )[0]!;
async function fold(rows: number, pricesUpTo: string): Promise<void> {
  await folding.query('SELECT weir.fold($1)', [rows]);
  for (const { book } of (await folding.query('SELECT book FROM price_changes ORDER BY book')).rows)
    await folding.query('SELECT weir.fold_price_change($1, $2)', [book, pricesUpTo]);
}

it('has twelve questions, each in both languages', () => {
  expect([...questions.keys()]).toEqual(Object.keys(SAME).map(Number));
  for (const { title, sql, graphql } of questions.values())
    expect([title, sql.length > 0, graphql.length]).toEqual([title, true, 1]);
});

it('gets the same digits for each question in SQL and in GraphQL, whatever is in the cubes', async () => {
  expect((await state()).batches).toBeGreaterThan(100);
  const first = await askAll();
  for (const upTo of ['2026-10-05T12:00:00Z', '2026-10-20T23:59:00Z', '2026-11-12T01:00:00Z']) {
    await fold(scene.random.int(20, 120), upTo);
    const { batches, changes } = await state();
    expect([batches > 0, changes > 0]).toEqual([true, true]);
    expect(await askAll()).toEqual(first);
  }
  await fold(1_000_000, 'infinity');
  expect(await state()).toEqual({ batches: 0, changes: 0 });
  expect(await askAll()).toEqual(first);
});

it('answers about the past stay as they are when prices and calls of then are corrected again', async () => {
  const frozen = async (): Promise<unknown[]> => [
    await askSql(analyst, questions.get(3)!.sql[0]!),
    await askSql(analyst, questions.get(4)!.sql[0]!),
    (await askGraph(acme.analyst.token, questions.get(4)!.graphql[0]!)).usage,
  ];
  const before = await frozen();
  const now = await askSql(analyst, questions.get(10)!.sql[0]!);
  await scene.price({
    model: 'direct/large',
    effectiveFrom: '2026-10-01T00:00:00Z',
    effectiveTo: '2026-11-01T00:00:00Z',
    input: '3',
    output: '12',
  });
  await scene.correct(
    scene.settled.find((end) => end.organizationId === acme.organizationId && end.occurredAt.startsWith('2026-10'))!,
  );
  expect(await frozen()).toEqual(before);
  expect(await askSql(analyst, questions.get(10)!.sql[0]!)).not.toEqual(now);
  await askAll();
});
