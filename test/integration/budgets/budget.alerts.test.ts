import type { Budget, BudgetAlert, BudgetEdit } from '../../../src/domain/budget';
import { admit, budgetBench, budgetOf, createProject, settle, spend, type BudgetBench } from '../../support/budgets';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createUser, createWorld, type TestUser, type World } from '../../support/factories';
import { eventually, waitFor } from '../../support/wait';

const LISTENERS = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'weir-alerts'`;

describe('budget alerts', () => {
  let database: TestDatabase;
  /**
   * Two processes on one database. They look by themselves so rarely that only a notification explains what arrives.
   */
  let benches: BudgetBench[];
  let world: World;
  let user: TestUser;
  const open: AsyncIterableIterator<BudgetAlert>[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    benches = [0, 1].map(() => budgetBench(database, { pollMs: 3_600_000, reconnectMs: 5 }));
    for (const { feed } of benches) await feed.start();
  });
  beforeEach(async () => {
    world = await createWorld(database.db);
    user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
  });
  afterEach(async () => {
    for (const stream of open.splice(0)) await stream.return!();
    expect(benches.map(({ feed }) => feed.size)).toEqual([0, 0]);
  });
  afterAll(async () => {
    for (const { feed } of benches) await feed.stop();
    await database.close();
  });

  const set = (fields: Partial<BudgetEdit> = {}): Promise<Budget> =>
    benches[0]!.budgets.set(
      world.operator.viewer,
      budgetOf({ scope: 'USER', subjectId: user.id, limit: '100', ...fields }),
    );
  /** What a subscriber gets, as it comes. */
  function follow(viewer: TestUser['viewer'], after: Date | null = null, bench = benches[1]!): BudgetAlert[] {
    const stream = bench.budgets.alerts(viewer, after);
    open.push(stream);
    const got: BudgetAlert[] = [];
    void (async () => {
      for await (const alert of stream) got.push(alert);
    })();
    return got;
  }
  const percents = (alerts: readonly BudgetAlert[]): number[] => alerts.map(({ percent }) => percent);
  const arrive = (alerts: readonly unknown[], count: number): Promise<unknown> =>
    waitFor(() => alerts.length >= count, { what: `${count} alerts` });
  /** An alert that everybody here sees, made last: whoever has it has everything before it. */
  const marker = async (streams: BudgetAlert[][]): Promise<void> => {
    const projectId = await createProject(database.db, world.organizationId);
    const budget = await set({ scope: 'PROJECT', subjectId: projectId, alertAtPercent: [1] });
    await spend(database.db, world.operator, '1', { projectId });
    for (const stream of streams) await waitFor(() => stream.at(-1)?.budgetId === budget.id, { what: 'the marker' });
    for (const stream of streams) stream.pop();
  };

  it('a threshold that is crossed is told once on each replica, with the amounts of that moment', async () => {
    const budget = await set({ alertAtPercent: [50, 80] });
    const streams = benches.map((bench) => follow(user.viewer, null, bench));
    await spend(database.db, user, '49.99');
    await spend(database.db, user, '0.01');
    for (const stream of streams) await arrive(stream, 1);
    await spend(database.db, user, '10');
    await spend(database.db, user, '40');
    for (const stream of streams) await arrive(stream, 2);
    await marker(streams);
    for (const stream of streams) {
      expect(stream.map(({ budgetId, percent, spent, limit }) => ({ budgetId, percent, spent, limit }))).toEqual([
        { budgetId: budget.id, percent: 50, spent: '50', limit: '100' },
        { budgetId: budget.id, percent: 80, spent: '100', limit: '100' },
      ]);
      expect(stream[0]!.at < stream[1]!.at).toBe(true);
    }
    expect(streams[0]).toEqual(streams[1]);
  });

  it('thresholds that one settlement crosses together are one alert each; the next period has its own', async () => {
    await setClock(database.db, '2027-01-10T12:00:00Z');
    await set({ period: 'DAY', alertAtPercent: [80, 20, 100], softLimit: '50' });
    const got = follow(user.viewer);
    await spend(database.db, user, '100');
    await arrive(got, 4);
    expect(percents(got)).toEqual([20, 50, 80, 100]);
    await setClock(database.db, '2027-01-11T00:00:00Z');
    await spend(database.db, user, '20');
    await arrive(got, 5);
    await marker([got]);
    expect(percents(got)).toEqual([20, 50, 80, 100, 20]);
    await setClock(database.db, null);
  });

  it('settlements that cross a threshold at the same time make one alert', async () => {
    const budget = await set({ alertAtPercent: [10] });
    const calls = await Promise.all(Array.from({ length: 20 }, () => admit(database.db, user, '5')));
    await Promise.all(calls.map((call) => settle(database.db, user, call, '5')));
    expect(await database.db.query('SELECT percent FROM budget_alerts WHERE budget_id = $1', [budget.id])).toEqual([
      { percent: 10 },
    ]);
  });

  it('reach those who may see the budget, and nobody else', async () => {
    const elsewhere = await createWorld(database.db);
    const people: Record<string, TestUser> = {
      user,
      colleague: world.member,
      analyst: world.analyst,
      admin: world.admin,
      operator: elsewhere.operator,
      stranger: elsewhere.admin,
    };
    const budgets = [
      await set({ alertAtPercent: [11] }),
      await set({ scope: 'API_TOKEN', subjectId: user.tokenId, alertAtPercent: [12] }),
      await set({ scope: 'ORGANIZATION', subjectId: world.organizationId, alertAtPercent: [13] }),
    ];
    const live = Object.fromEntries(Object.entries(people).map(([who, { viewer }]) => [who, follow(viewer)]));
    await spend(database.db, user, '20');
    const reached = ['user', 'colleague', 'analyst', 'admin', 'operator'];
    await marker(reached.map((who) => live[who]!));
    const expected = {
      user: [11, 12, 13],
      colleague: [13],
      analyst: [11, 12, 13],
      admin: [11, 12, 13],
      operator: [11, 12, 13],
      stranger: [],
    };
    const shown = (streams: Record<string, BudgetAlert[]>) =>
      Object.fromEntries(
        Object.entries(streams).map(([who, alerts]) => [
          who,
          percents(alerts)
            .filter((percent) => percent > 1)
            .sort(),
        ]),
      );
    expect(shown(live)).toEqual(expected);
    // From the table as from the wire.
    const [first] = await database.db.query<{ at: Date }>(
      'SELECT min(at) AS at FROM budget_alerts WHERE budget_id = ANY($1)',
      [budgets.map(({ id }) => id)],
    );
    const past = Object.fromEntries(
      Object.entries(people).map(([who, { viewer }]) => [who, follow(viewer, new Date(first!.at.getTime() - 1))]),
    );
    await marker(reached.map((who) => past[who]!));
    expect(shown(past)).toEqual(expected);
  });

  it('what a user may see is asked anew: who is no administrator any more gets no more alerts of others', async () => {
    await set({ alertAtPercent: [11, 12] });
    const got = follow(world.admin.viewer);
    await spend(database.db, user, '11');
    await arrive(got, 1);
    await database.db.query(`UPDATE users SET role = 'MEMBER' WHERE id = $1`, [world.admin.id]);
    await spend(database.db, user, '1');
    await marker([got]);
    expect(percents(got)).toEqual([11]);
  });

  it('`after` brings what was missed, then what comes, each once and in order', async () => {
    const thresholds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const budgets = [
      await set({ alertAtPercent: thresholds }),
      await set({ scope: 'ORGANIZATION', subjectId: world.organizationId, alertAtPercent: thresholds }),
    ];
    for (let i = 0; i < 3; i += 1) await spend(database.db, user, '1');
    const rows = await database.db.query<{ id: string; at: Date }>(
      'SELECT id, at FROM budget_alerts WHERE budget_id = ANY($1) ORDER BY at',
      [budgets.map(({ id }) => id)],
    );
    expect(rows).toHaveLength(6);
    // While they begin, more is spent.
    const spending = (async () => {
      for (let i = 0; i < 7; i += 1) await spend(database.db, user, '1');
    })();
    const streams = Array.from({ length: 10 }, (_, i) => follow(user.viewer, rows[1]!.at, benches[i % 2]!));
    await spending;
    await marker(streams);
    const all = await database.db.query<{ id: string }>(
      'SELECT id FROM budget_alerts WHERE budget_id = ANY($1) ORDER BY at',
      [budgets.map(({ id }) => id)],
    );
    expect(all).toHaveLength(20);
    for (const stream of streams) expect(stream.map(({ id }) => id)).toEqual(all.slice(2).map(({ id }) => id));
  });

  it('a client that takes nothing keeps at most a hundred waiting, and misses none', async () => {
    const others = await Promise.all(
      Array.from({ length: 35 }, () =>
        createUser(database.db, { organizationId: world.organizationId, planId: world.planId }),
      ),
    );
    const slow = benches[1]!.budgets.alerts(world.admin.viewer, null);
    open.push(slow);
    const first = slow.next();
    const fast = follow(world.admin.viewer);
    for (const other of others) {
      await set({ subjectId: other.id, limit: '1', alertAtPercent: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100] });
      await spend(database.db, other, '1');
    }
    await arrive(fast, 350);
    const got = [(await first).value as BudgetAlert];
    expect((slow as unknown as { waiting: number }).waiting).toBeLessThanOrEqual(100);
    while (got.length < 350) got.push((await eventually(slow.next(), 'the next alert')).value as BudgetAlert);
    expect(got.map(({ id }) => id)).toEqual(fast.map(({ id }) => id));
    expect(new Set(got.map(({ id }) => id)).size).toBe(350);
  });

  it('a connection that is cut is made anew, and nothing is lost in between', async () => {
    await set({ alertAtPercent: [1, 2, 3, 4, 5] });
    const got = follow(user.viewer);
    await spend(database.db, user, '1');
    await arrive(got, 1);
    // Those of a server that has just been closed are gone a moment later.
    await waitFor(async () => (await database.db.query(LISTENERS)).length === 2, { what: 'the two listeners alone' });
    for (let round = 2; round <= 5; round += 1) {
      const before = await database.db.query<{ pid: number }>(LISTENERS);
      expect(before).toHaveLength(2);
      await database.db.query(`SELECT pg_terminate_backend(pid) FROM (${LISTENERS}) AS l`);
      // Announced to nobody.
      await spend(database.db, user, '1');
      await arrive(got, round);
      await waitFor(
        async () => {
          const now = await database.db.query<{ pid: number }>(LISTENERS);
          return now.length === 2 && now.every(({ pid }) => before.every((old) => old.pid !== pid));
        },
        { what: 'two new listeners' },
      );
    }
    expect(percents(got)).toEqual([1, 2, 3, 4, 5]);
    expect(benches[1]!.logger.lines.filter(({ message }) => message.includes('was lost'))).toHaveLength(4);
  });

  it('where nobody can listen, alerts are found by looking', async () => {
    const bench = budgetBench(
      { db: database.db, url: database.url.replace(/\/[^/]*$/, '/no_such_database') },
      { pollMs: 5, reconnectMs: 5 },
    );
    await bench.feed.start();
    await set({ alertAtPercent: [1] });
    const stream = bench.budgets.alerts(user.viewer, null);
    const first = stream.next();
    await spend(database.db, user, '1');
    expect(((await eventually(first, 'an alert')).value as BudgetAlert).percent).toBe(1);
    await stream.return!();
    await bench.feed.stop();
    expect(bench.logger.lines.some(({ message }) => message.includes('notifications cannot be received'))).toBe(true);
  });

  it('a subscription that is left before its first alert, or never begun, leaves nothing behind', async () => {
    const begun = benches[1]!.budgets.alerts(user.viewer, new Date(0));
    const waiting = begun.next();
    await begun.return!();
    expect(await waiting).toEqual({ value: undefined, done: true });
    await benches[1]!.budgets.alerts(user.viewer, null).return!();
    expect(benches[1]!.feed.size).toBe(0);
  });
});
