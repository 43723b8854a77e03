import type { TestUser } from '../../support/factories';
import type { LitellmRig } from '../../support/litellm-rig';
import { watchRequests } from '../../support/proxy-watch';
import { ask } from '../../support/stream-fixture';

const UPSERT_PLAN = 'mutation ($input: PlanInput!) { upsertPlan(input: $input) { id models } }';
const SET_BLOCKED =
  'mutation ($userId: ID!, $blocked: Boolean!) { setUserBlocked(userId: $userId, blocked: $blocked) { id } }';
const SET_PLAN = 'mutation ($userId: ID!, $planId: ID!) { setUserPlan(userId: $userId, planId: $planId) { id } }';
const DELETE_USER = 'mutation ($id: ID!) { deleteUser(id: $id) { deletedId } }';

/** The life of a key, through the product's own operations. */
export function virtualKeyCases(rig: LitellmRig): void {
  const chat = async (user: TestUser, model: string, app = rig.app): Promise<string> => {
    const { data, errors } = await app.chat(user.token, ask('hello', { model }));
    return errors ? errors[0]!.extensions.code : data!.chat.__typename;
  };
  const operate = async (mutation: string, variables: Record<string, unknown>): Promise<void> => {
    const { errors } = await rig.app.graphql(rig.operator.token, mutation, variables);
    expect(errors).toBeNull();
  };
  /** What the proxy says to the key itself: 200, or the type of its refusal. */
  const atProxy = async (secret: string, model = 'test-chat'): Promise<number | string> => {
    const { status, body } = await rig.litellm.complete(model, { key: secret });
    return status === 200 ? 200 : body.error.type;
  };
  const watched = async (work: () => Promise<void>): Promise<ReturnType<typeof watchRequests>> => {
    const watch = watchRequests(rig.litellm.baseUrl);
    try {
      await work();
    } finally {
      watch.stop();
    }
    return watch;
  };
  const chatted =
    (model: string, ...users: TestUser[]) =>
    async (): Promise<void> => {
      for (const user of users) expect(await chat(user, model)).toBe('ChatReply');
    };

  it('is made on the first call, once for fifty calls at the same time on two servers, in the team of the plan', async () => {
    const second = await rig.startApp();
    try {
      const planId = await rig.plan(['test-chat']);
      const user = await rig.user(planId);
      const calls = await Promise.all(
        Array.from({ length: 50 }, (_, index) => chat(user, 'test-chat', index % 2 ? second : rig.app)),
      );
      expect(calls).toEqual(Array(50).fill('ChatReply'));
      const { hash } = await rig.keyOf(user);
      const { body } = await rig.litellm.ask(`/key/info?key=${hash}`);
      expect(body.info).toMatchObject({
        metadata: { weir_user_id: user.id, weir_plan_id: planId },
        models: ['all-team-models'],
      });
      expect(body.info.key_alias).toContain(user.id);
      const { body: listed } = await rig.litellm.ask(`/key/list?team_id=${body.info.team_id}`);
      expect(listed.total_count).toBe(1);
    } finally {
      await second.stop();
    }
  });

  it('needs no administration once it is there', async () => {
    const user = await rig.user();
    await chatted('test-chat', user)();
    const { paths } = await watched(chatted('test-chat', user, user));
    expect(paths).toEqual(['/v1/chat/completions', '/v1/chat/completions']);
  });

  it('is blocked with its user, and works again', async () => {
    const user = await rig.user();
    await chatted('test-chat', user)();
    const { secret } = await rig.keyOf(user);
    await operate(SET_BLOCKED, { userId: user.id, blocked: true });
    expect(await atProxy(secret)).toBe('auth_error');
    expect(await chat(user, 'test-chat')).toBe('UNAUTHENTICATED');
    await operate(SET_BLOCKED, { userId: user.id, blocked: false });
    expect(await atProxy(secret)).toBe(200);
    await chatted('test-chat', user)();
  });

  it('is deleted with its user', async () => {
    const user = await rig.user();
    await chatted('test-chat', user)();
    const { secret } = await rig.keyOf(user);
    await operate(DELETE_USER, { id: user.id });
    expect(await atProxy(secret)).toBe('token_not_found_in_db');
    expect(await chat(user, 'test-chat')).toBe('UNAUTHENTICATED');
  });

  it('moves with its user to another plan', async () => {
    const user = await rig.user(await rig.plan(['test-chat']));
    await chatted('test-chat', user)();
    const { secret } = await rig.keyOf(user);
    await operate(SET_PLAN, { userId: user.id, planId: await rig.plan(['test-small']) });
    expect([await atProxy(secret, 'test-small'), await atProxy(secret, 'test-chat')]).toEqual([
      200,
      'team_model_access_denied',
    ]);
    expect([await chat(user, 'test-small'), await chat(user, 'test-chat')]).toEqual(['ChatReply', 'ModelNotAllowed']);
  });

  it('follows an edit of the plan with one request for all its users, and the next call works', async () => {
    const id = await rig.plan(['test-chat']);
    const users = [await rig.user(id), await rig.user(id)];
    await chatted('test-chat', ...users)();
    expect(await chat(users[0]!, 'test-small')).toBe('ModelNotAllowed');
    const [plan] = await rig.database.db.query<{ name: string }>('SELECT name FROM plans WHERE id = $1', [id]);
    const { paths } = await watched(async () => {
      await operate(UPSERT_PLAN, { input: { id, name: plan!.name, models: ['test-small'] } });
      await chatted('test-small', ...users)();
    });
    expect(paths).toEqual(['/team/update', '/v1/chat/completions', '/v1/chat/completions']);
    for (const user of users) {
      expect(await chat(user, 'test-chat')).toBe('ModelNotAllowed');
      expect(await atProxy((await rig.keyOf(user)).secret, 'test-chat')).toBe('team_model_access_denied');
    }
  });

  it('of a plan that allows nothing may use nothing at the proxy either', async () => {
    const id = await rig.plan(['test-chat']);
    const user = await rig.user(id);
    await chatted('test-chat', user)();
    const [plan] = await rig.database.db.query<{ name: string }>('SELECT name FROM plans WHERE id = $1', [id]);
    await operate(UPSERT_PLAN, { input: { id, name: plan!.name, models: [] } });
    expect(await atProxy((await rig.keyOf(user)).secret)).toBe('team_model_access_denied');
  });

  it('[38] is refused a model that the plan allows: the proxy is told once, and the call repeated once', async () => {
    const user = await rig.user(await rig.plan(['test-chat']));
    await chatted('test-chat', user)();
    const { hash } = await rig.keyOf(user);
    const { team_id: teamId } = (await rig.litellm.ask(`/key/info?key=${hash}`)).body.info;
    await rig.litellm.ask('/team/update', { body: { team_id: teamId, models: ['test-small'] } });
    const watch = await watched(chatted('test-chat', user));
    expect([watch.count('/v1/chat/completions'), watch.count('/team/update')]).toEqual([2, 1]);
    const [row] = await rig.database.db.query('SELECT count(*)::int FROM llm_usage WHERE user_id = $1', [user.id]);
    expect(row).toEqual({ count: 2 });
  });

  it('[17, 35] is deleted at the proxy behind our back: it is made again, and the call succeeds', async () => {
    const user = await rig.user();
    await chatted('test-chat', user)();
    const { hash } = await rig.keyOf(user);
    await rig.litellm.ask('/key/delete', { body: { keys: [hash] } });
    const watch = await watched(chatted('test-chat', user));
    expect([watch.count('/v1/chat/completions'), watch.count('/key/generate')]).toEqual([2, 1]);
  });

  it('[19] is gone with its team, deleted at the proxy behind our back: both are made again, also for the other users of the plan', async () => {
    const planId = await rig.plan(['test-chat']);
    const users = [await rig.user(planId), await rig.user(planId)];
    await chatted('test-chat', ...users)();
    const { hash } = await rig.keyOf(users[0]!);
    const { team_id: teamId } = (await rig.litellm.ask(`/key/info?key=${hash}`)).body.info;
    await rig.litellm.ask('/team/delete', { body: { team_ids: [teamId] } });
    await chatted('test-chat', ...users)();
  });

  it('[36] is blocked at the proxy behind our back: it is unblocked, and the call succeeds', async () => {
    const user = await rig.user();
    await chatted('test-chat', user)();
    const { hash } = await rig.keyOf(user);
    await rig.litellm.ask('/key/block', { body: { key: hash } });
    await chatted('test-chat', user)();
  });
}
