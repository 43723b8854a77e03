import { readFileSync } from 'node:fs';
import path from 'node:path';
import { newId } from '../../../src/lib/ids';
import { UsageService } from '../../../src/services/usage/usage.service';
import type { UsageDimension, UsageFilter, UsageQuery, UsageReport } from '../../../src/services/usage/usage.types';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { correctUsage, insertInFlight, insertUsage, usageRow, type UsageRow } from './usage-rows';
import type { CallRecord } from '../../../src/domain/call';

const FROM = new Date('2026-11-01T00:00:00Z');
const TO = new Date('2026-12-15T00:00:00Z');

let database: TestDatabase;
let usage: UsageService;
let operator: Viewer;
let member: Viewer;
beforeAll(async () => {
  database = await createTestDatabase();
  usage = new UsageService({ db: database.db });
});
beforeEach(() => {
  // Usage rows stay when people go: nothing has to exist for them.
  const organizationId = newId('organization');
  const viewer = (role: Viewer['role']): Viewer => ({
    userId: newId('user'),
    organizationId,
    role,
    planId: 'pln',
    tokenId: 'tok',
    sessionId: null,
    expiresAtMs: null,
  });
  operator = viewer('OPERATOR');
  member = viewer('MEMBER');
});
afterAll(() => database.close());

const row = (fields: Partial<UsageRow> = {}): UsageRow =>
  usageRow({
    organization_id: member.organizationId,
    user_id: member.userId,
    occurred_at: '2026-11-20T10:00:00.500001Z',
    ...fields,
  });
const query = (fields: Partial<UsageQuery> = {}): UsageQuery => ({
  filter: { from: FROM, to: TO },
  groupBy: [],
  interval: null,
  timeZone: 'UTC',
  orderBy: 'COST_DESC',
  limit: 100,
  ...fields,
});
/** A report but for the moment at which it was made. */
const reported = async (
  service: UsageService,
  viewer: Viewer,
  asked: UsageQuery,
): Promise<Omit<UsageReport, 'pricesAsOf'>> => {
  const { pricesAsOf, ...report } = await service.report(viewer, asked);
  expect(pricesAsOf).toBeInstanceOf(Date);
  return report;
};
const correct = (call: UsageRow, changes: Partial<UsageRow>): Promise<UsageRow> =>
  correctUsage(database.db, call, changes);

async function walk(
  service: UsageService,
  viewer: Viewer,
  first: number,
  filter: UsageFilter = {},
  between: () => Promise<unknown> = async () => {},
): Promise<CallRecord[]> {
  const seen: CallRecord[] = [];
  for (let after: string | null = null; ;) {
    const page: Awaited<ReturnType<UsageService['calls']>> = await service.calls(viewer, filter, { first, after });
    seen.push(...page.edges.map((edge) => edge.node));
    if (!page.hasNextPage) return seen;
    after = page.edges.at(-1)!.cursor;
    await between();
  }
}

