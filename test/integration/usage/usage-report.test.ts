import { newId } from '../../../src/lib/ids';
import { UsageService } from '../../../src/services/usage/usage.service';
import type {
  UsageDimension,
  UsageFigures,
  UsageInterval,
  UsageQuery,
  UsageReport,
} from '../../../src/services/usage/usage.types';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { percentileOf } from '../../support/percentiles';
import { wallClock } from '../../support/wall-clock';
import { insertInFlight, insertUsage, usageRow, type UsageRow } from './usage-rows';

const FROM = new Date('2026-10-20T00:00:00Z');
const TO = new Date('2026-11-05T00:00:00Z');

let database: TestDatabase;
let usage: UsageService;
let world: World;
let other: World;
let rows: UsageRow[];
beforeAll(async () => {
  database = await createTestDatabase();
  usage = new UsageService({ db: database.db });
  world = await createWorld(database.db);
  other = await createWorld(database.db, { name: 'Other' });
  rows = randomRows(3_000);
  await insertUsage(database.db, rows);
});
afterAll(() => database.close());
afterEach(() => setClock(database.db, null));

/** Over the end of summer time in Europe (October 25th) and in America (November 1st), always the same ones. */
function randomRows(count: number): UsageRow[] {
  let state = 7;
  const random = (below: number): number => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
  const one = <T>(values: readonly T[]): T => values[random(values.length)]!;
  const users = [world.member, world.analyst, world.admin, other.member];
  return Array.from({ length: count }, () => {
    const user = one(users);
    const priced = random(5) > 0;
    const cost = priced ? `${random(1000)}.${String(random(1_000_000)).padStart(9, '0')}` : null;
    const silent = random(10) === 0;
    return usageRow({
      organization_id: user.organizationId,
      user_id: user.id,
      occurred_at: new Date(FROM.getTime() - 86_400_000 + random(18 * 86_400_000)).toISOString(),
      project_id: one([null, 'prj_a', 'prj_b']),
      agent: one([null, 'writer', 'coder']),
      scenario: one(['DEFAULT', 'THINK']),
      model: one(['gpt', 'claude', 'house']),
      provider: one(['openai', 'anthropic', null]),
      upstream: one(['LITELLM', 'DIRECT']),
      status: one(['COMPLETED', 'COMPLETED', 'COMPLETED', 'STOPPED', 'FAILED', 'LOST']),
      uncached_prompt_tokens: silent ? 0 : random(10_000),
      cache_read_tokens: silent ? 0 : random(1_000),
      cache_write_tokens: silent ? 0 : random(1_000),
      output_tokens: silent ? 0 : random(5_000),
      reasoning_tokens: silent ? 0 : random(500),
      cost,
      cost_input: cost,
      cost_output: priced ? '0' : null,
      latency_ms: random(20) === 0 ? null : random(30_000),
      time_to_first_token_ms: random(2) === 0 ? null : random(2_000),
    });
  });
}

const query = (fields: Partial<UsageQuery> = {}): UsageQuery => ({
  filter: { from: FROM, to: TO },
  groupBy: [],
  interval: null,
  timeZone: 'UTC',
  orderBy: 'COST_DESC',
  limit: 100,
  ...fields,
});
const inSpan = (row: UsageRow): boolean => new Date(row.occurred_at) >= FROM && new Date(row.occurred_at) < TO;

/** The same figures, computed another way. */
function figuresOf(calls: readonly UsageRow[]): UsageFigures {
  const sum = (of: (row: UsageRow) => number): number => calls.reduce((total, row) => total + of(row), 0);
  const tokens = (row: UsageRow): number =>
    row.uncached_prompt_tokens +
    row.cache_read_tokens +
    row.cache_write_tokens +
    row.output_tokens +
    row.reasoning_tokens;
  const priced = calls.filter((row) => row.cost !== null);
  const latencies = calls.map((row) => row.latency_ms).filter((value) => value !== null);
  const firsts = calls.map((row) => row.time_to_first_token_ms).filter((value) => value !== null);
  const nanos = priced.reduce((total, row) => total + BigInt(row.cost!.replace('.', '')), 0n);
  const digits = nanos.toString().padStart(10, '0');
  const cost = `${digits.slice(0, -9)}.${digits.slice(-9)}`.replace(/\.?0+$/, '');
  return {
    calls: calls.length,
    failedCalls: calls.filter((row) => row.status === 'FAILED' || row.status === 'LOST').length,
    promptTokens: sum((row) => row.uncached_prompt_tokens + row.cache_read_tokens + row.cache_write_tokens),
    cacheReadTokens: sum((row) => row.cache_read_tokens),
    cacheWriteTokens: sum((row) => row.cache_write_tokens),
    completionTokens: sum((row) => row.output_tokens + row.reasoning_tokens),
    reasoningTokens: sum((row) => row.reasoning_tokens),
    totalTokens: sum(tokens),
    cost: calls.length === 0 ? '0' : priced.length === 0 ? null : nanos === 0n ? '0' : cost,
    unpricedCalls: calls.filter((row) => row.cost === null && tokens(row) > 0).length,
    averageLatencyMs: close(mean(latencies)),
    p50LatencyMs: percentileOf(latencies, 50),
    p95LatencyMs: percentileOf(latencies, 95),
    averageTimeToFirstTokenMs: close(mean(firsts)),
    p95TimeToFirstTokenMs: percentileOf(firsts, 95),
  };
}
const mean = (values: number[]): number | null =>
  values.length > 0 ? values.reduce((a, b) => a + b, 0) / values.length : null;
