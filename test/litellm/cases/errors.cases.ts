import { randomUUID } from 'node:crypto';
import type { ProxyAnswer } from '../../support/litellm';
import { PROVIDER_KEY } from '../../support/litellm-models';
import type { LitellmRig } from '../../support/litellm-rig';
import { faults, forever, gate, type Script } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRows } from '../../support/usage-rows';
import { waitFor } from '../../support/wait';
import { isTerminal } from '../../support/ws-client';

export function errorCases(rig: LitellmRig): void {
  const script = (...scripts: Script[]): void => rig.litellm.provider.script('test-chat', ...scripts);
  const newKey = async (fields: Record<string, unknown>): Promise<string> =>
    (await rig.litellm.ask('/key/generate', { body: { models: ['test-chat'], ...fields } })).body.key;
  /**
   * The refusal of a call of the product, after checking that its one row says the same and that no word of the
   * provider got out.
   */
  const refused = async (input: Record<string, unknown> = {}): Promise<any> => {
    const user = await rig.user();
    const { data, errors, text } = await rig.app.chat(user.token, ask('hello', input));
    expect(errors).toBeNull();
    expect(text).not.toMatch(/litellm|sk-|OpenAI|fallback/i);
    const rows = (await settledRows(rig.database.db)).filter((row) => row.user_id === user.id);
    expect(rows).toMatchObject([{ status: 'FAILED', error_code: data!.chat.code, usage_source: 'NONE', cost: '0' }]);
    return data!.chat;
  };

  it('[35] an unknown key is 401 token_not_found_in_db', async () => {
    expect(await rig.litellm.complete('test-chat', { key: 'sk-never-made' })).toMatchObject({
      status: 401,
      body: { error: { type: 'token_not_found_in_db' } },
    });
  });

  it('[36] no key is 401 auth_error', async () => {
    expect(await rig.litellm.complete('test-chat', { key: null })).toMatchObject({
      status: 401,
      body: { error: { type: 'auth_error' } },
    });
  });

  it('[37] an expired key is 401 expired_key', async () => {
    const key = await newKey({ duration: '1s' });
    const expired = await waitFor(async () => {
      const answer = await rig.litellm.complete('test-chat', { key });
      return answer.status === 200 ? null : answer;
    });
    expect(expired).toMatchObject({ status: 401, body: { error: { type: 'expired_key' } } });
  });

  it('[38] a model outside the key is 403 and denied, as is one that does not exist', async () => {
    const key = await newKey({});
    for (const model of ['test-small', 'no-such-model'])
      expect(await rig.litellm.complete(model, { key })).toMatchObject({
        status: 403,
        body: { error: { type: 'key_model_access_denied' } },
      });
  });

  it('[39] a model that the team may use and the proxy no longer has is 400: it is unavailable, and others are named', async () => {
    const { url } = rig.litellm.provider;
    const { status } = await rig.litellm.ask('/model/new', {
      body: {
        model_name: 'test-fleeting',
        litellm_params: { model: 'openai/test-fleeting', api_base: url, api_key: 'x' },
        model_info: { id: 'test-fleeting-1' },
      },
    });
    expect(status).toBe(200);
    // A product that starts now has it in its list.
    const app = await rig.startApp();
    try {
      const user = await rig.user();
      const chat = async (): Promise<any> =>
        (await app.chat(user.token, ask('hello', { model: 'test-fleeting' }))).data!.chat;
      expect((await chat()).__typename).toBe('ChatReply');
      await rig.litellm.ask('/model/delete', { body: { id: 'test-fleeting-1' } });
      const { secret } = await rig.keyOf(user);
      // Another product here, whose list is a minute old, may just have told the proxy what the team may use: then the
      // next call tells it again.
      const raw = await waitFor(async () => {
        const answer = await rig.litellm.complete('test-fleeting', { key: secret });
        if (answer.status !== 403) return answer;
        await chat();
        return null;
      });
      expect(raw).toMatchObject({
        status: 400,
        body: {
          error: {
            type: 'invalid_request_error',
            message: expect.stringContaining('Invalid model name passed in model=test-fleeting'),
          },
        },
      });
      expect(await chat()).toMatchObject({
        __typename: 'ModelUnavailable',
        code: 'MODEL_UNAVAILABLE',
        retryable: true,
      });
    } finally {
      await app.stop();
    }
  });

  it('[40] a budget of the proxy that is used up goes by its type', async () => {
    const key = await newKey({ max_budget: 0.0000001 });
    const over = await waitFor(async () => {
      const answer = await rig.litellm.complete('test-chat', { key });
      return answer.status === 200 ? null : answer;
    });
    expect(over.body.error.type).toBe('budget_exceeded');
  });

  it('[41] limits of a key are 429 and say what there was too much of, and when to come back', async () => {
    const limitOf = ({ status, headers }: ProxyAnswer): unknown[] => [
      status,
      headers.get('rate_limit_type'),
      Number(headers.get('retry-after')) > 0,
    ];
    const requests = await newKey({ rpm_limit: 1 });
    await rig.litellm.complete('test-chat', { key: requests });
    expect(limitOf(await rig.litellm.complete('test-chat', { key: requests }))).toEqual([429, 'requests', true]);

    const tokens = await newKey({ tpm_limit: 1 });
    await rig.litellm.complete('test-chat', { key: tokens });
    const limited = await waitFor(async () => {
      const answer = await rig.litellm.complete('test-chat', { key: tokens });
      return answer.status === 200 ? null : answer;
    });
    expect(limitOf(limited)).toEqual([429, 'tokens', true]);

    const parallel = await newKey({ max_parallel_requests: 1 });
    const held = gate();
    script({ holdHead: held });
    const before = rig.litellm.provider.requests.length;
    const first = rig.litellm.complete('test-chat', { key: parallel });
    await waitFor(() => rig.litellm.provider.requests.length > before);
    expect(limitOf(await rig.litellm.complete('test-chat', { key: parallel }))).toEqual([
      429,
      'max_parallel_requests',
      true,
    ]);
    held.open();
    expect((await first).status).toBe(200);
  });

  it("[42] the provider's own 429 is told from the proxy's, with the provider's wait", async () => {
    script(faults.rateLimited('1'), faults.rateLimited('1'));
    const raw = await rig.litellm.complete('test-chat');
    expect(raw).toMatchObject({
      status: 429,
      body: { error: { message: expect.stringMatching(/RateLimitError: \w+Exception/) } },
    });
    expect([raw.headers.get('rate_limit_type'), raw.headers.get('llm_provider-retry-after')]).toEqual([null, '1']);
    script(faults.rateLimited('1'), faults.rateLimited('1'));
    expect(await refused()).toMatchObject({ __typename: 'RateLimited', retryable: true, retryAfterMs: 1_000 });
  });

  it("[43] the provider's 5xx comes after the proxy's retries with its status, and may be tried again", async () => {
    const before = rig.litellm.provider.requests.length;
    script(faults.internal(), faults.internal());
    const raw = await rig.litellm.complete('test-chat');
    expect(raw).toMatchObject({ status: 500, body: { error: { type: 'internal_server_error' } } });
    expect(rig.litellm.provider.requests.length - before).toBe(2);
    script(faults.internal(), faults.internal());
    expect(await refused()).toMatchObject({ __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED', retryable: true });
    script(faults.overloaded(), faults.overloaded());
    expect(await refused()).toMatchObject({ __typename: 'ModelUnavailable', retryable: true });
  });

  it("[44] the provider's 401 is the operator's matter, not the caller's, and its key gets nowhere", async () => {
    script(faults.unauthorizedEcho());
    const raw = await rig.litellm.complete('test-chat');
    expect(raw).toMatchObject({ status: 401, body: { error: { type: 'authentication_error' } } });
    script(faults.unauthorizedEcho());
    const lines = rig.app.log.length;
    expect(await refused()).toMatchObject({ __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED', retryable: false });
    expect(
      JSON.stringify(rig.app.log.slice(lines), (_key, value) =>
        value instanceof Error ? { message: value.message, cause: value.cause } : value,
      ),
    ).not.toContain(PROVIDER_KEY);
    // The caller's own key is as good as before.
    script();
    expect((await rig.litellm.complete('test-chat')).status).toBe(200);
  });

  it('[45] a provider that is too slow for the proxy is 408', async () => {
    script({ holdHead: forever });
    expect(
      (
        await rig.litellm.complete('test-chat', {
          headers: { 'x-litellm-timeout': '0.5', 'x-litellm-num-retries': '0' },
        })
      ).status,
    ).toBe(408);
  });

  it('[50] a provider that is too slow for the product is a time-out, and its connection is closed', async () => {
    const app = await rig.startApp({ timeouts: { firstByteMs: 500 } });
    try {
      const user = await rig.user();
      // The key first: it takes its own time.
      await app.chat(user.token, ask('hello'));
      script({ holdHead: forever });
      const before = rig.litellm.provider.requests.length;
      const { data } = await app.chat(user.token, ask('hello'));
      expect(data!.chat).toMatchObject({ __typename: 'UpstreamFailed', code: 'UPSTREAM_TIMEOUT', retryable: true });
      await waitFor(() => rig.litellm.provider.requests[before]?.closedAt);
      expect((await settledRows(rig.database.db)).findLast((row) => row.user_id === user.id)).toMatchObject({
        status: 'FAILED',
        error_code: 'UPSTREAM_TIMEOUT',
        usage_source: 'ESTIMATED',
        completion_tokens: 0,
      });
    } finally {
      await app.stop();
    }
  });

  it('[46] a context that is too long is 400 with its name in the message', async () => {
    script(faults.contextTooLong());
    const raw = await rig.litellm.complete('test-chat');
    expect(raw).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('ContextWindowExceededError') } },
    });
    script(faults.contextTooLong());
    expect(await refused()).toMatchObject({ __typename: 'ContextTooLong', retryable: false });
  });

  it("[47] content that the provider's policy blocks is 400 with the provider's words", async () => {
    script(faults.contentPolicy());
    const raw = await rig.litellm.complete('test-chat');
    expect(raw).toMatchObject({
      status: 400,
      body: {
        error: { type: 'invalid_request_error', message: expect.stringMatching(/safety system|content_policy/) },
      },
    });
    script(faults.contentPolicy());
    expect(await refused()).toMatchObject({ __typename: 'ContentBlocked', retryable: false });
  });

  it("[64] the provider's 422 is null where parameters may be left out, and a stream a 500: refused, not to be tried again, and nothing is booked", async () => {
    for (const model of ['test-chat', 'test-primary']) rig.litellm.provider.always(model, faults.unprocessable());
    try {
      const before = rig.litellm.provider.requests.length;
      const whole = await rig.litellm.complete('test-chat');
      expect([whole.status, whole.text]).toEqual([200, 'null']);
      // It leaves out what the provider names, which is nothing here, and asks once more.
      expect(rig.litellm.provider.requests.slice(before).map(({ body }) => body.model)).toEqual([
        'test-chat',
        'test-chat',
      ]);
      // Its fallback is not asked.
      const callId = `call_${randomUUID()}`;
      const id = { headers: { 'x-litellm-call-id': callId } };
      expect(await rig.litellm.complete('test-primary', id)).toMatchObject({ status: 200, text: 'null' });
      expect(rig.litellm.provider.requests.slice(before + 2).map(({ body }) => body.model)).toEqual([
        'test-primary',
        'test-primary',
      ]);
      expect(await refused()).toMatchObject({
        __typename: 'UpstreamFailed',
        code: 'UPSTREAM_FAILED',
        retryable: false,
        retryAfterMs: null,
      });

      const stream = await rig.litellm.complete('test-chat', { stream: true });
      expect(stream).toMatchObject({
        status: 500,
        body: { error: { message: expect.stringContaining("'NoneType' object has no attribute '__aiter__'") } },
      });
      const user = await rig.user();
      const events = rig.app.connect(user.token).chatStream(ask('hello'));
      expect(await events.waitFor(isTerminal)).toMatchObject({
        __typename: 'StreamFailed',
        refusal: { __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED', retryable: false },
        partial: null,
      });
      const rows = (await settledRows(rig.database.db)).filter((row) => row.user_id === user.id);
      expect(rows).toMatchObject([
        { status: 'FAILED', error_code: 'UPSTREAM_FAILED', usage_source: 'NONE', cost: '0' },
      ]);
      // A later one is written down, and that is not.
      const later = `call_${randomUUID()}`;
      await rig.litellm.complete('test-small', { headers: { 'x-litellm-call-id': later } });
      await rig.litellm.spendRows(later);
      expect((await rig.litellm.ask(`/spend/logs?request_id=${callId}`)).body).toEqual([]);
    } finally {
      for (const model of ['test-chat', 'test-primary']) rig.litellm.provider.clear(model);
    }
  });

  it('[49] a failure of the provider does not make the next call fail', async () => {
    script(faults.unauthorizedEcho(), faults.unauthorizedEcho());
    for (let i = 0; i < 2; i += 1) expect((await rig.litellm.complete('test-chat')).status).toBe(401);
    expect((await rig.litellm.complete('test-chat')).status).toBe(200);
  });
}
