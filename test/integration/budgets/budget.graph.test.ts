import { newId } from '../../../src/lib/ids';
import { startTestApp, type TestApp } from '../../support/app';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { operation } from '../../support/operations';
import { startProvider, type FakeProvider } from '../../support/provider';
import { forever } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRows } from '../../support/usage-rows';
import { eventually, waitFor } from '../../support/wait';
import { appendPrice } from '../../support/prices';

interface AlertEvent {
  id: string;
  percent: number;
  spent: string;
  limit: string;
  at: string;
  budget: { id: string };
}

/** A dollar for ten tokens of prompt, and one for each of the answer: amounts that can be counted by hand. */
const PRICE = { input: '0.1', output: '1' };

describe('budgets in the graph, on two replicas', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let apps: TestApp[];
  let world: World;
  beforeAll(async () => {
    database = await createTestDatabase();
    provider = await startProvider();
    await appendPrice(database.db, { number: 1, model: 'test-chat', rates: PRICE });
    await appendPrice(database.db, {
      number: 2,
      model: 'test-small',
      rates: { input: '0.000001', output: '0.000002' },
    });
    apps = [await startTestApp({ database, upstream: provider }), await startTestApp({ database, upstream: provider })];
  });
  beforeEach(async () => {
    world = await createWorld(database.db);
  });
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.stop()));
    await provider.close();
    await database.close();
  });

  const run = async (token: string, name: string, variables: Record<string, unknown> = {}, app = apps[0]!) => {
    const { data, errors } = await app.graphql(token, operation(name), variables);
    expect(errors).toBeNull();
    return data;
  };
  const setBudget = async (fields: Record<string, unknown>) =>
    (
      await run(world.admin.token, 'set-budget', {
        input: { scope: 'USER', subjectId: world.member.id, period: 'MONTH', limit: '100', ...fields },
      })
    ).setBudget;
  const errorOf = async (token: string, document: string, variables: Record<string, unknown>) => {
    const { errors } = await apps[0]!.graphql(token, document, variables);
    return errors?.map(({ message, extensions }) => ({
      message,
      code: extensions.code,
      argument: extensions.argument,
    }));
  };

  it('a budget is set with defaults, seen by its user, counted by a call, and removed', async () => {
    const made = await setBudget({ limit: '60.50' });
    expect(made).toMatchObject({
      id: expect.stringMatching(/^bud_/),
      scope: 'USER',
      subjectId: world.member.id,
      period: 'MONTH',
      timeZone: 'UTC',
      limit: '60.5',
      softLimit: null,
      alertAtPercent: [80, 90],
      spent: '0',
      held: '0',
      remaining: '60.5',
    });
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three '] });
    const reply = await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 5 }) });
    expect(reply.chat).toMatchObject({ __typename: 'ChatReply', replayed: false });
    const { total } = reply.chat.cost;
    const { budgets } = await run(world.member.token, 'budgets', {}, apps[1]);
    expect(budgets).toEqual([
      expect.objectContaining({ id: made.id, spent: total, spentToday: total, held: '0', overage: '0' }),
    ]);
    expect((await run(world.member.token, 'viewer')).viewer.budgets).toEqual([
      expect.objectContaining({ id: made.id, limit: '60.5' }),
    ]);
    expect((await run(world.member.token, 'node', { id: made.id })).node).toMatchObject({
      __typename: 'Budget',
      id: made.id,
      spent: total,
    });
    expect((await run(world.admin.token, 'remove-budget', { id: made.id })).removeBudget).toEqual({
      deletedId: made.id,
    });
    expect((await run(world.member.token, 'budgets')).budgets).toEqual([]);
  });

  it('a call that does not fit is refused with the budget and what would fit, as an answer and as a stream, and costs nothing', async () => {
    const budget = await setBudget({ limit: '20', period: 'DAY' });
    const before = (await settledRows(database.db)).length;
    const { chat } = await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 1_000 }) });
    expect(chat).toMatchObject({
      __typename: 'BudgetExceeded',
      code: 'BUDGET_EXCEEDED',
      retryable: false,
      budget: { id: budget.id, scope: 'USER', period: 'DAY', limit: '20', remaining: '20' },
      resetsAt: budget.resetsAt,
      modelsThatFit: ['test-small'],
    });
    expect(Number(chat.needed)).toBeGreaterThan(1_000);
    expect(chat.maxTokensThatFit).toBeGreaterThan(0);
    const stream = apps[1]!
      .connect(world.member.token)
      .subscribe<any>(operation('chat-stream'), { input: ask('Hi', { maxTokens: 1_000 }) });
    await stream.ended;
    expect(stream.errors).toEqual([]);
    expect(stream.events).toEqual([
      expect.objectContaining({
        __typename: 'StreamRefused',
        refusal: expect.objectContaining({
          __typename: 'BudgetExceeded',
          needed: chat.needed,
          budget: expect.objectContaining({ id: budget.id }),
        }),
      }),
    ]);
    expect(await settledRows(database.db)).toHaveLength(before);
    // And what it says fits does.
    provider.script('test-chat', { pieces: ['one '] });
    expect(
      (await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: chat.maxTokensThatFit }) })).chat,
    ).toMatchObject({ __typename: 'ChatReply' });
    expect(
      (await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 1_000, model: 'test-small' }) })).chat,
    ).toMatchObject({ __typename: 'ChatReply' });
  });

  it('while a call runs, its worst case is held', async () => {
    const { id } = await setBudget({ limit: '1000' });
    provider.script('test-chat', { pieces: ['one '], hold: { after: 1, until: forever } });
    const stream = apps[0]!
      .connect(world.member.token)
      .chatStream(ask('Hi', { maxTokens: 50, onDisconnect: 'CANCEL' }));
    await stream.waitFor(({ __typename }) => __typename === 'TextDelta');
    const [running] = (await run(world.member.token, 'budgets', {}, apps[1])).budgets;
    expect(Number(running.held)).toBeGreaterThan(50);
    expect(Number(running.remaining)).toBeCloseTo(1000 - Number(running.held));
    stream.unsubscribe();
    await settledRows(database.db);
    const [ended] = (await run(world.member.token, 'budgets', {}, apps[1])).budgets;
    expect(ended).toMatchObject({ id, held: '0' });
    expect(Number(ended.spent)).toBeGreaterThan(0);
  });

  it('under a budget, a model without a price is refused and listed as such', async () => {
    const modelsOf = async () =>
      (await run(world.member.token, 'models', { includeUnavailable: true })).models.items.map(
        ({ id, unavailableReason }: any) => [id, unavailableReason],
      );
    provider.script('test-unpriced', { pieces: ['free '] });
    expect(await modelsOf()).toEqual([
      ['test-chat', null],
      ['test-small', null],
      ['test-unpriced', null],
    ]);
    expect(
      (await run(world.member.token, 'chat', { input: ask('Hi', { model: 'test-unpriced' }) })).chat,
    ).toMatchObject({ __typename: 'ChatReply', cost: null });
    await setBudget({ scope: 'ORGANIZATION', subjectId: world.organizationId, limit: '1000000' });
    expect(await modelsOf()).toEqual([
      ['test-chat', null],
      ['test-small', null],
      ['test-unpriced', 'UNPRICED_UNDER_BUDGET'],
    ]);
    expect((await run(world.member.token, 'models')).models.items.map(({ id }: any) => id)).toEqual([
      'test-chat',
      'test-small',
    ]);
    expect(
      (await run(world.member.token, 'chat', { input: ask('Hi', { model: 'test-unpriced' }) })).chat,
    ).toMatchObject({ __typename: 'ModelUnpriced', code: 'MODEL_UNPRICED', model: 'test-unpriced', retryable: false });
  });

  it('what a budget cannot be is refused by its argument', async () => {
    const document = operation('set-budget');
    const good = { scope: 'USER', subjectId: world.member.id, period: 'DAY', limit: '1' };
    for (const [fields, argument] of [
      [{ limit: '-1' }, 'input.limit'],
      [{ softLimit: '2' }, 'input.softLimit'],
      [{ timeZone: 'CET+1' }, 'input.timeZone'],
      [{ alertAtPercent: [101] }, 'input.alertAtPercent[0]'],
      [{ alertAtPercent: [5, 5] }, 'input.alertAtPercent[1]'],
      [{ scope: 'PROJECT' }, 'input.subjectId'],
      [{ limit: '1e3' }, 'input.limit'],
      [{ period: 'YEAR' }, 'input.period'],
    ] as const) {
      expect({ fields, errors: await errorOf(world.admin.token, document, { input: { ...good, ...fields } }) }).toEqual(
        { fields, errors: [expect.objectContaining({ code: 'BAD_USER_INPUT', argument })] },
      );
    }
    expect(await errorOf(world.admin.token, document, { input: { ...good, subjectId: newId('user') } })).toEqual([
      expect.objectContaining({ code: 'NOT_FOUND', argument: 'input.subjectId' }),
    ]);
    expect(await errorOf(world.member.token, document, { input: good })).toEqual([
      expect.objectContaining({ code: 'FORBIDDEN' }),
    ]);
  });

  it('a plan with a monthly budget limits its users, and says which plan where somebody tries to change that', async () => {
    await run(world.operator.token, 'upsert-plan', {
      input: {
        id: world.planId,
        name: `Budgeted ${world.planId}`,
        models: ['direct/*'],
        limits: { monthlyBudget: '7' },
      },
    });
    const [budget] = (await run(world.member.token, 'budgets')).budgets;
    expect(budget).toMatchObject({ scope: 'USER', period: 'MONTH', timeZone: 'UTC', limit: '7' });
    expect((await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 100 }) })).chat).toMatchObject({
      __typename: 'BudgetExceeded',
      budget: { id: budget.id },
    });
    for (const { token } of [world.admin, world.operator]) {
      expect(await errorOf(token, operation('remove-budget'), { id: budget.id })).toEqual([
        {
          code: 'BAD_USER_INPUT',
          argument: 'id',
          message: `id: made by the plan Budgeted ${world.planId}: change the plan's monthlyBudget with upsertPlan`,
        },
      ]);
    }
  });

  it('an alert that a call on one replica makes arrives at the subscribers of both, and stands under its id', async () => {
    const budget = await setBudget({ limit: '1000', alertAtPercent: [1, 4] });
    const strangers = await createWorld(database.db);
    // The first alert says that the subscriptions have begun; the second one comes while they run.
    const after = new Date(Date.now() - 1).toISOString();
    const streams = apps.map((app) =>
      app.connect(world.member.token).subscribe<AlertEvent>(operation('budget-alerts'), { after }),
    );
    const stranger = apps[0]!
      .connect(strangers.admin.token)
      .subscribe<AlertEvent>(operation('budget-alerts'), { after });
    for (const percent of [1, 4]) {
      provider.script(
        'test-chat',
        ...Array.from({ length: percent }, () => ({ pieces: Array.from({ length: 20 }, () => 'word ') })),
      );
      for (let call = 0; call < percent; call += 1)
        await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 30 }) }, apps[call % 2]);
      for (const stream of streams) await stream.waitFor((event) => event.percent === percent);
    }
    for (const stream of streams)
      expect(stream.events).toEqual(
        [1, 4].map((percent) =>
          expect.objectContaining({
            id: expect.stringMatching(/^alr_/),
            percent,
            limit: '1000',
            budget: expect.objectContaining({ id: budget.id }),
          }),
        ),
      );
    expect(stranger.events).toEqual([]);
    expect(stranger.over).toBe(false);
    const { id } = streams[0]!.events[0]!;
    expect((await run(world.member.token, 'node', { id })).node).toMatchObject({
      __typename: 'BudgetAlert',
      id,
      percent: 1,
    });
    expect((await run(strangers.admin.token, 'node', { id })).node).toBeNull();
  });

  it('`after` brings alerts that were missed, over a connection that is new', async () => {
    const since = new Date(Date.now() - 1).toISOString();
    await setBudget({ limit: '1000', alertAtPercent: [1, 2] });
    provider.script('test-chat', { pieces: Array.from({ length: 30 }, () => 'word ') });
    await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 40 }) });
    const [first, second] = [0, 1].map((i) => apps[i]!.connect(world.member.token));
    const all = first!.subscribe<AlertEvent>(operation('budget-alerts'), { after: since });
    await all.waitFor(({ percent }) => percent === 2);
    expect(all.events.map(({ percent }) => percent)).toEqual([1, 2]);
    const rest = second!.subscribe<AlertEvent>(operation('budget-alerts'), { after: all.events[0]!.at });
    await rest.waitFor(() => true);
    expect(rest.events).toEqual([all.events[1]]);
  });

  it('ends when the access of its subscriber ends', async () => {
    const client = apps[1]!.connect(world.member.token);
    const stream = client.subscribe<AlertEvent>(operation('budget-alerts'), { after: new Date(0).toISOString() });
    // It has begun: the socket has had the time to answer another operation of the same connection.
    const other = client.chatStream(ask('Hi', { model: 'no-such-model' }));
    await other.ended;
    expect(stream.over).toBe(false);
    await apps[0]!.graphql(world.admin.token, operation('set-user-blocked'), {
      userId: world.member.id,
      blocked: true,
    });
    await eventually(stream.ended, 'the end of the subscription');
    expect(stream.errors).toEqual([
      expect.objectContaining({ extensions: expect.objectContaining({ code: 'UNAUTHENTICATED' }) }),
    ]);
    expect((await eventually(client.closed, 'the close')).code).toBe(4401);
  });

  it('an argument that is no time is refused, and two subscriptions of one socket get the same alerts', async () => {
    const client = apps[0]!.connect(world.member.token);
    const refused = client.subscribe(operation('budget-alerts'), { after: 'yesterday' });
    await refused.ended;
    expect(refused.errors).toEqual([
      expect.objectContaining({ extensions: expect.objectContaining({ code: 'BAD_USER_INPUT', argument: 'after' }) }),
    ]);
    const since = new Date(Date.now() - 1).toISOString();
    const twins = [0, 1].map(() => client.subscribe<AlertEvent>(operation('budget-alerts'), { after: since }));
    await setBudget({ limit: '1000', alertAtPercent: [1] });
    provider.script('test-chat', { pieces: Array.from({ length: 20 }, () => 'word ') });
    await run(world.member.token, 'chat', { input: ask('Hi', { maxTokens: 30 }) });
    await waitFor(() => twins.every(({ events }) => events.length === 1), { what: 'an alert on each' });
    expect(twins[0]!.events).toEqual(twins[1]!.events);
  });
});
