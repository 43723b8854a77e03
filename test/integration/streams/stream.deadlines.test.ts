import { forever, type Script } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { isTerminal, textOf, type StreamEvent } from '../../support/ws-client';

/**
 * Short, so that a test does not wait; long enough that a slow machine is no stall, and far enough apart to tell which
 * one it was.
 */
const TIMEOUTS = { firstByteMs: 1_500, idleMs: 1_000, totalMs: 5_000 };

describe('an upstream that stalls', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture({ config: { timeouts: TIMEOUTS } });
  });
  afterAll(() => fixture.close());

  async function run(script: Script): Promise<{ events: StreamEvent[]; tookMs: number }> {
    fixture.provider.script('test-chat', script);
    const client = fixture.app.connect(fixture.member.token);
    const stream = client.chatStream(ask('Hello'));
    await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    const begin = performance.now();
    await stream.ended;
    const tookMs = performance.now() - begin;
    expect(stream.events.filter(isTerminal)).toHaveLength(1);
    await client.close();
    return { events: stream.events, tookMs };
  }
  const lastCompletion = () => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;

  it('before the first byte: fails at the first-byte deadline, closes the upstream, and has its row', async () => {
    const { events, tookMs } = await run({ holdHead: forever });
    expect(tookMs).toBeGreaterThan(TIMEOUTS.firstByteMs * 0.8);
    // Not the deadline of the whole: that one stops the stream.
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamFailed',
      refusal: { code: 'UPSTREAM_TIMEOUT', retryable: true },
      partial: null,
    });
    await lastCompletion().closed;
    expect(await settledRow(fixture.database.db, events[0]!.callId)).toMatchObject({
      status: 'FAILED',
      error_code: 'UPSTREAM_TIMEOUT',
      completion_tokens: 0,
    });
  });

  it('between the head and the first token: the idle or first-byte deadline ends it', async () => {
    const { events } = await run({ pieces: ['one '], hold: { after: 0, until: forever } });
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamFailed',
      refusal: { code: 'UPSTREAM_TIMEOUT' },
      partial: null,
    });
    expect(await settledRow(fixture.database.db, events[0]!.callId)).toMatchObject({ status: 'FAILED' });
  });

  it('between two tokens: fails at the idle deadline, keeps and counts what came', async () => {
    const { events, tookMs } = await run({ pieces: ['one ', 'two ', 'three '], hold: { after: 2, until: forever } });
    expect(tookMs).toBeGreaterThan(TIMEOUTS.idleMs * 0.8);
    expect(textOf(events)).toBe('one two ');
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamFailed',
      refusal: { code: 'UPSTREAM_TIMEOUT' },
      partial: { answer: { content: 'one two ', complete: false } },
    });
    await lastCompletion().closed;
    const row = await settledRow(fixture.database.db, events[0]!.callId);
    expect(row).toMatchObject({ status: 'FAILED', error_code: 'UPSTREAM_TIMEOUT', usage_source: 'ESTIMATED' });
    expect(row.completion_tokens).toBeGreaterThan(0);
  });

  it('never, but talks without end: stopped at the deadline of the whole, with what came', async () => {
    const { events, tookMs } = await run({ pieces: Array<string>(20_000).fill('word '), pieceMs: 2 });
    expect(tookMs).toBeGreaterThan(TIMEOUTS.totalMs * 0.8);
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'DEADLINE',
      reply: { finishReason: 'STOPPED', answer: { complete: false } },
    });
    await lastCompletion().closed;
    expect(await settledRow(fixture.database.db, events[0]!.callId)).toMatchObject({
      status: 'STOPPED',
      usage_source: 'ESTIMATED',
    });
  });

  it('a comment now and then is a sign of life, not a stall', async () => {
    const { events } = await run({
      pieces: ['one ', ...Array(4).fill({ raw: ': still here\n\n' }), 'two '],
      pieceMs: TIMEOUTS.idleMs * 0.4,
    });
    expect(events.at(-1)!.__typename).toBe('StreamCompleted');
    expect(textOf(events)).toBe('one two ');
  });
});