// Floats: the same to six decimals is the same.
const close = (value: number | null): number | null => (value === null ? null : Math.round(value * 1e6) / 1e6);
const rounded = (figures: UsageFigures): UsageFigures =>
  Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, name.endsWith('Ms') ? close(value as number | null) : value]),
  ) as unknown as UsageFigures;

const FIELDS: Record<Exclude<UsageDimension, 'ORGANIZATION'>, [keyof UsageRow, keyof UsageReport['rows'][number]]> = {
  USER: ['user_id', 'userId'],
  PROJECT: ['project_id', 'projectId'],
  MODEL: ['model', 'model'],
  PROVIDER: ['provider', 'provider'],
  SCENARIO: ['scenario', 'scenario'],
  AGENT: ['agent', 'agent'],
  UPSTREAM: ['upstream', 'upstream'],
  STATUS: ['status', 'status'],
};
const ours = (): UsageRow[] => rows.filter((row) => row.organization_id === world.organizationId && inSpan(row));

describe('figures', () => {
  it('totals equal a plain recomputation', async () => {
    const report = await usage.report(world.analyst.viewer, query());
    expect(rounded(report.totals)).toEqual(figuresOf(ours()));
    expect(report.rows).toEqual([
      {
        at: null,
        organizationId: null,
        userId: null,
        projectId: null,
        model: null,
        provider: null,
        scenario: null,
        agent: null,
        upstream: null,
        status: null,
        figures: report.totals,
      },
    ]);
  });

  it.each([
    [['USER']],
    [['PROJECT']],
    [['MODEL']],
    [['PROVIDER']],
    [['SCENARIO']],
    [['AGENT']],
    [['UPSTREAM']],
    [['STATUS']],
    [['MODEL', 'USER', 'AGENT']],
  ] as (keyof typeof FIELDS)[][][])(
    'by %j: every group equals a recomputation, dearest first, and only the fields asked for are there',
    async (groupBy) => {
      const report = await usage.report(
        world.analyst.viewer,
        query({ groupBy: [...groupBy, groupBy[0]!], limit: 1000 }),
      );
      const groups = new Map<string, UsageRow[]>();
      for (const row of ours()) {
        const key = JSON.stringify(groupBy.map((dimension) => row[FIELDS[dimension][0]]));
        groups.set(key, [...(groups.get(key) ?? []), row]);
      }
      expect(report.rows).toHaveLength(groups.size);
      for (const row of report.rows) {
        expect(rounded(row.figures)).toEqual(
          figuresOf(groups.get(JSON.stringify(groupBy.map((dimension) => row[FIELDS[dimension][1]])))!),
        );
        for (const [dimension, [, field]] of Object.entries(FIELDS))
          if (!groupBy.includes(dimension as never)) expect(row[field]).toBeNull();
      }
      const costs = report.rows.map((row) => Number(row.figures.cost));
      expect(costs).toEqual([...costs].sort((a, b) => b - a));
      expect(report.truncated).toBe(false);
    },
  );

  it('orders by calls and by tokens, cuts at the limit, and still totals everything', async () => {
    for (const [orderBy, field] of [
      ['CALLS_DESC', 'calls'],
      ['TOKENS_DESC', 'totalTokens'],
    ] as const) {
      const report = await usage.report(world.analyst.viewer, query({ groupBy: ['USER', 'MODEL'], orderBy, limit: 4 }));
      const all = await usage.report(world.analyst.viewer, query({ groupBy: ['USER', 'MODEL'], orderBy, limit: 1000 }));
      expect([report.truncated, report.rows, all.truncated]).toEqual([true, all.rows.slice(0, 4), false]);
      expect(report.totals).toEqual(all.totals);
      const values = all.rows.map((row) => row.figures[field]);
      expect(values).toEqual([...values].sort((a, b) => b - a));
    }
  });

  it('filters by everything that a call has', async () => {
    const filters: [UsageQuery['filter'], (row: UsageRow) => boolean][] = [
      [
        { userIds: [world.member.id, world.admin.id] },
        (row) => [world.member.id, world.admin.id].includes(row.user_id),
      ],
      [{ projectIds: ['prj_a'] }, (row) => row.project_id === 'prj_a'],
      [{ models: ['gpt', 'house'] }, (row) => row.model !== 'claude'],
      [{ providers: ['openai'] }, (row) => row.provider === 'openai'],
      [{ scenarios: ['THINK'], agents: ['coder'] }, (row) => row.scenario === 'THINK' && row.agent === 'coder'],
      [{ statuses: ['FAILED', 'RUNNING'] }, (row) => row.status === 'FAILED'],
      [{ models: [] }, () => false],
      [{ traceId: 'nobody' }, () => false],
      [{ conversationId: 'nobody' }, () => false],
    ];
    for (const [filter, matches] of filters) {
      const report = await usage.report(world.analyst.viewer, query({ filter: { ...filter, from: FROM, to: TO } }));
      expect(rounded(report.totals)).toEqual(figuresOf(ours().filter(matches)));
    }
  });

  it('cost is "0" without calls, null where no call has a price', async () => {
    const alone = await createWorld(database.db, { name: 'Alone' });
    const cost = async (): Promise<unknown> => {
      const { totals } = await usage.report(alone.analyst.viewer, query());
      return [totals.calls, totals.cost, totals.unpricedCalls];
    };
    expect(await cost()).toEqual([0, '0', 0]);
    const row = { organization_id: alone.organizationId, user_id: alone.member.id, occurred_at: FROM.toISOString() };
    await insertUsage(database.db, [
      usageRow({ ...row, cost: null }),
      usageRow({ ...row, cost: null, status: 'FAILED', uncached_prompt_tokens: 0, output_tokens: 0 }),
    ]);
    expect(await cost()).toEqual([2, null, 1]);
    await insertUsage(database.db, [usageRow({ ...row, cost: '1.50' })]);
    expect(await cost()).toEqual([3, '1.5', 1]);
  });
});

