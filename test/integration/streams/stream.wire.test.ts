import type { Answer, Wire } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow, type UsageRow } from '../../support/usage-rows';
import { textOf, type StreamEvent } from '../../support/ws-client';

/** Two, three and four bytes a character, a joined family, right to left, and what JSON and SSE escape. */
const TEXT = ['Grüße, ', '你好，', '👩‍👩‍👧‍👦 ', 'שלום ', 'a\nb\r\nc\t', '"quoted" \\ / ', '\u2028\u2029 ', '🇩🇪', ' end'];

describe('what the upstream sends is understood in every form that it may have', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  async function run(
    script: Answer,
    more: { maxTokens?: number } = {},
  ): Promise<{ events: StreamEvent[]; row: UsageRow }> {
    fixture.provider.script('test-chat', script);
    const client = fixture.app.connect(fixture.member.token);
    const stream = client.chatStream(ask('Hello', more));
    await stream.ended;
    expect(stream.errors).toEqual([]);
    await client.close();
    return { events: stream.events, row: await settledRow(fixture.database.db, stream.events[0]!.callId) };
  }

  const WIRES: [string, Wire][] = [
    ['one byte at a time', { writeBytes: 1 }],
    ['three bytes at a time', { writeBytes: 3 }],
    ['with CRLF line ends, one byte at a time', { lineEnd: '\r\n', writeBytes: 1 }],
    ['with CR line ends', { lineEnd: '\r' }],
    ['with comments in between', { comments: true }],
    ['with events of many lines', { multiLine: true }],
    ['without the blank behind the colon', { noSpace: true }],
  ];
  it.each(WIRES)('%s: identical to the last character, and counted the same', async (_, wire) => {
    const { events, row } = await run({ pieces: TEXT, wire });
    expect(textOf(events)).toBe(TEXT.join(''));
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: TEXT.join('') } },
    });
    expect(row).toMatchObject({
      status: 'COMPLETED',
      usage_source: 'PROVIDER',
      prompt_tokens: 11,
      completion_tokens: TEXT.length,
    });
  });

  it('a megabyte in one event', async () => {
    const huge = 'ü'.repeat(512 * 1_024);
    const { events, row } = await run({ pieces: ['small ', huge, ' small'] }, { maxTokens: 1_000_000 });
    expect(textOf(events)).toBe(`small ${huge} small`);
    expect(row.status).toBe('COMPLETED');
  });

  it('ten thousand tiny events, none lost, none twice', async () => {
    const pieces = Array.from({ length: 10_000 }, (_, index) => `${index} `);
    const { events } = await run({ pieces }, { maxTokens: 1_000_000 });
    expect(textOf(events)).toBe(pieces.join(''));
    expect(events.at(-1)!.seq).toBe(10_002);
    // A fast model does not cost one frame per token.
    expect(events.length).toBeLessThan(5_000);
  });

  it('without [DONE], when the finish reason has come: the answer is whole', async () => {
    const { events, row } = await run({ pieces: ['all of it'], done: false });
    expect(events.at(-1)!.__typename).toBe('StreamCompleted');
    expect(row).toMatchObject({ status: 'COMPLETED', usage_source: 'PROVIDER' });
  });

  it('without usage: counted here, and marked as an estimate', async () => {
    const { events, row } = await run({ pieces: ['The quick brown fox ', 'jumps over the lazy dog'], usage: null });
    expect(events.at(-1)).toMatchObject({ __typename: 'StreamCompleted', reply: { usage: { source: 'ESTIMATED' } } });
    expect(row).toMatchObject({ status: 'COMPLETED', usage_source: 'ESTIMATED', raw_usage: null });
    expect(row.completion_tokens).toBeGreaterThanOrEqual(5);
    expect(row.completion_tokens).toBeLessThanOrEqual(20);
    expect(row.prompt_tokens).toBeGreaterThan(0);
  });

  it('usage twice: the later one, which is the total, counts once', async () => {
    const { row } = await run({
      pieces: ['x'],
      usage: [
        { prompt_tokens: 11, completion_tokens: 1, total_tokens: 12 },
        { prompt_tokens: 11, completion_tokens: 5, total_tokens: 16 },
      ],
    });
    expect(row).toMatchObject({ usage_source: 'PROVIDER', prompt_tokens: 11, completion_tokens: 5 });
  });

  const ABSURD: [string, Answer['usage']][] = [
    ['negative tokens', { prompt_tokens: 11, completion_tokens: -5, total_tokens: 6 }],
    [
      'more cached than there were',
      { prompt_tokens: 11, completion_tokens: 5, total_tokens: 16, prompt_tokens_details: { cached_tokens: 500 } },
    ],
    ['half a token', { prompt_tokens: 11.5, completion_tokens: 5, total_tokens: 16.5 }],
  ];
  it.each(ABSURD)('usage with %s: not believed, counted here instead', async (_, usage) => {
    const { events, row } = await run({ pieces: ['some words here'], usage });
    expect(events.at(-1)!.__typename).toBe('StreamCompleted');
    expect(row.usage_source).toBe('ESTIMATED');
    expect(row.completion_tokens).toBeGreaterThan(0);
  });
});
