import { Client } from 'pg';
import { PlanService } from '../../../src/services/plans/plan.service';
import { PeopleService } from '../../../src/services/accounts/people.service';
import type { Budget } from '../../../src/domain/budget';
import { admit, ask, budgetBench, budgetOf, settle, spend, type BudgetBench } from '../../support/budgets';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createPlan, createUser, createWorld, type TestUser, type World } from '../../support/factories';
import { waitFor } from '../../support/wait';

describe("a plan's monthly budget", () => {
  let database: TestDatabase;
  let bench: BudgetBench;
  let world: World;
  let plans: PlanService;
  let people: PeopleService;
  let planId: string;
  let user: TestUser;
  beforeAll(async () => {
    database = await createTestDatabase();
    bench = budgetBench(database);
    plans = new PlanService({ db: database.db });
    people = new PeopleService({
      db: database.db,
      plans,
      keys: { follow: async () => undefined } as never,
      auth: { forgetUser: () => undefined } as never,
      onAccessEnded: () => undefined,
    });
    await setClock(database.db, '2026-11-18T12:00:00Z');
  });
  beforeEach(async () => {
    world = await createWorld(database.db);
    planId = await createPlan(database.db);
    user = await createUser(database.db, { organizationId: world.organizationId, planId });
  });
  afterAll(() => database.close());

  const planBudget = (monthlyBudget: string | null, id = planId) =>
    plans.upsert(world.operator.viewer, { id, name: `plan ${id}`, models: ['direct/*'], limits: { monthlyBudget } });
  const budgetsOf = (someone: TestUser): Promise<Budget[]> =>
    bench.budgets.list(someone.viewer, { subjectId: someone.id });
  const only = async (someone: TestUser): Promise<Budget> => {
    const found = await budgetsOf(someone);
    expect(found).toHaveLength(1);
    return found[0]!;
  };

  it('is a budget of each of its users: a calendar month in UTC, filled in with what the month has cost so far', async () => {
    const other = await createUser(database.db, { organizationId: world.organizationId, planId });
    await spend(database.db, user, '2');
    const running = await admit(database.db, user, '1');
    await planBudget('5');
    expect(await only(user)).toMatchObject({
      scope: 'USER',
      subjectId: user.id,
      period: 'MONTH',
      timeZone: 'UTC',
      limit: '5',
      planId,
      spent: '2',
      held: '1',
      remaining: '2',
      alertAtPercent: [80, 90],
    });
    expect(await only(other)).toMatchObject({ limit: '5', spent: '0' });
    expect(await budgetsOf(world.member)).toEqual([]);
    await settle(database.db, user, running, '1');
    expect(await ask(database.db, user, '2.01')).toMatchObject({ kind: 'BUDGET_EXCEEDED' });
    await spend(database.db, user, '2');
  });

  it('follows the plan: raised, lowered, taken away and given back', async () => {
    await planBudget('5');
    await spend(database.db, user, '4.5');
    const { id } = await only(user);
    await planBudget('6');
    expect(await only(user)).toMatchObject({ id, limit: '6', spent: '4.5' });
    await planBudget('3');
    expect(await only(user)).toMatchObject({ id, limit: '3', remaining: '0' });
    await planBudget(null);
    expect(await budgetsOf(user)).toEqual([]);
    await spend(database.db, user, '1');
    await planBudget('7');
    expect(await only(user)).toMatchObject({ limit: '7', spent: '5.5' });
  });

  it('goes with the user from plan to plan, and the month with it', async () => {
    await planBudget('5');
    await spend(database.db, user, '2');
    const bigger = await createPlan(database.db);
    const free = await createPlan(database.db);
    await planBudget('50', bigger);
    const move = (to: string) => people.setUserPlan(world.admin.viewer, user.id, to);
    await move(bigger);
    expect(await only(user)).toMatchObject({ limit: '50', planId: bigger, spent: '2' });
    await move(free);
    expect(await budgetsOf(user)).toEqual([]);
    await move(planId);
    expect(await only(user)).toMatchObject({ limit: '5', planId, spent: '2' });
  });

  it('is there for a user who is new, and gone with one who is deleted', async () => {
    await planBudget('5');
    const made = await people.createUser(world.admin.viewer, { name: 'New', role: 'MEMBER', planId });
    const [budget] = await bench.budgets.list(world.admin.viewer, { subjectId: made.id });
    expect(budget).toMatchObject({ limit: '5', spent: '0', planId });
    await people.deleteUser(world.admin.viewer, made.id);
    expect(await bench.budgets.list(world.admin.viewer, { subjectId: made.id })).toEqual([]);
  });

  it('is changed with the plan and by nobody else: both roles are told which plan', async () => {
    await planBudget('5');
    const budget = await only(user);
    const refused = {
      code: 'BAD_USER_INPUT',
      public: expect.stringContaining(
        `made by the plan plan ${planId}: change the plan's monthlyBudget with upsertPlan`,
      ) as string,
    };
    for (const { viewer } of [world.admin, world.operator]) {
      await expect(
        bench.budgets.set(viewer, budgetOf({ id: budget.id, scope: 'USER', subjectId: user.id, limit: '1000' })),
      ).rejects.toMatchObject({ ...refused, argument: 'id' });
      await expect(bench.budgets.remove(viewer, budget.id)).rejects.toMatchObject({ ...refused, argument: 'id' });
    }
    expect(await only(user)).toMatchObject({ limit: '5' });
  });

  it('stands beside budgets that were set, and the narrower one decides', async () => {
    await planBudget('5');
    await bench.budgets.set(
      world.admin.viewer,
      budgetOf({ scope: 'USER', subjectId: user.id, period: 'DAY', limit: '1' }),
    );
    expect(await budgetsOf(user)).toHaveLength(2);
    expect(await ask(database.db, user, '1.01')).toMatchObject({
      kind: 'BUDGET_EXCEEDED',
      budget: { period: 'DAY', limit: '1' },
    });
    await planBudget('0.5');
    expect(await ask(database.db, user, '0.51')).toMatchObject({
      kind: 'BUDGET_EXCEEDED',
      budget: { period: 'MONTH', limit: '0.5' },
    });
  });

  it.each([
    ['had none', null],
    ['had another one', '5'],
  ])(
    'a user who comes to a plan at the moment in which its budget changes gets the new one, where the plan %s',
    async (_what, before) => {
      await planBudget(before);
      const arriving = new Client({ connectionString: database.url });
      await arriving.connect();
      await arriving.query('BEGIN');
      await arriving.query('UPDATE users SET plan_id = $2 WHERE id = $1', [world.member.id, planId]);
      let done = false;
      const change = planBudget('6').finally(() => (done = true));
      // Either it does not see the user, who is not committed yet, or it waits for the user.
      await waitFor(
        async () =>
          done ||
          (
            await database.db.query(
              `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
            )
          ).length > 0,
        { what: 'the change of the plan' },
      );
      await arriving.query('COMMIT');
      await arriving.end();
      await change;
      expect((await budgetsOf(world.member)).map(({ limit }) => limit)).toEqual(['6']);
    },
  );
});
