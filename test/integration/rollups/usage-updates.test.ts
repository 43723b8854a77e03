import { type Fixture, ask, createFixture } from '../../support/stream-fixture';
import { setClock } from '../../support/database';
import { createUser, createWorld, type TestUser } from '../../support/factories';
import { operation } from '../../support/operations';
import { appendPrice } from '../../support/prices';
import { settledRows } from '../../support/usage-rows';
import { AT_ONCE_MS, waitFor } from '../../support/wait';
import type { Subscription } from '../../support/ws-client';

interface Totals {
  calls: number;
  failedCalls: number;
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
  cost: string | null;
  unpricedCalls: number;
  p95LatencyMs: number | null;
}

describe('usageUpdates over a WebSocket', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
    await appendPrice(fixture.database.db, { number: 1, model: 'test-chat', rates: { input: '0.1', output: '1' } });
  });
  afterAll(() => fixture.close());
  // Nobody's day ends in the midst of a test.
  beforeEach(() => setClock(fixture.database.db, '2027-03-10T12:00:00Z'));

  const follow = (user: TestUser): Subscription<Totals> =>
    fixture.app.connect(user.token).subscribe<Totals>(operation('usage-updates'));
  const first = (stream: Subscription<Totals>): Promise<Totals> => stream.waitFor(() => true);
  const chat = async (user: TestUser): Promise<void> => {
    const { errors } = await fixture.app.chat(user.token, ask('Hi', { maxTokens: 5 }));
    expect(errors).toBeNull();
    await settledRows(fixture.database.db);
  };
  const reported = async (user: TestUser): Promise<Totals> =>
    (
      await fixture.app.graphql(
        user.token,
        `query { usage(filter: { from: "2027-03-10T00:00:00Z" }) { totals { calls failedCalls promptTokens completionTokens totalTokens cost unpricedCalls p95LatencyMs } } }`,
      )
    ).data.usage.totals;

  it('gives the totals of today at once, and new ones when a call has ended: the figures of a report', async () => {
    const user = await createUser(fixture.database.db, fixture.member);
    const stream = follow(user);
    expect(await stream.waitFor(() => true, AT_ONCE_MS)).toEqual({
      calls: 0,
      failedCalls: 0,
      promptTokens: 0,
      completionTokens: 0,
      totalTokens: 0,
      cost: '0',
      unpricedCalls: 0,
      p95LatencyMs: null,
    });
    await chat(user);
    expect(await stream.waitFor(({ calls }) => calls === 1)).toEqual(await reported(user));
    await chat(user);
    const last = await stream.waitFor(({ calls }) => calls === 2);
    expect(last).toEqual(await reported(user));
    expect(Number(last.cost)).toBeGreaterThan(0);
    expect(stream.events.map(({ calls }) => calls)).toEqual([0, 1, 2]);
  });

  it('is of oneself for members, of the organisation for analysts and administrators, of everything for operators', async () => {
    const [ours, theirs] = [await createWorld(fixture.database.db), await createWorld(fixture.database.db)];
    await chat(ours.member);
    await chat(ours.admin);
    await chat(theirs.member);
    const [{ n: everything } = { n: 0 }] = await fixture.database.db.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM llm_usage WHERE occurred_at >= '2027-03-10'`,
    );
    const seen = async (user: TestUser): Promise<number> => (await first(follow(user))).calls;
    expect([
      await seen(ours.member),
      await seen(ours.analyst),
      await seen(ours.admin),
      await seen(theirs.admin),
      await seen(theirs.analyst),
      await seen(ours.operator),
    ]).toEqual([1, 2, 2, 1, 1, everything]);
  });

  it('begins anew at midnight UTC', async () => {
    const user = await createUser(fixture.database.db, fixture.member);
    await setClock(fixture.database.db, '2027-03-12T23:59:59.9Z');
    await chat(user);
    const stream = follow(user);
    expect((await first(stream)).calls).toBe(1);
    await setClock(fixture.database.db, '2027-03-13T00:00:00Z');
    expect(await stream.waitFor(({ calls }) => calls === 0)).toMatchObject({ totalTokens: 0, cost: '0' });
  });

  it('who is no administrator any more gets the totals of oneself', async () => {
    const world = await createWorld(fixture.database.db);
    const admin = await createUser(fixture.database.db, { ...world.admin, role: 'ADMIN' });
    await chat(world.member);
    const stream = follow(admin);
    expect((await first(stream)).calls).toBe(1);
    await fixture.app.services.people.setUserRole(world.admin.viewer, admin.id, 'MEMBER');
    await stream.waitFor(({ calls }) => calls === 0);
    await chat(world.member);
    await chat(admin);
    await waitFor(() => stream.events.length > 2);
    expect(stream.events.map(({ calls }) => calls)).toEqual([1, 0, 1]);
  });

  it('ends with the access of whoever listens', async () => {
    const user = await createUser(fixture.database.db, fixture.member);
    const stream = follow(user);
    await first(stream);
    await fixture.app.services.people.setUserBlocked(fixture.admin.viewer, user.id, true);
    await waitFor(() => stream.over);
    expect(stream.errors).toEqual([
      expect.objectContaining({ extensions: expect.objectContaining({ code: 'UNAUTHENTICATED' }) }),
    ]);
  });
});