describe('intervals', () => {
  it.each([
    ['HOUR', 'Europe/Berlin'],
    ['DAY', 'Europe/Berlin'],
    ['WEEK', 'Europe/Berlin'],
    ['MONTH', 'Europe/Berlin'],
    ['HOUR', 'America/New_York'],
    ['DAY', 'America/New_York'],
    ['DAY', 'Asia/Kathmandu'],
    ['HOUR', 'Australia/Lord_Howe'],
    ['HOUR', 'Asia/Kolkata'],
    ['DAY', 'UTC'],
    ['MONTH', 'Pacific/Auckland'],
  ] as [UsageInterval, string][])(
    '%s in %s: each group has every interval in order, each with its own calls',
    async (interval, timeZone) => {
      const report = await usage.report(world.analyst.viewer, query({ groupBy: ['MODEL'], interval, timeZone }));
      const groups = [...new Set(report.rows.map((row) => row.model))];
      expect(groups.sort()).toEqual(['claude', 'gpt', 'house']);
      const wall = wallClock(timeZone, interval);
      const calls = new Map<string, UsageRow[]>();
      for (const call of ours()) {
        const key = `${call.model} ${wall(new Date(call.occurred_at))}`;
        calls.set(key, [...(calls.get(key) ?? []), call]);
      }
      const expected = new Set<string>();
      for (let at = FROM.getTime(); at < TO.getTime(); at += 15 * 60_000) expected.add(wall(new Date(at)));
      for (const model of groups) {
        const series = report.rows.filter((row) => row.model === model);
        expect(series.map((row) => wall(row.at!))).toEqual([...expected]);
        expect(series.map((row) => row.at!.getTime())).toEqual(
          series.map((row) => row.at!.getTime()).sort((a, b) => a - b),
        );
        for (const row of series)
          expect(rounded(row.figures)).toEqual(figuresOf(calls.get(`${model} ${wall(row.at!)}`) ?? []));
      }
    },
  );

  it('the day on which summer time ends has 25 hours, and the hour that comes twice is two intervals', async () => {
    const report = await usage.report(
      world.analyst.viewer,
      query({
        filter: { from: new Date('2026-10-24T22:00:00Z'), to: new Date('2026-10-25T23:00:00Z') },
        interval: 'HOUR',
        timeZone: 'Europe/Berlin',
      }),
    );
    expect(report.rows).toHaveLength(25);
    const days = await usage.report(
      world.analyst.viewer,
      query({
        filter: { from: new Date('2026-10-24T22:00:00Z'), to: new Date('2026-10-25T23:00:00Z') },
        interval: 'DAY',
        timeZone: 'Europe/Berlin',
      }),
    );
    expect(days.rows.map((row) => row.at!.toISOString())).toEqual(['2026-10-24T22:00:00.000Z']);
    expect(days.totals).toEqual(report.totals);
  });

  it('the first and the last interval may be parts, and one without calls is there with zeros', async () => {
    const nobody = await createWorld(database.db, { name: 'Nobody' });
    const report = await usage.report(
      nobody.analyst.viewer,
      query({
        filter: { from: new Date('2026-10-20T05:00:00Z'), to: new Date('2026-10-22T01:00:00Z') },
        interval: 'DAY',
      }),
    );
    expect(report.rows.map((row) => [row.at!.toISOString().slice(0, 10), row.figures.calls, row.figures.cost])).toEqual(
      [
        ['2026-10-20', 0, '0'],
        ['2026-10-21', 0, '0'],
        ['2026-10-22', 0, '0'],
      ],
    );
    expect((await usage.report(nobody.analyst.viewer, query({ interval: 'DAY', groupBy: ['MODEL'] }))).rows).toEqual(
      [],
    );
  });

  it('with more groups than the limit, the groups shown have all of their calls', async () => {
    const report = await usage.report(
      world.analyst.viewer,
      query({ groupBy: ['MODEL', 'AGENT'], interval: 'WEEK', limit: 2 }),
    );
    const whole = await usage.report(world.analyst.viewer, query({ groupBy: ['MODEL', 'AGENT'], limit: 2 }));
    expect(report.truncated).toBe(true);
    for (const group of whole.rows) {
      const series = report.rows.filter((row) => row.model === group.model && row.agent === group.agent);
      expect(series.reduce((sum, row) => sum + row.figures.calls, 0)).toBe(group.figures.calls);
    }
  });
});

