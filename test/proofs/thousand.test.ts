import { Decimal } from '../../src/lib/decimal';
import type { BudgetEdit } from '../../src/domain/budget';
import { startTestApp, type TestApp } from '../support/app';
import { createTestDatabase, type TestDatabase } from '../support/database';
import { createUser, createWorld, type TestUser, type World } from '../support/factories';
import { gate } from '../support/provider-script';
import { startProvider, type FakeProvider } from '../support/provider';
import { ask } from '../support/stream-fixture';
import { SLOW_DEADLINE_MS, waitFor } from '../support/wait';
import { appendPrice } from '../support/prices';

// The most work of one test in the suite; for slow machines.
jest.setTimeout(900_000);

const CALLS = 1_000;
const ROOM = 37;
const CHAT = `mutation ($input: ChatInput!) { chat(input: $input) { __typename ... on BudgetExceeded { needed } } }`;

let database: TestDatabase;
let provider: FakeProvider;
let apps: TestApp[];
let world: World;
let users: TestUser[];
beforeAll(async () => {
  database = await createTestDatabase();
  provider = await startProvider();
  await appendPrice(database.db, { number: 1, model: 'test-chat', rates: { input: '0.0000031', output: '0.0000107' } });
  apps = await Promise.all([1, 2, 3, 4].map(() => startTestApp({ database, upstream: provider })));
});
beforeEach(async () => {
  world = await createWorld(database.db);
  users = await Promise.all(
    Array.from({ length: 20 }, () =>
      createUser(database.db, { organizationId: world.organizationId, planId: world.planId }),
    ),
  );
  provider.requests.length = 0;
});
afterAll(async () => {
  await Promise.all(apps.map((app) => app.stop()));
  await provider.close();
  await database.close();
});

const completions = (): number => provider.requests.filter(({ path }) => path === '/v1/chat/completions').length;

test.each([[1], [4]])(
  `${CALLS} calls at once at a budget with room for ${ROOM}, on %i replica(s): exactly ${ROOM} reach the upstream`,
  async (replicas) => {
    const { budgets } = apps[0]!.services;
    const budget = {
      scope: 'ORGANIZATION' as const,
      subjectId: world.organizationId,
      period: 'MONTH' as const,
      timeZone: 'UTC',
      alertAtPercent: [80, 90],
    } satisfies Omit<BudgetEdit, 'limit'>;
    const { id } = await budgets.set(world.operator.viewer, { ...budget, limit: '0.0000001' });
    const input = ask('one of a thousand', { maxTokens: 321 });
    const chat = async (i: number): Promise<{ __typename: string; needed?: string }> => {
      const reply = await apps[i % replicas]!.graphql(users[i % users.length]!.token, CHAT, { input });
      if (!reply.data) throw new Error(`${reply.status} ${reply.text.slice(0, 300)}`);
      return reply.data.chat;
    };
    const refusal = await chat(0);
    expect(refusal.__typename).toBe('BudgetExceeded');
    await budgets.set(world.operator.viewer, {
      ...budget,
      id,
      limit: Decimal.parse(refusal.needed!).times(ROOM).toString(),
    });

    // Nobody gets an answer, and so no money back, before everybody has asked.
    const answers = gate();
    provider.always('test-chat', { holdHead: answers });
    const kinds: Record<string, number> = {};
    const all = Promise.all(
      Array.from({ length: CALLS }, async (_, i) => {
        const { __typename } = await chat(i);
        kinds[__typename] = (kinds[__typename] ?? 0) + 1;
      }),
    );
    await waitFor(() => (kinds.BudgetExceeded ?? 0) + completions() === CALLS, {
      deadlineMs: SLOW_DEADLINE_MS,
      what: 'everybody to be refused or at the upstream',
    });
    expect(kinds).toEqual({ BudgetExceeded: CALLS - ROOM });
    answers.open();
    await all;
    expect(kinds).toEqual({ BudgetExceeded: CALLS - ROOM, ChatReply: ROOM });
    expect(completions()).toBe(ROOM);

    const rows = await database.db.query<{ cost: string; status: string }>(
      'SELECT cost, status FROM llm_usage WHERE organization_id = $1',
      [world.organizationId],
    );
    expect(rows).toHaveLength(ROOM);
    const [period] = await database.db.query<{ same: boolean; held: string }>(
      'SELECT spent = (SELECT sum(cost) FROM llm_usage WHERE organization_id = $2) AS same, trim_scale(held)::text AS held FROM budget_periods WHERE budget_id = $1',
      [id, world.organizationId],
    );
    expect(period).toEqual({ same: true, held: '0' });
  },
);