describe('calls that were corrected, beside the same calls booked right at once', () => {
  const users = Array.from({ length: 4 }, () => ({ id: newId('user'), organizationId: '' }));
  const [here, elsewhere] = [newId('organization'), newId('organization')];
  users.forEach((user, index) => (user.organizationId = index < 3 ? here : elsewhere));
  const conversations = [newId('conversation'), newId('conversation')];
  const as = (index: number, role: Viewer['role']): Viewer => ({
    userId: users[index]!.id,
    organizationId: users[index]!.organizationId,
    role,
    planId: 'pln',
    tokenId: 'tok',
    sessionId: null,
    expiresAtMs: null,
  });
  let right: TestDatabase;
  let rightUsage: UsageService;
  let calls: UsageRow[];
  let steps: number[];

  beforeAll(async () => {
    right = await createTestDatabase();
    rightUsage = new UsageService({ db: right.db });
    let state = 11;
    const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
    const one = <T>(values: readonly T[]): T => values[random(values.length)]!;
    let found = 0;
    /** What a correction may find to be otherwise; never the same twice, or there would be nothing to correct. */
    const facts = (): Partial<UsageRow> => {
      const cost =
        random(4) > 0 ? `${random(50)}.${String(random(1_000_000_000)).padStart(9, '0')}${random(10)}` : null;
      const silent = random(6) === 0;
      return {
        model: one(['gpt', 'claude', 'house']),
        served_model: `served ${(found += 1)}`,
        provider: one(['openai', 'anthropic', null]),
        status: one(['COMPLETED', 'STOPPED', 'FAILED', 'LOST']),
        usage_source: one(['PROVIDER', 'RECONCILED']),
        uncached_prompt_tokens: silent ? 0 : 1 + random(10_000),
        cache_read_tokens: silent ? 0 : random(1_000),
        output_tokens: silent ? 0 : random(5_000),
        reasoning_tokens: silent ? 0 : random(500),
        cost,
        cost_input: cost,
        cost_output: cost && '0',
        latency_ms: random(4) === 0 ? null : random(30_000),
        time_to_first_token_ms: random(2) === 0 ? null : random(2_000),
      };
    };
    const booked = Array.from({ length: 300 }, () => {
      const user = one(users);
      return usageRow({
        organization_id: user.organizationId,
        user_id: user.id,
        conversation_id: one([null, ...conversations]),
        agent: one([null, 'writer']),
        trace_id: one(['a', 'b']).repeat(32),
        // Many of one millisecond, some of one microsecond; over the end of a month, which is another partition.
        occurred_at: new Date(FROM.getTime() + one([random(40 * 86_400_000), 10 * 86_400_000]))
          .toISOString()
          .replace('Z', `${random(3)}Z`),
        ...facts(),
      });
    });
    await insertUsage(database.db, booked);
    await database.db.query('INSERT INTO organizations (id, name) SELECT id, id FROM unnest($1::text[]) AS id', [
      [here, elsewhere],
    ]);
    calls = booked;
    steps = booked.map(() => one([0, 0, 1, 1, 2, 3]));
    for (const round of [1, 2, 3]) {
      calls = await Promise.all(
        calls.map(async (call, index) => {
          if (steps[index]! < round) return call;
          const corrected = await correct(call, facts());
          // What was measured stays, where the correction measured nothing.
          return {
            ...corrected,
            latency_ms: corrected.latency_ms ?? call.latency_ms,
            time_to_first_token_ms: corrected.time_to_first_token_ms ?? call.time_to_first_token_ms,
          };
        }),
      );
    }
    await insertUsage(right.db, calls);
  });
  afterAll(() => right.close());

  const DIMENSIONS: UsageDimension[] = [
    'USER',
    'PROJECT',
    'MODEL',
    'PROVIDER',
    'SCENARIO',
    'AGENT',
    'UPSTREAM',
    'STATUS',
  ];
  const SPAN = { from: FROM, to: TO };
  const FILTERS: UsageFilter[] = [
    {},
    { models: ['gpt'] },
    { models: ['gpt', 'house'], statuses: ['COMPLETED'] },
    { statuses: ['LOST', 'FAILED'] },
    { providers: ['openai'] },
    { userIds: [users[0]!.id] },
    { agents: ['writer'] },
    { traceId: 'a'.repeat(32) },
    { conversationId: conversations[0]! },
    { from: new Date('2026-11-11T00:00:00Z'), to: new Date('2026-11-11T00:00:00.001Z') },
    { models: [] },
  ];

  it('make the same totals under every filter, for whoever asks', async () => {
    for (const viewer of [as(0, 'MEMBER'), as(0, 'ANALYST'), as(0, 'OPERATOR')]) {
      for (const filter of FILTERS) {
        const report = await reported(usage, viewer, query({ filter: { ...SPAN, ...filter } }));
        expect(report).toEqual(await reported(rightUsage, viewer, query({ filter: { ...SPAN, ...filter } })));
        expect(filter.models?.length === 0 || report.totals.calls > 0).toBe(true);
      }
    }
  });

  it.each(DIMENSIONS.map((dimension) => [dimension]))(
    'make the same groups by %s, in every order, cut at the limit',
    async (dimension) => {
      for (const orderBy of ['COST_DESC', 'CALLS_DESC', 'TOKENS_DESC'] as const) {
        for (const limit of [1, 100]) {
          const asked = query({ groupBy: [dimension, 'MODEL', 'STATUS'], orderBy, limit });
          expect(await reported(usage, as(0, 'ADMIN'), asked)).toEqual(
            await reported(rightUsage, as(0, 'ADMIN'), asked),
          );
        }
      }
    },
  );

  it('make the same series', async () => {
    for (const interval of ['DAY', 'WEEK', 'MONTH'] as const) {
      for (const limit of [2, 100]) {
        const asked = query({ groupBy: ['MODEL', 'PROVIDER'], interval, limit, timeZone: 'Europe/Berlin' });
        expect(await reported(usage, as(0, 'ADMIN'), asked)).toEqual(await reported(rightUsage, as(0, 'ADMIN'), asked));
      }
    }
  });

  it('are listed the same, page by page under every filter, and one by one', async () => {
    for (const viewer of [as(0, 'MEMBER'), as(0, 'ANALYST'), as(3, 'OPERATOR')]) {
      for (const filter of FILTERS)
        expect(await walk(usage, viewer, 61, filter)).toEqual(await walk(rightUsage, viewer, 61, filter));
    }
    const listed = await walk(usage, as(0, 'OPERATOR'), 100);
    expect(new Set(listed.map((call) => call.id))).toEqual(new Set(calls.map((call) => call.id)));
    expect(await Promise.all(listed.map((call) => usage.call(as(0, 'OPERATOR'), call.id)))).toEqual(listed);
  });

  it('sum up the same in conversations, and for a day', async () => {
    for (const organizationId of [here, elsewhere]) {
      expect(await usage.ofConversations({ organizationId }, conversations)).toEqual(
        await rightUsage.ofConversations({ organizationId }, conversations),
      );
    }
    for (const { db } of [database, right]) await setClock(db, '2026-11-11T23:00:00Z');
    try {
      expect((await usage.today(as(0, 'MEMBER'))).calls).toBeGreaterThan(0);
      expect(await usage.today(as(0, 'MEMBER'))).toEqual(await rightUsage.today(as(0, 'MEMBER')));
    } finally {
      for (const { db } of [database, right]) await setClock(db, null);
    }
  });

  it('are one row each in the view for SQL, with what is true, and say whether they were corrected', async () => {
    // Without what the other database knows nothing of: when, whether and why something was corrected.
    const view = async ({ db }: TestDatabase): Promise<unknown[]> =>
      db.query(
        `SELECT to_jsonb(c) - '{settled_at,corrected,correction_reason}'::text[] AS call FROM llm_calls AS c WHERE organization_id = ANY ($1) ORDER BY id`,
        [[here, elsewhere]],
      );
    expect(await view(database)).toEqual(await view(right));
    const said = await database.db.query<{ id: string; corrected: boolean }>(
      'SELECT id, corrected FROM llm_calls WHERE organization_id = ANY ($1) ORDER BY id',
      [[here, elsewhere]],
    );
    const expected = calls.map(({ id }, index) => ({ id, corrected: steps[index]! > 0 }));
    expect(said).toEqual(expected.sort((a, b) => (a.id < b.id ? -1 : 1)));
  });

  it('are one row of kind CALL each, two more for each correction, and plain sums of all rows come to the same, to the last digit', async () => {
    const [sums] = await database.db.query(
      `SELECT count(*) FILTER (WHERE kind = 'CALL')::int AS calls, count(*) FILTER (WHERE kind = 'REVERSAL')::int AS reversals, count(*) FILTER (WHERE kind = 'CORRECTION')::int AS corrections,
         sum(sign)::int AS signs, sum(total_tokens)::int AS tokens, trim_scale(sum(cost))::text AS cost FROM llm_usage WHERE organization_id = ANY ($1)`,
      [[here, elsewhere]],
    );
    const made = steps.reduce((sum, count) => sum + count, 0);
    const { totals } = await rightUsage.report(as(0, 'OPERATOR'), query());
    expect(sums).toEqual({
      calls: calls.length,
      reversals: made,
      corrections: made,
      signs: calls.length,
      tokens: totals.totalTokens,
      cost: totals.cost,
    });
  });
});

