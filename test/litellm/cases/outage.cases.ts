import { litellmHealth } from '../../../src/services/upstream/litellm/detect';
import type { TestApp } from '../../support/app';
import { asAdmin } from '../../support/database';
import type { TestUser } from '../../support/factories';
import type { LitellmRig } from '../../support/litellm-rig';
import { faults, forever } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { SLOW_DEADLINE_MS, waitFor } from '../../support/wait';
import { isTerminal, textOf } from '../../support/ws-client';

const MODELS = '{ models { stale source items { id } } service { proxy { state } } }';

/** In this order: each begins where the one before ended. */
export function outageCases(rig: LitellmRig): void {
  let app: TestApp;
  let userToken: string;
  let other: TestUser;
  const chat = async (): Promise<any> => {
    const { data, errors } = await app.chat(userToken, ask('hello'));
    expect(errors).toBeNull();
    return data!.chat;
  };
  const models = async (): Promise<any> => (await app.graphql(userToken, MODELS)).data;

  beforeAll(async () => {
    app = await rig.startApp({ modelRefreshMs: 300 });
    other = await rig.user();
    await app.chat(other.token, ask('hello'));
    userToken = (await rig.user()).token;
    expect((await chat()).__typename).toBe('ChatReply');
  });
  afterAll(() => app?.stop());

  it('[2] without its database it says so in the body', async () => {
    const name = new URL(rig.litellm.databaseUrl).pathname.slice(1);
    const admin = (statement: string): Promise<void> => asAdmin(process.env.WEIR_TEST_PG!, statement);
    await admin(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    try {
      await admin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
      await waitFor(async () => (await litellmHealth(rig.litellm.baseUrl)).state !== 'UP', {
        deadlineMs: SLOW_DEADLINE_MS,
      });
    } finally {
      await admin(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    }
    await waitFor(async () => (await litellmHealth(rig.litellm.baseUrl)).state === 'UP', {
      deadlineMs: SLOW_DEADLINE_MS,
    });
  });

  it('killed in the middle of a stream: what came is kept, and the call is settled as interrupted', async () => {
    rig.litellm.provider.script('test-chat', {
      pieces: ['One ', 'two ', 'three.'],
      hold: { after: 2, until: forever },
    });
    const stream = app.connect(userToken).chatStream(ask('count'));
    await stream.waitFor(() => textOf(stream.events) === 'One two ');
    await rig.litellm.kill();
    const last = await stream.waitFor(isTerminal);
    expect(last).toMatchObject({
      __typename: 'StreamFailed',
      refusal: { code: 'STREAM_INTERRUPTED', retryable: true },
      partial: { answer: { content: 'One two ', complete: false } },
    });
    expect(await settledRow(rig.database.db, last.partial.call.id)).toMatchObject({
      status: 'FAILED',
      error_code: 'STREAM_INTERRUPTED',
      usage_source: 'ESTIMATED',
    });
  });

  it('away: a call is refused and may be tried again, the last known models are listed as such, and nothing else fails', async () => {
    expect(await chat()).toMatchObject({
      __typename: 'ModelUnavailable',
      code: 'MODEL_UNAVAILABLE',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
    const seen = await waitFor(async () => {
      const now = await models();
      return now.models.stale && now;
    });
    expect(seen.models).toMatchObject({ stale: true, source: 'LAST_KNOWN' });
    expect(seen.models.items.map((model: any) => model.id)).toContain('test-chat');
    expect(seen.service.proxy.state).toBe('DOWN');
    expect((await fetch(new URL('/health/live', app.url))).status).toBe(200);
    expect((await fetch(new URL('/health/ready', app.url))).status).toBe(503);
  });

  it('away: a new user, whose key cannot be made, is refused in the same way', async () => {
    const { data } = await app.chat((await rig.user()).token, ask('hello'));
    expect(data!.chat).toMatchObject({ __typename: 'ModelUnavailable', retryable: true });
  });

  it('back: calls succeed, the list is fresh, and the proxy is told what it missed, without a restart of the product', async () => {
    const { secret } = await rig.keyOf(other);
    const { errors } = await app.graphql(
      rig.operator.token,
      'mutation ($id: ID!) { setUserBlocked(userId: $id, blocked: true) { id } }',
      { id: other.id },
    );
    expect(errors).toBeNull();
    await rig.litellm.startAgain(withCooldowns);
    await waitFor(async () => !(await models()).models.stale, { deadlineMs: SLOW_DEADLINE_MS });
    expect((await models()).models.source).toBe('PROXY');
    expect((await chat()).__typename).toBe('ChatReply');
    await waitFor(
      async () => (await rig.litellm.complete('test-chat', { key: secret })).body.error?.type === 'auth_error',
      { deadlineMs: SLOW_DEADLINE_MS },
    );
  });

  it('[48] with cooldowns, a model whose deployments all cool down is refused with a type of its own', async () => {
    rig.litellm.provider.script('test-chat', faults.unauthorizedEcho());
    expect((await rig.litellm.complete('test-chat')).status).toBe(401);
    const cooling = await waitFor(async () => {
      const answer = await rig.litellm.complete('test-chat');
      return answer.status === 429 ? answer : null;
    });
    expect(cooling.body.error.type).toBe('all_deployments_in_cooldown');
    expect(Number(cooling.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await chat()).toMatchObject({ __typename: 'ModelUnavailable', retryable: true });
  });
}

const withCooldowns = <C extends Record<string, any>>(config: C): C => ({
  ...config,
  router_settings: { ...config.router_settings, disable_cooldowns: false },
});
