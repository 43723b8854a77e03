import type { Budget, BudgetEdit } from '../../../src/domain/budget';
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

describe('edits in the middle of a period', () => {
  let database: TestDatabase;
  let bench: BudgetBench;
  let world: World;
  let user: TestUser;
  beforeAll(async () => {
    database = await createTestDatabase();
    bench = budgetBench(database);
  });
  beforeEach(async () => {
    await setClock(database.db, '2026-11-18T12:00:00Z');
    world = await createWorld(database.db);
    user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
  });
  afterAll(() => database.close());

  const set = (fields: Partial<BudgetEdit> = {}): Promise<Budget> =>
    bench.budgets.set(world.admin.viewer, budgetOf({ scope: 'USER', subjectId: user.id, ...fields }));
  const read = async ({ id }: { id: string }): Promise<Budget> => (await bench.budgets.get(world.admin.viewer, id))!;
  const amounts = ({ spent, held, remaining, overage }: Budget): string =>
    `${spent} spent, ${held} held, ${remaining} remaining, ${overage} over`;
  const alertsOf = ({ id }: { id: string }): Promise<{ percent: number; spent: string; limit_amount: string }[]> =>
    database.db.query(
      'SELECT percent, spent::text, limit_amount::text FROM budget_alerts WHERE budget_id = $1 ORDER BY at',
      [id],
    );

  it('a lower limit counts at once: below what is spent and held nothing more is admitted, and what runs goes on', async () => {
    const budget = await set({ limit: '10' });
    await spend(database.db, user, '3');
    const running = await admit(database.db, user, '2');
    expect(amounts(await set({ id: budget.id, limit: '4' }))).toBe('3 spent, 2 held, 0 remaining, 0 over');
    expect(await ask(database.db, user, '0.000001')).toMatchObject({
      kind: 'BUDGET_EXCEEDED',
      budget: { id: budget.id, limit: '4', remaining: '0' },
      room: '0',
    });
    await settle(database.db, user, running, '2');
    expect(amounts(await read(budget))).toBe('5 spent, 0 held, 0 remaining, 0 over');
    expect(amounts(await set({ id: budget.id, limit: '6' }))).toBe('5 spent, 0 held, 1 remaining, 0 over');
    await spend(database.db, user, '1');
  });

  it('a new budget begins with what its subject has spent in the period, and with what runs now', async () => {
    await setClock(database.db, '2026-11-17T23:59:59Z');
    await spend(database.db, user, '1');
    const yesterdays = await admit(database.db, user, '16');
    await setClock(database.db, '2026-11-18T12:00:00Z');
    const first = await spend(database.db, user, '2');
    await spend(database.db, world.member, '32');
    const running = await admit(database.db, user, '4');
    const [day, month] = [await set({ period: 'DAY', limit: '100' }), await set({ period: 'MONTH', limit: '100' })];
    expect(amounts(day)).toBe('2 spent, 4 held, 94 remaining, 0 over');
    expect(amounts(month)).toBe('3 spent, 20 held, 77 remaining, 0 over');
    // What it did not see being admitted is booked there as well, each on the days on which it was.
    await settle(database.db, user, running, '3');
    await settle(database.db, user, yesterdays, '8');
    expect(amounts(await read(day))).toBe('5 spent, 0 held, 95 remaining, 0 over');
    expect(amounts(await read(month))).toBe('14 spent, 0 held, 86 remaining, 0 over');
    expect(first.heldOn).toEqual([]);
  });

  it.each(['ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN'] as const)(
    'a new budget of scope %s counts what is of its subject, and nothing else',
    async (scope) => {
      const projectId = await createProject(database.db, world.organizationId);
      const subjectId = {
        ORGANIZATION: world.organizationId,
        PROJECT: projectId,
        USER: user.id,
        API_TOKEN: user.tokenId,
      }[scope];
      await spend(database.db, user, '1', { projectId });
      await spend(database.db, user, '2');
      await spend(database.db, user, '4', { tokenId: null });
      await spend(database.db, world.member, '8', { projectId });
      await admit(database.db, user, '16', { projectId });
      const elsewhere = await createWorld(database.db);
      await spend(database.db, elsewhere.member, '32');
      const budget = await set({ scope, subjectId, limit: '100' });
      const expected = {
        ORGANIZATION: '15 spent, 16 held',
        PROJECT: '9 spent, 16 held',
        USER: '7 spent, 16 held',
        API_TOKEN: '3 spent, 16 held',
      }[scope];
      expect(amounts(budget)).toContain(expected);
      // And what comes adds to it.
      await spend(database.db, user, '1', { projectId });
      expect(Number((await read(budget)).spent)).toBe(Number(budget.spent) + 1);
    },
  );

  it('another period begins with what was spent in it, in both directions', async () => {
    await setClock(database.db, '2026-11-10T12:00:00Z');
    const budget = await set({ period: 'MONTH', limit: '100' });
    await spend(database.db, user, '1');
    await setClock(database.db, '2026-11-17T12:00:00Z');
    await spend(database.db, user, '2');
    await setClock(database.db, '2026-11-18T12:00:00Z');
    await spend(database.db, user, '4');
    const running = await admit(database.db, user, '8');
    expect(amounts(await read(budget))).toBe('7 spent, 8 held, 85 remaining, 0 over');
    const { id } = budget;
    const day = await set({ id, period: 'DAY', limit: '100' });
    expect([amounts(day), day.periodStart.toISOString(), day.resetsAt.toISOString()]).toEqual([
      '4 spent, 8 held, 88 remaining, 0 over',
      '2026-11-18T00:00:00.000Z',
      '2026-11-19T00:00:00.000Z',
    ]);
    expect(amounts(await set({ id, period: 'WEEK', limit: '100' }))).toBe('6 spent, 8 held, 86 remaining, 0 over');
    expect(amounts(await set({ id, period: 'MONTH', limit: '100' }))).toBe('7 spent, 8 held, 85 remaining, 0 over');
    await settle(database.db, user, running, '5');
    expect(amounts(await read(budget))).toBe('12 spent, 0 held, 88 remaining, 0 over');
  });

  it('another zone moves the edges of the period, and what lies between them', async () => {
    await setClock(database.db, '2026-11-17T23:30:00Z');
    const budget = await set({ period: 'DAY', limit: '100' });
    await spend(database.db, user, '1');
    await setClock(database.db, '2026-11-18T00:30:00Z');
    await spend(database.db, user, '2');
    expect(amounts(await read(budget))).toContain('2 spent');
    const berlin = await set({ id: budget.id, period: 'DAY', limit: '100', timeZone: 'Europe/Berlin' });
    expect([berlin.spent, berlin.periodStart.toISOString()]).toEqual(['3', '2026-11-17T23:00:00.000Z']);
    const tokyo = await set({ id: budget.id, period: 'DAY', limit: '100', timeZone: 'Asia/Tokyo' });
    expect([tokyo.spent, tokyo.periodStart.toISOString()]).toEqual(['3', '2026-11-17T15:00:00.000Z']);
    expect((await set({ id: budget.id, period: 'DAY', limit: '100', timeZone: 'UTC' })).spent).toBe('2');
  });

  it('a budget that is removed while calls run lets them end, and one that is made anew then has what they cost', async () => {
    const budget = await set({ limit: '10' });
    const running = await admit(database.db, user, '2');
    const other = await admit(database.db, user, '3');
    await bench.budgets.remove(world.admin.viewer, budget.id);
    expect(await read(budget)).toBeNull();
    await settle(database.db, user, running, '1');
    const again = await set({ limit: '10' });
    expect(amounts(again)).toBe('1 spent, 3 held, 6 remaining, 0 over');
    await settle(database.db, user, other, '3');
    expect(amounts(await read(again))).toBe('4 spent, 0 held, 6 remaining, 0 over');
  });

  it('what a provider used above the hold is booked whole and shown as overage, as far as it is above the limit; a correction takes it back', async () => {
    const budget = await set({ limit: '10' });
    const call = await admit(database.db, user, '8');
    await settle(database.db, user, call, '13');
    expect(amounts(await read(budget))).toBe('13 spent, 0 held, 0 remaining, 3 over');
    await correct(database.db, user, call, '9');
    expect(amounts(await read(budget))).toBe('9 spent, 0 held, 1 remaining, 0 over');
  });

  it('a correction of a call from before the budget was made, or its period moved, reaches it as well', async () => {
    const before = await spend(database.db, user, '5');
    const budget = await set({ limit: '100' });
    await correct(database.db, user, before, '2');
    expect((await read(budget)).spent).toBe('2');
    const second = await spend(database.db, user, '5');
    await set({ id: budget.id, limit: '100', period: 'WEEK' });
    await correct(database.db, user, second, '1');
    expect((await read(budget)).spent).toBe('3');
  });

  it('a limit of nothing admits nothing', async () => {
    await set({ limit: '0' });
    expect(await ask(database.db, user, '0.000000000001')).toMatchObject({ kind: 'BUDGET_EXCEEDED' });
    expect(await ask(database.db, user, null)).toMatchObject({ kind: 'UNPRICED' });
  });

  it('thresholds that are due under a new limit, or are new themselves, are told at once; those that were told are not told again', async () => {
    const budget = await set({ limit: '100', alertAtPercent: [50] });
    await spend(database.db, user, '10');
    expect(await alertsOf(budget)).toEqual([]);
    const { id } = budget;
    await set({ id, limit: '20', alertAtPercent: [50, 90] });
    expect(await alertsOf(budget)).toEqual([{ percent: 50, spent: '10', limit_amount: '20' }]);
    await set({ id, limit: '20', alertAtPercent: [50, 90, 30] });
    await set({ id, limit: '18', alertAtPercent: [50, 90, 30] });
    expect((await alertsOf(budget)).map(({ percent }) => percent)).toEqual([50, 30]);
    // Nor where the period is counted anew.
    await set({ id, limit: '18', alertAtPercent: [50, 90, 30], timeZone: 'Europe/Berlin' });
    expect((await alertsOf(budget)).map(({ percent }) => percent)).toEqual([50, 30]);
  });

  it('a soft limit is an alert at its part of the limit, and keeps no call from anything', async () => {
    const budget = await set({ limit: '9', softLimit: '3', alertAtPercent: [] });
    await spend(database.db, user, '2.99');
    expect(await alertsOf(budget)).toEqual([]);
    await spend(database.db, user, '0.01');
    expect(await alertsOf(budget)).toEqual([{ percent: 33, spent: '3.00', limit_amount: '9' }]);
    await spend(database.db, user, '6');
    expect(await alertsOf(budget)).toHaveLength(1);
    const both = await set({ limit: '0', softLimit: '0' });
    expect(await alertsOf(both)).not.toEqual([]);
  });

  it('a budget that is made while calls come and go counts each of them once', async () => {
    const made: Budget[] = [];
    const calls = Array.from({ length: 40 }, async (_, i) => {
      if (i % 8 === 3) made.push(await set({ limit: '1000', period: i % 16 === 3 ? 'DAY' : 'MONTH' }));
      const call = await admit(database.db, user, '2');
      if (i % 8 === 5 && made[0]) await set({ id: made[0].id, limit: '1000', period: i % 16 === 5 ? 'WEEK' : 'DAY' });
      await settle(database.db, user, call, '1');
    });
    await Promise.all(calls);
    expect(made).toHaveLength(5);
    for (const budget of made) expect(amounts(await read(budget))).toBe('40 spent, 0 held, 960 remaining, 0 over');
  });
});
