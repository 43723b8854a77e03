import type { ReadTx } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';
import { UsageService } from '../../../src/services/usage/usage.service';
import type { UsageQuery } from '../../../src/services/usage/usage.types';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { insertUsage, usageRow } from './usage-rows';

let database: TestDatabase;
let usage: UsageService;
let analyst: Viewer;
let operator: Viewer;
const small = newId('organization');
beforeAll(async () => {
  database = await createTestDatabase();
  usage = new UsageService({ db: database.db });
  analyst = {
    userId: newId('user'),
    organizationId: newId('organization'),
    role: 'ANALYST',
    planId: 'pln',
    tokenId: null,
    sessionId: null,
    expiresAtMs: null,
  };
  operator = { ...analyst, role: 'OPERATOR' };
  await setClock(database.db, '2026-11-20T12:00:00Z');
  for (const organization_id of [analyst.organizationId, small]) {
    await insertUsage(
      database.db,
      ['2026-07-10T12:00:00Z', '2026-11-10T12:00:00Z'].map((occurred_at) =>
        usageRow({ organization_id, user_id: analyst.userId, occurred_at }),
      ),
    );
  }
  await database.db.query('SELECT weir.fold(100)');
  // As if these were the first of six hundred thousand.
  for (const [table, condition] of [
    ['usage_daily', `organization_id = '${analyst.organizationId}'`],
    ['usage_daily_by_user', `organization_id = '${analyst.organizationId}'`],
    ['usage_daily_overall', 'true'],
  ]) {
    await database.db.query(`UPDATE ${table} SET calls = 600000 WHERE ${condition}`);
  }
});
afterAll(() => database.close());
afterEach(() => database.db.query(`UPDATE usage_retention SET dropped_before = '-infinity'`));

const day = (text: string): Date => new Date(`${text}T00:00:00Z`);
const JULY = { from: day('2026-07-01'), to: day('2026-08-01') };
const query = (more: Partial<UsageQuery>): UsageQuery => ({
  groupBy: [],
  interval: null,
  timeZone: 'UTC',
  orderBy: 'COST_DESC',
  limit: 10,
  ...more,
  filter: { ...JULY, ...more.filter },
});

it.each([
  ['groupBy', { groupBy: ['AGENT'] }, 'no summary by AGENT'],
  ['groupBy', { groupBy: ['USER', 'SCENARIO'] }, 'no summary by USER and SCENARIO'],
  ['groupBy', { groupBy: ['PROJECT', 'USER'] }, 'Choose a shorter span'],
  ['filter.agents', { groupBy: ['MODEL'], filter: { agents: ['writer'] } }, 'no summary by MODEL and AGENT'],
  ['filter.traceId', { filter: { traceId: 't' } }, 'traceId'],
  ['timeZone', { groupBy: ['MODEL'], interval: 'DAY', timeZone: 'Asia/Kolkata' }, 'the last 59 days'],
  ['interval', { groupBy: ['MODEL'], interval: 'HOUR' }, 'quarter of an hour'],
  ['filter.from', { groupBy: ['MODEL'], filter: { from: new Date('2026-07-10T00:00:01Z') } }, 'midnight UTC'],
] as [string, Partial<UsageQuery>, string][])(
  'what would read too many single calls is refused by %s: %j',
  async (argument, more, why) => {
    const refused = usage.report(analyst, query(more));
    await expect(refused).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument });
    await expect(refused).rejects.toThrow(why);
    await expect(refused).rejects.toThrow(/about \d{6} single calls, and at most 500000/);
    await expect(usage.report(operator, query(more))).rejects.toMatchObject({ argument });
  },
);

it('cubes answer whatever the number of calls is', async () => {
  for (const more of [
    { groupBy: ['MODEL', 'STATUS'] },
    { groupBy: ['USER'] },
    { groupBy: ['PROJECT'], interval: 'WEEK' },
  ] as Partial<UsageQuery>[])
    await usage.report(analyst, query(more));
  const november = { from: day('2026-11-01'), to: day('2026-11-20') };
  for (const interval of ['HOUR', 'DAY'] as const)
    await usage.report(analyst, query({ groupBy: ['MODEL'], interval, timeZone: 'Asia/Kathmandu', filter: november }));
});

