import { faults, forever, type Script } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow, settledRows } from '../../support/usage-rows';

const PROVIDER_KEY = 'sk-canary-5f2d8a71c9e04b36';

describe('a whole answer', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture({ apiKey: PROVIDER_KEY, config: { timeouts: { firstByteMs: 300, idleMs: 300 } } });
  });
  afterAll(() => fixture.close());

  async function chat(script: Script): Promise<any> {
    fixture.provider.script('test-chat', script);
    const reply = await fixture.app.chat(fixture.member.token, ask('Why?'));
    expect(reply.errors).toBeNull();
    return reply.data!.chat;
  }

  it('comes with its usage and its route, and is booked once', async () => {
    const reply = await chat({ pieces: ['Because ', 'of chlorophyll'] });
    expect(reply).toMatchObject({
      __typename: 'ChatReply',
      answer: { content: 'Because of chlorophyll', role: 'ASSISTANT', complete: true },
      finishReason: 'STOP',
      usage: { promptTokens: 11, completionTokens: 2, source: 'PROVIDER' },
      call: { status: 'COMPLETED' },
    });
    expect(await settledRow(fixture.database.db, reply.call.id)).toMatchObject({
      status: 'COMPLETED',
      streamed: false,
      prompt_tokens: 11,
      completion_tokens: 2,
    });
  });

  it('without usage is counted here, and marked as an estimate', async () => {
    const reply = await chat({ pieces: ['Because of chlorophyll'], usage: null });
    expect(reply.usage.source).toBe('ESTIMATED');
    expect(await settledRow(fixture.database.db, reply.call.id)).toMatchObject({ usage_source: 'ESTIMATED' });
  });

  const date = (): string => new Date(Date.now() + 60_000).toUTCString();
  const REFUSALS: [string, () => Script, object][] = [
    [
      '429 with seconds',
      () => faults.rateLimited('7'),
      { __typename: 'RateLimited', code: 'RATE_LIMITED', retryable: true, retryAfterMs: 7_000 },
    ],
    [
      '429 with a date',
      () => faults.rateLimited(date()),
      { __typename: 'RateLimited', code: 'RATE_LIMITED', retryable: true, retryAfterMs: expect.any(Number) },
    ],
    [
      '429 with a wait of days',
      () => faults.rateLimited('9999999'),
      { __typename: 'RateLimited', code: 'RATE_LIMITED', retryable: true, retryAfterMs: 600_000 },
    ],
    [
      '429 with nonsense',
      () => faults.rateLimited('soon'),
      { __typename: 'RateLimited', code: 'RATE_LIMITED', retryable: true },
    ],
    [
      '429 without a word',
      () => faults.rateLimited(),
      { __typename: 'RateLimited', code: 'RATE_LIMITED', retryable: true },
    ],
    ['500', faults.internal, { __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED', retryable: true }],
    [
      '502 with HTML',
      faults.badGatewayHtml,
      { __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED', retryable: true },
    ],
    [
      '503',
      faults.unavailable,
      { __typename: 'ModelUnavailable', code: 'MODEL_UNAVAILABLE', retryable: true, retryAfterMs: 7_000 },
    ],
    ['529', faults.overloaded, { __typename: 'ModelUnavailable', code: 'MODEL_UNAVAILABLE', retryable: true }],
    [
      'a context that is too long',
      faults.contextTooLong,
      { __typename: 'ContextTooLong', code: 'CONTEXT_TOO_LONG', retryable: false },
    ],
    [
      'content that its policy forbids',
      faults.contentPolicy,
      { __typename: 'ContentBlocked', code: 'CONTENT_BLOCKED', retryable: false },
    ],
    [
      'silence',
      () => ({ holdHead: forever }),
      { __typename: 'UpstreamFailed', code: 'UPSTREAM_TIMEOUT', retryable: true },
    ],
    [
      'a cut in the middle of the body',
      () => ({
        status: 200,
        headers: { 'content-length': '5000' },
        body: '{"id": "chatcmpl-1", "choices": [',
        cut: true,
      }),
      { __typename: 'UpstreamFailed', code: 'STREAM_INTERRUPTED', retryable: true },
    ],
    [
      'a stall in the middle of the body',
      () => ({ status: 200, headers: { 'content-length': '5000' }, body: '{"id": "chatcmpl-1", "choices": [' }),
      { __typename: 'UpstreamFailed', code: 'UPSTREAM_TIMEOUT', retryable: true },
    ],
    ['something that is not JSON', () => ({ status: 200, body: '<html>OK</html>' }), { __typename: 'UpstreamFailed' }],
  ];
  it.each(REFUSALS)(
    'of an upstream that answers with %s is a refusal that says what helps, and has one row',
    async (_, script, refusal) => {
      const before = (await settledRows(fixture.database.db)).length;
      expect(await chat(script())).toMatchObject(refusal);
      const rows = await settledRows(fixture.database.db);
      expect(rows).toHaveLength(before + 1);
      expect(rows.at(-1)).toMatchObject({ status: 'FAILED', completion_tokens: 0 });
    },
  );

  it('of a provider that refuses our key: the operator learns it, the caller learns no word of it, and the key is in no reply, no log line and no table', async () => {
    const reply = await chat(faults.unauthorizedEcho());
    expect(reply).toMatchObject({ __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED', retryable: false });
    expect(fixture.provider.requests.at(-1)!.headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`);
    expect(JSON.stringify(reply)).not.toMatch(/canary|key|401/i);
    const [dump] = await fixture.database.db.query<{ text: string }>(
      `SELECT (SELECT coalesce(json_agg(u)::text, '') FROM llm_usage u) || (SELECT coalesce(json_agg(m)::text, '') FROM messages m) AS text`,
    );
    expect(dump!.text).not.toContain(PROVIDER_KEY);
  });

  it('is finished and booked also when the client has hung up: it is paid for by then', async () => {
    const { app, provider, member, database } = fixture;
    const before = (await settledRows(database.db)).length;
    provider.script('test-small', { pieces: ['late answer'] });
    const abort = new AbortController();
    const request = app
      .graphql(
        member.token,
        'mutation { chat(input: { model: "test-small", messages: [{ role: USER, content: "hi" }] }) { __typename } }',
        {},
        { signal: abort.signal },
      )
      .catch((error: Error) => error.name);
    const upstream = await provider.completion(
      provider.requests.filter(({ path }) => path === '/v1/chat/completions').length,
    );
    abort.abort();
    await upstream.closed;
    await request;
    const rows = await settledRows(database.db);
    expect(rows).toHaveLength(before + 1);
  });
});
