import { randomUUID } from 'node:crypto';
import type { TestApp } from '../../support/app';
import { framesOf } from '../../support/litellm';
import { PROVIDERS_SMALL } from '../../support/litellm-models';
import type { LitellmRig } from '../../support/litellm-rig';
import { faults, forever, gate, type Script } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { isTerminal, textOf, type StreamEvent, type Subscription, type TestWsClient } from '../../support/ws-client';
import { eventually, waitFor } from '../../support/wait';
import { asMeant } from './calls.cases';

const WORDS = ['One ', 'two ', 'three ', 'four.'];

export function streamCases(rig: LitellmRig): void {
  const open = async (
    input: Record<string, unknown>,
  ): Promise<{ client: TestWsClient; stream: Subscription<StreamEvent> }> => {
    const client = rig.app.connect((await rig.user()).token);
    return { client, stream: client.chatStream(input) };
  };
  /** The terminal event, and that nothing comes after it. */
  const lastOf = async (stream: Subscription<StreamEvent>): Promise<StreamEvent> => {
    const last = await stream.waitFor(isTerminal);
    await eventually(stream.ended, 'the end of the stream');
    expect(stream.errors).toEqual([]);
    expect(stream.events.filter(isTerminal)).toHaveLength(1);
    expect(stream.events.at(-1)).toBe(last);
    return last;
  };
  const script = (...scripts: Script[]): void => rig.litellm.provider.script('test-chat', ...scripts);

  it('arrives while the provider is still writing', async () => {
    // The second word is not written before the first was seen here.
    const seen = gate();
    script({ pieces: WORDS, hold: { after: 1, until: seen } });
    const { stream } = await open(ask('count'));
    await stream.waitFor((event) => event.__typename === 'TextDelta');
    expect(textOf(stream.events)).toBe('One ');
    seen.open();
    const last = await lastOf(stream);
    expect(last).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { finishReason: 'STOP', answer: { content: WORDS.join(''), complete: true } },
    });
    expect(textOf(stream.events)).toBe(WORDS.join(''));
  });

  it('[29, 30] ends with a chunk that has usage and cost, before [DONE]; the headers have no cost', async () => {
    const { text, headers } = await rig.litellm.complete('test-chat', { stream: true });
    expect(Number(headers.get('x-litellm-response-cost') ?? 0)).toBe(0);
    const frames = framesOf(text);
    const finish = frames.findIndex((frame) => frame.choices?.[0]?.finish_reason);
    const usage = frames.findIndex((frame) => frame.usage);
    expect(usage).toBeGreaterThanOrEqual(finish);
    expect(frames[usage].usage).toMatchObject({
      prompt_tokens: 11,
      completion_tokens: 4,
      prompt_tokens_details: { cached_tokens: 0 },
    });
    expect(asMeant(frames[usage].usage.cost)).toBe('0.0000675');
    expect(frames.at(-1)).toBe('[DONE]');

    const { stream } = await open(ask('hello'));
    const { reply } = await lastOf(stream);
    expect(reply).toMatchObject({
      usage: { promptTokens: 11, completionTokens: 3, source: 'PROVIDER' },
      cost: { total: '0.0000575' },
    });
    const row = (await settledRow(rig.database.db, reply.call.id)) as any;
    expect(asMeant(row.proxy_cost)).toBe('0.0000575');
    expect(row).toMatchObject({
      status: 'COMPLETED',
      streamed: true,
      served_model: 'test-chat',
      deployment: 'test-chat-1',
    });
  });

  it('[31] whose provider gives no usage gets a count of the proxy, without details: the row says that it is an estimate', async () => {
    script({ usage: null });
    const frames = framesOf((await rig.litellm.complete('test-chat', { stream: true })).text);
    const { usage } = frames.find((frame) => frame.usage);
    expect(usage.completion_tokens).toBeGreaterThan(0);
    expect(usage.prompt_tokens_details ?? null).toBeNull();

    script({ usage: null });
    const { stream } = await open(ask('hello'));
    const { reply } = await lastOf(stream);
    expect(reply.usage.source).toBe('ESTIMATED');
    expect(await settledRow(rig.database.db, reply.call.id)).toMatchObject({
      status: 'COMPLETED',
      usage_source: 'ESTIMATED',
    });
  });

  it.each([
    [
      'sends an error object',
      { errorAfter: { pieces: 2, error: { message: 'The server had an error', type: 'server_error', code: null } } },
    ],
    ['is cut off', { cutAfter: 2 }],
  ])(
    '[32] whose provider %s in the middle ends with an error frame and no [DONE]: what came is kept, and one event says that it broke off',
    async (_name, answer) => {
      script({ pieces: WORDS, ...answer });
      const raw = await rig.litellm.complete('test-chat', { stream: true });
      expect(raw.status).toBe(200);
      expect(framesOf(raw.text).at(-1)).toMatchObject({ error: { message: expect.any(String), code: '500' } });

      script({ pieces: WORDS, ...answer });
      const { stream } = await open(ask('count'));
      const last = await lastOf(stream);
      expect(last).toMatchObject({
        __typename: 'StreamFailed',
        refusal: { __typename: 'UpstreamFailed', code: 'STREAM_INTERRUPTED', retryable: true },
        partial: { answer: { content: 'One two ', complete: false } },
      });
      expect(await settledRow(rig.database.db, last.partial.call.id)).toMatchObject({
        status: 'FAILED',
        error_code: 'STREAM_INTERRUPTED',
        usage_source: 'ESTIMATED',
      });
    },
  );

  it('[63] whose provider breaks off before its first word is continued by the fallback, which only its parts name: it is booked as what it is', async () => {
    const { db } = rig.database;
    const { provider } = rig.litellm;
    const held = gate();
    // The role, without a word.
    provider.always('test-primary', { pieces: ['', 'never'], cutAfter: 1 });
    try {
      const callId = `call_${randomUUID()}`;
      const raw = await rig.litellm.complete('test-primary', {
        stream: true,
        headers: { 'x-litellm-call-id': callId },
      });
      expect([
        raw.status,
        raw.headers.get('x-litellm-model-group'),
        raw.headers.get('x-litellm-model-id'),
        raw.headers.get('x-litellm-attempted-fallbacks'),
      ]).toEqual([200, 'test-primary', 'test-primary-1', '0']);
      const frames = framesOf(raw.text);
      const names = frames.slice(0, -1).map(({ model }) => model);
      expect([names[0], [...new Set(names)], frames.at(-1)]).toEqual([
        'test-primary',
        ['test-primary', 'test-small'],
        '[DONE]',
      ]);
      const { usage } = frames.find((frame) => frame.usage);
      expect(usage).toMatchObject({
        prompt_tokens: 11,
        completion_tokens: 4,
        prompt_tokens_details: expect.anything(),
      });
      expect(asMeant(usage.cost)).toBe('0.00000405');
      const [record] = await rig.litellm.spendRows(callId);
      expect(record).toMatchObject({
        status: 'success',
        model_group: 'test-small',
        model_id: 'test-small-1',
        metadata: { attempted_fallbacks: 1 },
      });
      expect(asMeant(record.spend)).toBe('0.00000405');

      // Where the headers name a fallback already, the chunks go on naming that one.
      provider.script('test-chat', faults.internal(), faults.internal());
      const named = framesOf(
        (
          await rig.litellm.complete('test-chat', {
            stream: true,
            more: { fallbacks: [{ 'test-chat': ['test-primary', 'test-small'] }] },
          })
        ).text,
      );
      expect([...new Set(named.slice(0, -1).map(({ model }) => model))]).toEqual(['test-primary']);
      expect(named.find((frame) => frame.choices?.[0]?.delta?.content)).toBeDefined();

      provider.script(PROVIDERS_SMALL, { pieces: WORDS, hold: { after: 2, until: held } });
      const key = randomUUID();
      const asked = ask('count', { model: 'test-primary', idempotencyKey: key });
      const user = await rig.user();
      const stream = rig.app.connect(user.token).chatStream(asked);
      await stream.waitFor(() => textOf(stream.events) === 'One two ');
      // What is written down while it runs, should its process die.
      const checkpoints = async (): Promise<any[]> =>
        db.query('SELECT served_model, deployment FROM call_checkpoints WHERE call_id = $1', [
          stream.events[0]!.callId,
        ]);
      expect((await waitFor(async () => ((await checkpoints()).length > 0 ? checkpoints() : null)))[0]).toEqual({
        served_model: 'test-small',
        deployment: null,
      });
      held.open();
      const { reply } = await lastOf(stream);
      const told = {
        route: { model: 'test-primary', servedModel: 'test-small', attempts: 2 },
        usage: { promptTokens: 11, completionTokens: 4, source: 'PROVIDER' },
        cost: { total: '0.00000405' },
      };
      expect(reply).toMatchObject({ ...told, finishReason: 'STOP', answer: { content: WORDS.join('') } });
      const row = (await settledRow(db, reply.call.id)) as any;
      expect(row).toMatchObject({
        status: 'COMPLETED',
        model: 'test-primary',
        served_model: 'test-small',
        deployment: null,
        attempts: 2,
        usage_source: 'PROVIDER',
        cost: '0.00000405',
      });
      expect(asMeant(row.proxy_cost)).toBe('0.00000405');
      expect(await db.query('SELECT model FROM model_prices WHERE number = $1', [row.price_number])).toEqual([
        { model: 'test-small' },
      ]);
      const [kept] = await db.query<{ stored: any }>('SELECT stored FROM idempotency_keys WHERE key = $1', [key]);
      expect(kept!.stored).toMatchObject({
        status: 'COMPLETED',
        reply: { route: { servedModel: 'test-small' }, call: { servedModel: 'test-small', deployment: null } },
      });
      const again = await lastOf(rig.app.connect(user.token).chatStream(asked));
      expect(again).toMatchObject({ __typename: 'StreamCompleted', reply: told });
    } finally {
      held.open();
      provider.clear('test-primary');
    }
  });

  it('[33] that is refused before its first chunk is refused with a status and a body, as a whole answer is', async () => {
    script(faults.contextTooLong());
    const raw = await rig.litellm.complete('test-chat', { stream: true });
    expect(raw).toMatchObject({ status: 400, body: { error: { type: 'invalid_request_error' } } });
    script(faults.contextTooLong());
    const { stream } = await open(ask('hello'));
    expect(await lastOf(stream)).toMatchObject({
      __typename: 'StreamFailed',
      refusal: { __typename: 'ContextTooLong' },
      partial: null,
    });
  });

  describe('whose provider falls silent', () => {
    const IDLE_MS = 1_000;
    let impatient: TestApp;
    beforeAll(async () => {
      impatient = await rig.startApp({
        timeouts: { connectMs: 5_000, firstByteMs: IDLE_MS, idleMs: IDLE_MS, totalMs: 60_000 },
      });
    });
    afterAll(() => impatient?.stop());

    it.each([
      ['before its head', { holdHead: forever }, null],
      ['before its first word', { pieces: WORDS, hold: { after: 0, until: forever } }, null],
      ['after two words', { pieces: WORDS, hold: { after: 2, until: forever } }, 'One two '],
    ])(
      '%s ends at our deadline, once, with what came, and is closed at the provider too',
      async (_name, answer, content) => {
        script(answer);
        const before = rig.litellm.provider.requests.length;
        const stream = impatient.connect((await rig.user()).token).chatStream(ask('count'));
        const last = await lastOf(stream);
        expect(last).toMatchObject({
          __typename: 'StreamFailed',
          refusal: { code: 'UPSTREAM_TIMEOUT', retryable: true },
          partial: content && { answer: { content, complete: false } },
        });
        await eventually(rig.litellm.provider.requests[before]!.closed, "the end of the provider's connection");
        expect(await settledRow(rig.database.db, stream.events[0]!.callId)).toMatchObject({
          status: 'FAILED',
          error_code: 'UPSTREAM_TIMEOUT',
          usage_source: 'ESTIMATED',
        });
      },
    );
  });

  it.each([
    ['with 429', faults.rateLimited('7'), { __typename: 'RateLimited', retryable: true }],
    [
      'with 503',
      faults.unavailable(),
      { __typename: expect.stringMatching(/^(ModelUnavailable|UpstreamFailed)$/), retryable: true },
    ],
    [
      'with 502 in HTML',
      faults.badGatewayHtml(),
      { __typename: expect.stringMatching(/^(ModelUnavailable|UpstreamFailed)$/), retryable: true },
    ],
  ])('whose provider refuses %s fails with one event and costs nothing', async (_name, fault, refusal) => {
    script(...Array<Script>(5).fill(fault));
    const { stream } = await open(ask('hello'));
    expect(await lastOf(stream)).toMatchObject({ __typename: 'StreamFailed', refusal, partial: null });
    expect(await settledRow(rig.database.db, stream.events[0]!.callId)).toMatchObject({
      status: 'FAILED',
      usage_source: 'NONE',
    });
    rig.litellm.provider.clear('test-chat');
  });

  it('whose provider does not keep to max_tokens is cut, and closed at the provider too', async () => {
    // All different: the proxy itself ends a stream that says the same a hundred times.
    script({ pieces: Array.from({ length: 500 }, (_, i) => `${i} `), hold: { after: 400, until: forever } });
    const before = rig.litellm.provider.requests.length;
    const { stream } = await open(ask('count', { maxTokens: 50 }));
    const last = await lastOf(stream);
    expect(last).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'BUDGET',
      reply: { finishReason: 'BUDGET', answer: { complete: false } },
    });
    await eventually(rig.litellm.provider.requests[before]!.closed, "the end of the provider's connection");
    expect(rig.litellm.provider.requests[before]!.finished).toBe(false);
    expect(await settledRow(rig.database.db, last.reply.call.id)).toMatchObject({
      status: 'STOPPED',
      finish_reason: 'BUDGET',
    });
  });

  const stopped: string[] = [];
  it.each(['stopStream', 'a viewer who leaves'])(
    '[34] that is ended by %s is closed at the provider too; one row says STOPPED',
    async (how) => {
      script({ pieces: WORDS, hold: { after: 2, until: forever } });
      const before = rig.litellm.provider.requests.length;
      const user = await rig.user();
      const client = rig.app.connect(user.token);
      const stream = client.chatStream(ask('count', { onDisconnect: 'CANCEL' }));
      await stream.waitFor(() => textOf(stream.events) === 'One two ');
      const { streamId, callId } = stream.events[0]!;
      const atProvider = rig.litellm.provider.requests[before]!;
      if (how === 'stopStream') {
        const { data } = await rig.app.graphql(
          user.token,
          'mutation ($id: ID!) { stopStream(streamId: $id) { stopped } }',
          { id: streamId },
        );
        expect(data.stopStream.stopped).toBe(true);
        expect(await lastOf(stream)).toMatchObject({
          __typename: 'StreamStopped',
          reason: 'CLIENT',
          reply: { finishReason: 'STOPPED', answer: { content: 'One two ', complete: false } },
        });
      } else {
        stream.unsubscribe();
      }
      await eventually(atProvider.closed, "the end of the provider's connection");
      expect(atProvider.finished).toBe(false);
      const row = await settledRow(rig.database.db, callId);
      expect(row).toMatchObject({ status: 'STOPPED', usage_source: 'ESTIMATED', finish_reason: 'STOPPED' });
      expect(Number(row.cost)).toBeGreaterThan(0);
      stopped.push(callId);
    },
  );

  it('[50] that is stopped before its first chunk is closed at the provider too', async () => {
    script({ holdHead: forever });
    const before = rig.litellm.provider.requests.length;
    const { client, stream } = await open(ask('count', { onDisconnect: 'CANCEL' }));
    const { callId } = await stream.waitFor((event) => event.__typename === 'StreamStarted');
    await waitFor(() => rig.litellm.provider.requests[before]);
    client.cut();
    await eventually(rig.litellm.provider.requests[before]!.closed, "the end of the provider's connection");
    expect(await settledRow(rig.database.db, callId)).toMatchObject({ status: 'STOPPED' });
    expect(await rig.litellm.spendRows(callId)).toMatchObject([{ status: 'failure' }]);
  });

  it('[34] that was stopped has its spend row at the proxy', async () => {
    expect(stopped).toHaveLength(2);
    for (const callId of stopped)
      expect(await rig.litellm.spendRows(callId)).toMatchObject([
        { litellm_call_id: callId, model_group: 'test-chat' },
      ]);
  });
}
