import { encodeCursor } from '../../../src/lib/page';
import { newId } from '../../../src/lib/ids';
import { UsageService } from '../../../src/services/usage/usage.service';
import type { UsageFilter } from '../../../src/services/usage/usage.types';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { insertInFlight, insertUsage, usageRow, type UsageRow } from './usage-rows';
import type { CallRecord } from '../../../src/domain/call';

let database: TestDatabase;
let usage: UsageService;
let world: World;
beforeAll(async () => {
  database = await createTestDatabase();
  usage = new UsageService({ db: database.db });
});
beforeEach(async () => {
  world = await createWorld(database.db);
});
afterAll(() => database.close());

// Many calls of one millisecond: only the microseconds tell them apart, and some share those, too.
const row = (microseconds: number, fields: Partial<UsageRow> = {}): UsageRow =>
  usageRow({
    organization_id: world.organizationId,
    user_id: world.member.id,
    occurred_at: `2026-11-20T10:00:00.${String(500_000 + microseconds).padStart(6, '0')}Z`,
    ...fields,
  });
async function walk(
  viewer: Viewer,
  first: number,
  filter: UsageFilter = {},
  between: () => Promise<unknown> = async () => {},
): Promise<CallRecord[]> {
  const seen: CallRecord[] = [];
  let after: string | null = null;
  for (;;) {
    const page: Awaited<ReturnType<UsageService['calls']>> = await usage.calls(viewer, filter, { first, after });
    expect(page.hasPreviousPage).toBe(after !== null);
    seen.push(...page.edges.map((edge) => edge.node));
    if (!page.hasNextPage) return seen;
    after = page.edges.at(-1)!.cursor;
    await between();
  }
}

