import { faults, type Script } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { isTerminal, textOf, type StreamEvent } from '../../support/ws-client';

describe('an upstream that breaks', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  async function run(script: Script): Promise<StreamEvent[]> {
    fixture.provider.script('test-chat', script);
    const client = fixture.app.connect(fixture.member.token);
    const stream = client.chatStream(ask('Hello'));
    await stream.ended;
    expect(stream.errors).toEqual([]);
    expect(stream.events.filter(isTerminal)).toHaveLength(1);
    expect(isTerminal(stream.events.at(-1)!)).toBe(true);
    await client.close();
    return stream.events;
  }

  const MIDDLE: [string, Script][] = [
    [
      'an error object',
      {
        pieces: ['one ', 'two ', 'three '],
        errorAfter: { pieces: 2, error: { message: 'litellm.APIConnectionError: boom', type: null, code: '500' } },
      },
    ],
    ['a cut connection', { pieces: ['one ', 'two ', 'three '], cutAfter: 2 }],
    ['a polite end that comes before the answer has one', { pieces: ['one ', 'two ', 'three '], endAfter: 2 }],
    [
      'half an event',
      { pieces: ['one ', 'two ', { raw: 'data: {"id":"chatcmpl-1","choices":[{"delta":{"con\n\n' }, 'three '] },
    ],
  ];
  it.each(MIDDLE)(
    'with %s in the middle: what came is kept, it fails exactly once, and is booked once',
    async (_, script) => {
      const events = await run(script);
      expect(textOf(events)).toBe('one two ');
      expect(events.at(-1)).toMatchObject({
        __typename: 'StreamFailed',
        refusal: { __typename: 'UpstreamFailed', code: 'STREAM_INTERRUPTED', retryable: true },
        partial: {
          answer: { content: 'one two ', complete: false },
          usage: { source: 'ESTIMATED' },
          call: { status: 'FAILED', errorCode: 'STREAM_INTERRUPTED' },
        },
      });
      const row = await settledRow(fixture.database.db, events[0]!.callId);
      expect(row).toMatchObject({ status: 'FAILED', error_code: 'STREAM_INTERRUPTED', usage_source: 'ESTIMATED' });
      expect(row.completion_tokens).toBeGreaterThan(0);
      expect(row.prompt_tokens).toBeGreaterThan(0);
    },
  );

  it('with a cut before the first piece: it fails without a part, and is booked once', async () => {
    const events = await run({ pieces: ['one '], cutAfter: 0 });
    expect(events.map(({ __typename }) => __typename)).toEqual(['StreamStarted', 'StreamFailed']);
    expect(events[1]).toMatchObject({ refusal: { __typename: 'UpstreamFailed' }, partial: null });
    expect(await settledRow(fixture.database.db, events[0]!.callId)).toMatchObject({
      status: 'FAILED',
      completion_tokens: 0,
    });
  });

  const REFUSALS: [string, Script, object][] = [
    [
      '429',
      faults.rateLimited('3'),
      { __typename: 'RateLimited', code: 'RATE_LIMITED', retryable: true, retryAfterMs: 3_000 },
    ],
    [
      '429 and a date',
      faults.rateLimited(new Date(Date.now() + 3_600_000).toUTCString()),
      { __typename: 'RateLimited', retryable: true, retryAfterMs: 600_000 },
    ],
    [
      '429 and a wait of days',
      faults.rateLimited('9999999'),
      { __typename: 'RateLimited', retryable: true, retryAfterMs: 600_000 },
    ],
    ['429 and nonsense', faults.rateLimited('soon'), { __typename: 'RateLimited', retryable: true }],
    [
      '503',
      faults.unavailable(),
      { __typename: 'ModelUnavailable', code: 'MODEL_UNAVAILABLE', retryable: true, retryAfterMs: 7_000 },
    ],
    ['500', faults.internal(), { __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED' }],
    ['502 with HTML', faults.badGatewayHtml(), { __typename: 'UpstreamFailed', code: 'UPSTREAM_FAILED' }],
    ['529', faults.overloaded(), { __typename: 'ModelUnavailable', code: 'MODEL_UNAVAILABLE', retryable: true }],
    [
      'a context that is too long',
      faults.contextTooLong(),
      { __typename: 'ContextTooLong', code: 'CONTEXT_TOO_LONG', retryable: false },
    ],
  ];
  it.each(REFUSALS)(
    'with %s before the first byte: the refusal is the end, nothing was spent, and the call has its row',
    async (_, script, refusal) => {
      const events = await run(script);
      expect(events.map(({ __typename }) => __typename)).toEqual(['StreamStarted', 'StreamFailed']);
      expect(events[1]).toMatchObject({ refusal, partial: null });
      expect(await settledRow(fixture.database.db, events[0]!.callId)).toMatchObject({
        status: 'FAILED',
        usage_source: 'NONE',
        prompt_tokens: 0,
        completion_tokens: 0,
      });
    },
  );

  it('that is not there at all: the model is unavailable, and the same model answers when it is back', async () => {
    const { provider, database } = fixture;
    await provider.goDown();
    const events = await run({});
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamFailed',
      refusal: { code: 'MODEL_UNAVAILABLE', retryable: true },
    });
    expect(await settledRow(database.db, events[0]!.callId)).toMatchObject({ status: 'FAILED', usage_source: 'NONE' });
    await provider.comeBack();
    expect((await run({})).at(-1)!.__typename).toBe('StreamCompleted');
  });
});