describe('the span', () => {
  it('begins by default with the month in the time zone and ends now', async () => {
    await setClock(database.db, '2026-11-01T02:30:00Z');
    const utc = await usage.report(world.analyst.viewer, query({ filter: {} }));
    expect([utc.from.toISOString(), utc.to.toISOString()]).toEqual([
      '2026-11-01T00:00:00.000Z',
      '2026-11-01T02:30:00.001Z',
    ]);
    const newYork = await usage.report(world.analyst.viewer, query({ filter: {}, timeZone: 'America/New_York' }));
    expect(newYork.from.toISOString()).toBe('2026-10-01T04:00:00.000Z');
  });

  it('a call of this very moment is in', async () => {
    const fresh = await createWorld(database.db, { name: 'Fresh' });
    await setClock(database.db, '2026-11-10T10:00:00.123Z');
    await insertUsage(database.db, [
      usageRow({
        organization_id: fresh.organizationId,
        user_id: fresh.member.id,
        occurred_at: '2026-11-10T10:00:00.123Z',
      }),
    ]);
    expect((await usage.report(fresh.member.viewer, query({ filter: {} }))).totals.calls).toBe(1);
    expect((await usage.today(fresh.member.viewer)).calls).toBe(1);
    expect((await usage.today(fresh.analyst.viewer)).calls).toBe(0);
  });

  it.each([
    ['filter.from', { filter: { from: TO, to: FROM } }],
    ['filter.from', { filter: { from: FROM, to: FROM } }],
    ['filter.to', { filter: { to: new Date('2020-01-01') } }],
    ['filter.from', { filter: { from: new Date(Number.NaN) } }],
    ['timeZone', { timeZone: '+02:00' }],
    ['timeZone', { timeZone: 'Europe/Atlantis' }],
    ['timeZone', { timeZone: "UTC'; DROP TABLE llm_usage" }],
    ['limit', { limit: 0 }],
    ['limit', { limit: 1001 }],
    ['interval', { interval: 'HOUR', filter: { from: new Date('2026-01-01'), to: new Date('2026-03-01') } }],
    ['interval', { interval: 'DAY', filter: { from: new Date('1900-01-01'), to: new Date('2026-03-01') } }],
    ['interval', { interval: 'HOUR', groupBy: ['USER', 'MODEL', 'AGENT', 'PROVIDER'], limit: 1000 }],
    ['filter.agents', { filter: { agents: ['a\0b'] } }],
  ] as [string, Partial<UsageQuery>][])('refuses with the argument %s: %j', async (argument, fields) => {
    await expect(usage.report(world.analyst.viewer, query(fields))).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument,
    });
  });

  it('names the bound on rows, and allows a full month of 31 days with 25 hours in one of them', async () => {
    await expect(
      usage.report(
        world.analyst.viewer,
        query({ interval: 'HOUR', groupBy: ['USER', 'MODEL', 'AGENT', 'PROVIDER'], limit: 1000 }),
      ),
    ).rejects.toThrow('at most 10000');
    const october = { from: new Date('2026-09-30T22:00:00Z'), to: new Date('2026-10-31T23:00:00Z') };
    expect(
      (
        await usage.report(
          world.analyst.viewer,
          query({ filter: october, interval: 'HOUR', timeZone: 'Europe/Berlin' }),
        )
      ).rows,
    ).toHaveLength(31 * 24 + 1);
  });
});