describe('calls', () => {
  it('pages newest first through calls of the same millisecond, none twice and none left out', async () => {
    const rows = Array.from({ length: 47 }, (_, index) => row(Math.floor(index / 3)));
    await insertUsage(database.db, rows);
    const expected = [...rows]
      .sort((a, b) => b.occurred_at.localeCompare(a.occurred_at) || (a.id < b.id ? 1 : -1))
      .map((entry) => entry.id);
    expect((await walk(world.member.viewer, 5)).map((call) => call.id)).toEqual(expected);
    expect((await walk(world.member.viewer, 47)).map((call) => call.id)).toEqual(expected);
  });

  it('pages stay stable while calls are inserted', async () => {
    const rows = Array.from({ length: 20 }, (_, index) => row(index));
    await insertUsage(database.db, rows);
    const seen = await walk(world.member.viewer, 3, {}, () => insertUsage(database.db, [row(1_000)]));
    expect(seen.map((call) => call.id)).toEqual([...rows].reverse().map((entry) => entry.id));
  });

  it('shows calls in flight in the same order, as running and without tokens', async () => {
    await insertUsage(database.db, [row(1), row(3)]);
    const id = await insertInFlight(database.db, {
      organization_id: world.organizationId,
      user_id: world.member.id,
      occurred_at: '2026-11-20T10:00:00.500002Z',
      model: 'gpt',
    });
    const seen = await walk(world.member.viewer, 1);
    expect(seen.map((call) => call.status)).toEqual(['COMPLETED', 'RUNNING', 'COMPLETED']);
    expect(seen[1]).toMatchObject({
      id,
      model: 'gpt',
      servedModel: 'gpt',
      usageSource: 'NONE',
      cost: null,
      latencyMs: null,
      tokens: { uncachedPrompt: 0, output: 0 },
    });
    expect((await walk(world.member.viewer, 10, { statuses: ['RUNNING'] })).map((call) => call.id)).toEqual([id]);
    expect((await walk(world.member.viewer, 10, { statuses: ['COMPLETED'] })).map((call) => call.status)).toEqual([
      'COMPLETED',
      'COMPLETED',
    ]);
    expect(await walk(world.member.viewer, 10, { providers: ['openai'] })).toEqual([]);
    expect(await usage.call(world.member.viewer, id)).toMatchObject({ id, status: 'RUNNING' });
  });

  it('a call that is settled already is not shown as running, too', async () => {
    const settled = row(1);
    await insertUsage(database.db, [settled]);
    await insertInFlight(database.db, {
      id: settled.id,
      organization_id: world.organizationId,
      user_id: world.member.id,
      occurred_at: settled.occurred_at,
    });
    expect((await walk(world.member.viewer, 10)).map((call) => [call.id, call.status])).toEqual([
      [settled.id, 'COMPLETED'],
    ]);
    expect(await usage.call(world.member.viewer, settled.id)).toMatchObject({ status: 'COMPLETED' });
  });

  it('gives costs as plain decimals', async () => {
    const settled = row(1, { cost: '0.0010000', cost_input: '0.0006', cost_output: '0.00040' });
    await insertUsage(database.db, [settled]);
    expect((await usage.call(world.member.viewer, settled.id))?.cost).toEqual({
      input: '0.0006',
      cacheRead: '0',
      cacheWrite: '0',
      output: '0.0004',
      reasoning: '0',
      request: '0',
      total: '0.001',
      reportedByProxy: null,
    });
  });

  it('one call, and the list, are for those who may see them', async () => {
    const other = await createWorld(database.db, { name: 'Other' });
    const mine = row(1);
    const colleague = row(2, { user_id: world.admin.id });
    await insertUsage(database.db, [mine, colleague]);
    const running = await insertInFlight(database.db, {
      organization_id: world.organizationId,
      user_id: world.admin.id,
      occurred_at: '2026-11-20T11:00:00Z',
    });
    const sees = async (viewer: Viewer): Promise<boolean[]> =>
      Promise.all([mine.id, colleague.id, running].map(async (id) => (await usage.call(viewer, id)) !== null));
    expect(await sees(world.member.viewer)).toEqual([true, false, false]);
    expect(await sees(world.analyst.viewer)).toEqual([true, true, true]);
    expect(await sees(other.admin.viewer)).toEqual([false, false, false]);
    expect(await sees(other.operator.viewer)).toEqual([true, true, true]);
    expect((await walk(world.member.viewer, 10)).map((call) => call.id)).toEqual([mine.id]);
    expect(await walk(world.member.viewer, 10, { userIds: [world.admin.id] })).toEqual([]);
    expect((await walk(world.analyst.viewer, 10)).map((call) => call.id)).toEqual([running, colleague.id, mine.id]);
    expect(await walk(other.admin.viewer, 10)).toEqual([]);
    expect(await usage.call(world.member.viewer, newId('call'))).toBeNull();
    expect(await usage.call(world.member.viewer, "x' OR true --\0")).toBeNull();
  });

  it.each([
    ['first', { first: 0 }],
    ['first', { first: 101 }],
    ['first', { first: 1.5 }],
    ['after', { first: 1, after: 'nonsense' }],
    ['after', { first: 1, after: encodeCursor(['yesterday', 'call_1']) }],
    ['after', { first: 1, after: encodeCursor(['2026-13-40T99:00:00.000000Z', 'x']) }],
    ['after', { first: 1, after: encodeCursor(['2026-02-30T00:00:00.000000Z', 'x']) }],
    ['after', { first: 1, after: encodeCursor(['0000-01-01T00:00:00.000000Z', 'x']) }],
    ['after', { first: 1, after: encodeCursor(['2026-11-20T10:00:00.000000Z']) }],
    ['after', { first: 1, after: '' }],
  ])('refuses a bad %s: %j', async (argument, page) => {
    await expect(usage.calls(world.member.viewer, {}, page)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument,
    });
  });

  it('sums up conversations in the order asked for', async () => {
    const [first, second, empty] = [newId('conversation'), newId('conversation'), newId('conversation')];
    await insertUsage(database.db, [
      row(1, { conversation_id: first }),
      row(2, { conversation_id: first }),
      row(3, { conversation_id: second, cost: null }),
    ]);
    expect(
      (await usage.ofConversations(world.member.viewer, [second, empty, first])).map((figures) => [
        figures.calls,
        figures.cost,
      ]),
    ).toEqual([
      [1, null],
      [0, '0'],
      [2, '0.002'],
    ]);
    expect(await usage.ofConversations(world.member.viewer, [])).toEqual([]);
  });
});