it('the queries of docs/usage.md are as the database understands them, and the one that shall find nothing finds nothing', async () => {
  const text = readFileSync(path.join(__dirname, '../../../docs/usage.md'), 'utf8');
  const shown = [...text.matchAll(/```sql\n([\s\S]*?)```/g)].flatMap(([, block]) =>
    block!.split(';').filter((statement) => statement.includes('SELECT')),
  );
  const inline = [...text.matchAll(/`(SELECT [^`]*)`/g)].map(([, statement]) => statement!);
  expect([shown.length, inline.length]).toEqual([3, 2]);
  const call = row();
  await insertUsage(database.db, [call]);
  await correct(call, { output_tokens: 8 });
  for (const statement of [...shown, inline[0]!]) await database.db.query(statement);
  expect(await database.db.query(inline[1]!)).toEqual([]);
});

describe('a corrected call', () => {
  it('is found under what it is, and under nothing that it was', async () => {
    const call = row({ status: 'LOST', provider: null, usage_source: 'ESTIMATED', latency_ms: null });
    await insertUsage(database.db, [call]);
    await correct(call, {
      status: 'COMPLETED',
      provider: 'openai',
      usage_source: 'RECONCILED',
      cost: '0.5',
      latency_ms: 900,
    });
    const found = async (filter: UsageFilter): Promise<number[]> => [
      (await walk(usage, member, 5, filter)).length,
      (await usage.report(member, query({ filter: { from: FROM, to: TO, ...filter } }))).totals.calls,
    ];
    expect(await found({ statuses: ['LOST'] })).toEqual([0, 0]);
    expect(await found({ statuses: ['COMPLETED'] })).toEqual([1, 1]);
    expect(await found({ providers: ['openai'] })).toEqual([1, 1]);
    const { totals, rows } = await usage.report(member, query({ groupBy: ['STATUS', 'PROVIDER'] }));
    expect(rows.map((group) => [group.status, group.provider, group.figures.calls])).toEqual([
      ['COMPLETED', 'openai', 1],
    ]);
    expect(totals).toMatchObject({ calls: 1, failedCalls: 0, cost: '0.5', averageLatencyMs: 900, p50LatencyMs: 830.4 });
  });

  it('that was thought to have a price and has none costs null, not zero', async () => {
    const call = row({ cost: '0.25' });
    await insertUsage(database.db, [call]);
    await correct(call, { cost: null, cost_input: null, cost_output: null });
    expect((await usage.report(member, query())).totals).toMatchObject({ calls: 1, cost: null, unpricedCalls: 1 });
    expect((await usage.call(member, call.id))?.cost).toBeNull();
  });

  it('has its latency counted once, as it is shown', async () => {
    const calls = [
      row({ latency_ms: 100, time_to_first_token_ms: 10 }),
      row({ latency_ms: 200, time_to_first_token_ms: 20 }),
    ];
    await insertUsage(database.db, calls);
    await correct(calls[0]!, { output_tokens: 7, latency_ms: 400, time_to_first_token_ms: 40 });
    expect((await usage.report(member, query())).totals).toMatchObject({
      averageLatencyMs: 300,
      p50LatencyMs: 207.8,
      averageTimeToFirstTokenMs: 30,
    });
  });

  it('keeps its place: pages go on where they were when the calls at their edges are corrected meanwhile', async () => {
    // All of one microsecond: the order is that of the ids alone.
    const calls = Array.from({ length: 24 }, () => row());
    await insertUsage(database.db, calls);
    let next = 0;
    const inOrder = [...calls].sort((a, b) => (a.id < b.id ? 1 : -1));
    const seen = await walk(usage, member, 3, {}, async () => {
      next += 3;
      for (const call of inOrder.slice(next - 1, next + 1))
        await correct(call, { output_tokens: 99, usage_source: 'RECONCILED' });
    });
    expect(seen.map((call) => call.id)).toEqual(inOrder.map((call) => call.id));
  });

  it('is one call while its row in flight is still there, too', async () => {
    const call = row({ status: 'LOST' });
    await insertUsage(database.db, [call]);
    await correct(call, { status: 'COMPLETED', output_tokens: 8 });
    await insertInFlight(database.db, {
      id: call.id,
      organization_id: call.organization_id,
      user_id: call.user_id,
      occurred_at: call.occurred_at,
    });
    expect((await walk(usage, member, 1)).map(({ id, status }) => [id, status])).toEqual([[call.id, 'COMPLETED']]);
    expect(await walk(usage, member, 5, { statuses: ['RUNNING', 'LOST'] })).toEqual([]);
    expect(await usage.call(member, call.id)).toMatchObject({ status: 'COMPLETED', tokens: { output: 8 } });
  });

  it('is asked for by its own id, not by those of its rows', async () => {
    const call = row();
    await insertUsage(database.db, [call]);
    await correct(call, { output_tokens: 8 });
    for (const id of [`${call.id}~1`, `${call.id}~1r`]) expect(await usage.call(operator, id)).toBeNull();
  });
});