describe('who sees what', () => {
  const calls = async (viewer: Viewer, filter: UsageQuery['filter'] = {}): Promise<number> =>
    (await usage.report(viewer, query({ filter: { from: FROM, to: TO, ...filter } }))).totals.calls;
  const count = (matches: (row: UsageRow) => boolean): number =>
    rows.filter((row) => inSpan(row) && matches(row)).length;

  it('members themselves, analysts and administrators their organisation, operators all', async () => {
    const mine = count((row) => row.user_id === world.member.id);
    const organization = count((row) => row.organization_id === world.organizationId);
    expect(await calls(world.member.viewer)).toBe(mine);
    expect(await calls(world.analyst.viewer)).toBe(organization);
    expect(await calls(world.admin.viewer)).toBe(organization);
    // Other tests add organisations of their own.
    expect(await calls(world.operator.viewer, { organizationIds: [world.organizationId, other.organizationId] })).toBe(
      count(() => true),
    );
    expect(await calls(world.operator.viewer)).toBeGreaterThanOrEqual(count(() => true));
    expect(await calls(world.operator.viewer, { organizationIds: [other.organizationId] })).toBe(
      count((row) => row.organization_id === other.organizationId),
    );
  });

  it('naming somebody who may not be seen answers like naming nobody', async () => {
    expect(await calls(world.member.viewer, { userIds: [world.analyst.id] })).toBe(0);
    expect(await calls(world.member.viewer, { userIds: [world.analyst.id, world.member.id] })).toBe(
      count((row) => row.user_id === world.member.id),
    );
    expect(await calls(world.analyst.viewer, { userIds: [other.member.id] })).toBe(0);
    expect(await calls(world.analyst.viewer, { userIds: [newId('user')] })).toBe(0);
  });

  it('organisations are for operators', async () => {
    for (const user of [world.member, world.analyst, world.admin]) {
      await expect(calls(user.viewer, { organizationIds: [user.organizationId] })).rejects.toMatchObject({
        code: 'FORBIDDEN',
      });
      await expect(usage.report(user.viewer, query({ groupBy: ['ORGANIZATION'] }))).rejects.toMatchObject({
        code: 'FORBIDDEN',
      });
      await expect(
        usage.calls(user.viewer, { organizationIds: [user.organizationId] }, { first: 1 }),
      ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
    const report = await usage.report(
      world.operator.viewer,
      query({
        groupBy: ['ORGANIZATION'],
        filter: { from: FROM, to: TO, organizationIds: [world.organizationId, other.organizationId] },
      }),
    );
    expect(report.rows.map((row) => row.organizationId).sort()).toEqual(
      [world.organizationId, other.organizationId].sort(),
    );
  });

  it('a call in flight is not in the figures', async () => {
    const before = await calls(world.member.viewer);
    await insertInFlight(database.db, {
      organization_id: world.organizationId,
      user_id: world.member.id,
      occurred_at: '2026-10-30T00:00:00Z',
    });
    expect(await calls(world.member.viewer)).toBe(before);
  });
});