it('is not refused for what others have, nor for days that are hardly touched', async () => {
  expect((await usage.report({ ...analyst, organizationId: small }, query({ groupBy: ['AGENT'] }))).totals.calls).toBe(
    1,
  );
  expect(
    (await usage.report(operator, query({ groupBy: ['AGENT'], filter: { organizationIds: [small] } }))).totals.calls,
  ).toBe(1);
  expect(
    (await usage.report({ ...analyst, role: 'MEMBER', userId: newId('user') }, query({ groupBy: ['AGENT'] }))).totals
      .calls,
  ).toBe(0);
  expect(
    (
      await usage.report(
        analyst,
        query({
          groupBy: ['PROVIDER'],
          filter: { from: new Date('2026-07-10T11:30:00Z'), to: new Date('2026-07-10T13:00:00Z') },
        }),
      )
    ).totals.calls,
  ).toBe(1);
});

it('conversations have an index of their own', async () => {
  expect(
    (await usage.report(analyst, query({ groupBy: ['AGENT'], filter: { conversationId: 'conv_x' } }))).totals.calls,
  ).toBe(0);
});

it('a month of rows is not removed while a report is made: it is removed before it, or after it', async () => {
  const removals: unknown[] = [];
  const remove = `DO $$ BEGIN LOCK TABLE ONLY llm_usage IN ACCESS EXCLUSIVE MODE NOWAIT; END $$`;
  const db = {
    ...database.db,
    readTransaction: <T>(begin: string, work: (tx: ReadTx) => Promise<T>): Promise<T> =>
      database.db.readTransaction(begin, async (tx) => {
        const answer = await work(tx);
        removals.push(await database.db.query(remove).catch((error: { code: string }) => error.code));
        return answer;
      }),
  };
  await new UsageService({ db }).report({ ...analyst, organizationId: small }, query({ groupBy: ['MODEL'] }));
  expect(removals).toEqual(['55P03']);
  // Nobody waits for the end of the report's transaction: this does.
  await database.db.query(remove.replace(' NOWAIT', ''));
});

describe('single calls that are no longer kept', () => {
  beforeEach(() => database.db.query(`UPDATE usage_retention SET dropped_before = '2026-09-01'`));

  it.each([
    ['groupBy', { groupBy: ['AGENT'] }],
    ['timeZone', { interval: 'DAY', timeZone: 'Asia/Kolkata' }],
    ['pricesAsOf', { groupBy: ['MODEL'], pricesAsOf: new Date('2026-07-10T12:30:00Z') }],
  ] as [string, Partial<UsageQuery>][])('are not left out silently: refused by %s', async (argument, more) => {
    const refused = usage.report({ ...analyst, organizationId: small }, query(more));
    await expect(refused).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument });
    await expect(refused).rejects.toThrow('from before 2026-09-01T00:00:00.000Z, which are no longer kept');
  });

  it('stay in the cubes, and where there were none, nothing is missing', async () => {
    expect(
      (await usage.report({ ...analyst, organizationId: small }, query({ groupBy: ['MODEL', 'STATUS'] }))).totals.calls,
    ).toBe(1);
    expect(
      (
        await usage.report(
          { ...analyst, organizationId: small },
          query({ groupBy: ['AGENT'], filter: { from: day('2026-07-11'), to: day('2026-11-20') } }),
        )
      ).totals.calls,
    ).toBe(1);
    expect(
      (
        await usage.report(
          { ...analyst, organizationId: newId('organization') },
          query({ groupBy: ['AGENT'], filter: { from: day('2020-01-01') } }),
        )
      ).totals.calls,
    ).toBe(0);
  });
});
