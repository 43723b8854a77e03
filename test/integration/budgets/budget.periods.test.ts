import type { BudgetPeriod, BudgetScope } from '../../../src/domain/budget';
import {
  admit,
  ask,
  budgetBench,
  budgetOf,
  correct,
  createProject,
  settle,
  spend,
  type BudgetBench,
} from '../../support/budgets';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createUser, createWorld, type TestUser, type World } from '../../support/factories';

describe('periods', () => {
  let database: TestDatabase;
  let bench: BudgetBench;
  let world: World;
  beforeAll(async () => {
    database = await createTestDatabase();
    bench = budgetBench(database);
    world = await createWorld(database.db);
  });
  afterAll(() => database.close());

  const at = (time: string): Promise<void> => setClock(database.db, time);
  const newUser = (): Promise<TestUser> =>
    createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
  const setFor = (user: TestUser, period: BudgetPeriod, timeZone: string, limit = '10') =>
    bench.budgets.set(world.admin.viewer, budgetOf({ scope: 'USER', subjectId: user.id, period, timeZone, limit }));
  const bounds = ({ periodStart, resetsAt }: { periodStart: Date; resetsAt: Date }): string[] => [
    periodStart.toISOString(),
    resetsAt.toISOString(),
  ];

  it.each<[string, BudgetPeriod, string, string, string, string]>([
    [
      'the last millisecond of a day',
      'DAY',
      'UTC',
      '2026-11-20T23:59:59.999Z',
      '2026-11-20T00:00:00.000Z',
      '2026-11-21T00:00:00.000Z',
    ],
    [
      'the first moment of a day',
      'DAY',
      'UTC',
      '2026-11-21T00:00:00.000Z',
      '2026-11-21T00:00:00.000Z',
      '2026-11-22T00:00:00.000Z',
    ],
    [
      'a day in Berlin that is another one in UTC',
      'DAY',
      'Europe/Berlin',
      '2026-07-31T22:30:00Z',
      '2026-07-31T22:00:00.000Z',
      '2026-08-01T22:00:00.000Z',
    ],
    [
      'a month in Berlin over the change to winter time',
      'MONTH',
      'Europe/Berlin',
      '2026-10-25T12:00:00Z',
      '2026-09-30T22:00:00.000Z',
      '2026-10-31T23:00:00.000Z',
    ],
    [
      'the end of a month in Berlin',
      'MONTH',
      'Europe/Berlin',
      '2026-10-31T22:59:59.999Z',
      '2026-09-30T22:00:00.000Z',
      '2026-10-31T23:00:00.000Z',
    ],
    [
      'February of a leap year',
      'MONTH',
      'UTC',
      '2028-02-29T23:00:00Z',
      '2028-02-01T00:00:00.000Z',
      '2028-03-01T00:00:00.000Z',
    ],
    [
      'December, to the next year',
      'MONTH',
      'Asia/Kathmandu',
      '2026-12-31T18:00:00Z',
      '2026-11-30T18:15:00.000Z',
      '2026-12-31T18:15:00.000Z',
    ],
    [
      'a Sunday, which ends a week',
      'WEEK',
      'UTC',
      '2026-11-22T23:59:59.999Z',
      '2026-11-16T00:00:00.000Z',
      '2026-11-23T00:00:00.000Z',
    ],
    [
      'a Monday, which begins one',
      'WEEK',
      'UTC',
      '2026-11-23T00:00:00Z',
      '2026-11-23T00:00:00.000Z',
      '2026-11-30T00:00:00.000Z',
    ],
    [
      'a week over New Year',
      'WEEK',
      'America/New_York',
      '2027-01-01T12:00:00Z',
      '2026-12-28T05:00:00.000Z',
      '2027-01-04T05:00:00.000Z',
    ],
    [
      'a week with the change to summer time, which has 167 hours',
      'WEEK',
      'Europe/Berlin',
      '2026-03-29T20:00:00Z',
      '2026-03-22T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
    ],
    // In Havana clocks go from 01:00 back to 00:00 on 1 November: midnight comes twice, at 04:00Z and at 05:00Z.
    [
      'the last moment of October in Havana',
      'MONTH',
      'America/Havana',
      '2026-11-01T03:59:59.999Z',
      '2026-10-01T04:00:00.000Z',
      '2026-11-01T04:00:00.000Z',
    ],
    [
      'the first hour of November in Havana, for the first time',
      'MONTH',
      'America/Havana',
      '2026-11-01T04:30:00Z',
      '2026-11-01T04:00:00.000Z',
      '2026-12-01T05:00:00.000Z',
    ],
    [
      'the first hour of November in Havana, for the second time',
      'DAY',
      'America/Havana',
      '2026-11-01T05:30:00Z',
      '2026-11-01T04:00:00.000Z',
      '2026-11-02T05:00:00.000Z',
    ],
    // Where clocks go forward over midnight there is none: the day begins at 01:00.
    [
      'a day without its first hour, in Cairo',
      'DAY',
      'Africa/Cairo',
      '2026-04-23T22:00:00Z',
      '2026-04-23T22:00:00.000Z',
      '2026-04-24T21:00:00.000Z',
    ],
    [
      'the day before it',
      'DAY',
      'Africa/Cairo',
      '2026-04-23T21:59:59.999Z',
      '2026-04-22T22:00:00.000Z',
      '2026-04-23T22:00:00.000Z',
    ],
    [
      'a day without its first hour, in Beirut',
      'DAY',
      'Asia/Beirut',
      '2026-03-29T10:00:00Z',
      '2026-03-28T22:00:00.000Z',
      '2026-03-29T21:00:00.000Z',
    ],
    [
      'clocks that change by half an hour, on Lord Howe',
      'DAY',
      'Australia/Lord_Howe',
      '2026-04-04T20:00:00Z',
      '2026-04-04T13:00:00.000Z',
      '2026-04-05T13:30:00.000Z',
    ],
  ])('%s', async (_what, period, timeZone, now, start, end) => {
    await at(now);
    const user = await newUser();
    const filled = await setFor(user, period, timeZone);
    expect(bounds(filled)).toEqual([start, end]);
    // Computed where there is no row yet, and as admission writes it.
    await database.db.query('DELETE FROM budget_periods WHERE budget_id = $1', [filled.id]);
    expect(bounds((await bench.budgets.get(user.viewer, filled.id))!)).toEqual([start, end]);
    await spend(database.db, user, '1');
    const spent = (await bench.budgets.get(user.viewer, filled.id))!;
    expect([...bounds(spent), spent.spent, spent.held, spent.remaining]).toEqual([start, end, '1', '0', '9']);
    expect(
      await database.db.query('SELECT starts_at, ends_at FROM budget_periods WHERE budget_id = $1', [filled.id]),
    ).toEqual([{ starts_at: new Date(start), ends_at: new Date(end) }]);
  });

  it('a date begins at its first moment, in every zone, on every day of two years', async () => {
    const zones = Intl.supportedValuesOf('timeZone');
    const rows = await database.db.query<{ zone: string; day: string; midnight: Date }>(
      `SELECT zone, day::date::text AS day, midnight FROM unnest($1::text[]) AS zone
       CROSS JOIN LATERAL (
         -- Days around each change of the clocks; the rest of the year is alike.
         SELECT DISTINCT d.day FROM (SELECT t, lag(t - (t AT TIME ZONE zone AT TIME ZONE 'UTC')) OVER (ORDER BY t) <> t - (t AT TIME ZONE zone AT TIME ZONE 'UTC') AS changed
           FROM generate_series(timestamptz '2026-01-01', '2028-01-01', '1 day') AS t) AS changes
         CROSS JOIN LATERAL generate_series(t - interval '2 days', t + interval '1 day', '1 day') AS d(day) WHERE changed OR extract(day FROM t) = 15 AND extract(month FROM t) = 6) AS days
       CROSS JOIN LATERAL (SELECT weir.local_midnight(day::date, zone) AS midnight) AS m`,
      [zones],
    );
    expect(rows.length).toBeGreaterThan(2_000);
    const formats = new Map(
      zones.map((zone) => [zone, new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short' })]),
    );
    const wrong = rows.filter(
      ({ zone, day, midnight }) =>
        formats.get(zone)!.format(midnight) !== day || formats.get(zone)!.format(midnight.getTime() - 1) >= day,
    );
    expect(wrong).toEqual([]);
  });

  it('nothing carries over: the next period begins with nothing spent, without anybody resetting it', async () => {
    const user = await newUser();
    await at('2026-11-20T12:00:00Z');
    const { id } = await setFor(user, 'DAY', 'UTC', '1');
    await spend(database.db, user, '1');
    expect(await ask(database.db, user, '0.01')).toMatchObject({ kind: 'BUDGET_EXCEEDED', budget: { id } });
    await at('2026-11-21T00:00:00Z');
    expect(await bench.budgets.get(user.viewer, id)).toMatchObject({ spent: '0', remaining: '1' });
    await spend(database.db, user, '1');
    // Back to the day before, as a clock that was wrong does: what was spent on it still is.
    await at('2026-11-20T23:00:00Z');
    expect(await bench.budgets.get(user.viewer, id)).toMatchObject({ spent: '1', remaining: '0' });
  });

  it('a call over midnight is booked on the day on which it was admitted', async () => {
    const user = await newUser();
    await at('2026-11-20T23:59:59.999Z');
    const { id } = await setFor(user, 'DAY', 'UTC', '5');
    const call = await admit(database.db, user, '3');
    await at('2026-11-21T00:00:00Z');
    expect(await bench.budgets.get(user.viewer, id)).toMatchObject({ held: '0', spent: '0', remaining: '5' });
    await settle(database.db, user, call, '2');
    expect(await bench.budgets.get(user.viewer, id)).toMatchObject({ held: '0', spent: '0', remaining: '5' });
    await at('2026-11-20T23:59:59.999Z');
    expect(await bench.budgets.get(user.viewer, id)).toMatchObject({ held: '0', spent: '2' });
  });

  it('spentToday is what was booked since midnight in the zone of the budget, corrections included, of each scope', async () => {
    const { db } = database;
    const own = await createWorld(db);
    const { member: user, admin } = own;
    const projectId = await createProject(db, own.organizationId);
    await at('2026-11-20T22:30:00Z');
    await spend(db, user, '1', { projectId });
    await at('2026-11-20T23:30:00Z');
    const second = await spend(db, user, '2', { projectId });
    await at('2026-11-21T00:30:00Z');
    await spend(db, user, '4', { projectId });
    // Not of the user, nor the token, nor the project.
    await spend(db, admin, '8');
    const subjects = { ORGANIZATION: own.organizationId, PROJECT: projectId, USER: user.id, API_TOKEN: user.tokenId };
    const spentToday = async (scope: BudgetScope, period: BudgetPeriod, timeZone: string): Promise<string> => {
      const budget = await bench.budgets.set(
        admin.viewer,
        budgetOf({ scope, subjectId: subjects[scope], period, timeZone, limit: '100' }),
      );
      return (await bench.budgets.spentToday([budget]))[0]!;
    };
    const [UTC, BERLIN, NEW_YORK] = ['UTC', 'Europe/Berlin', 'America/New_York'] as const;
    for (const [scope, utc, berlin, newYork] of [
      ['ORGANIZATION', '12', '14', '15'],
      ['PROJECT', '4', '6', '7'],
      ['USER', '4', '6', '7'],
      ['API_TOKEN', '4', '6', '7'],
    ] as const) {
      expect({
        scope,
        spent: [
          await spentToday(scope, 'MONTH', UTC),
          await spentToday(scope, 'DAY', UTC),
          await spentToday(scope, 'WEEK', BERLIN),
          await spentToday(scope, 'MONTH', NEW_YORK),
        ],
      }).toEqual({ scope, spent: [utc, utc, berlin, newYork] });
    }
    await correct(db, user, second, '0.5', { projectId });
    expect(await spentToday('USER', 'MONTH', BERLIN)).toBe('4.5');
    // Many at once, each its own.
    const budgets = (
      await Promise.all(Object.values(subjects).map((subjectId) => bench.budgets.list(admin.viewer, { subjectId })))
    ).flat();
    expect(budgets).toHaveLength(17);
    const expected = ({ scope, timeZone }: (typeof budgets)[number]): number =>
      (scope === 'ORGANIZATION' ? 8 : 0) + { [UTC]: 4, [BERLIN]: 4.5, [NEW_YORK]: 5.5 }[timeZone]!;
    expect(await bench.budgets.spentToday(budgets)).toEqual(budgets.map((budget) => String(expected(budget))));
  });
});
