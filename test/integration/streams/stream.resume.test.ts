import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { createUser } from '../../support/factories';
import { gate } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { TcpFront } from '../../support/tcp-front';
import { settledRow, settledRows } from '../../support/usage-rows';
import { AT_ONCE_MS, eventually, waitFor, within } from '../../support/wait';
import { CHAT_STREAM, isTerminal, textOf, type StreamEvent, type Subscription } from '../../support/ws-client';

/**
 * Characters that providers cut in two: surrogate pairs, a family of four with joiners, a letter and its accent, a
 * flag.
 */
const WHOLE = 'a😀b👨‍👩‍👧‍👦c e\u0301 🇩🇪 𝒳 end';
const UNITS = WHOLE.split('');

/**
 * The events follow each other from the one behind `after`, and the last one is terminal when the operation has ended.
 */
function expectRest(stream: Subscription<StreamEvent>, after: number): void {
  let next = after + 1;
  for (const { fromSeq, seq } of stream.events) {
    expect(fromSeq).toBe(next);
    expect(seq).toBeGreaterThanOrEqual(fromSeq);
    next = seq + 1;
  }
  expect(stream.errors).toEqual([]);
  if (stream.over)
    expect(stream.events.map(isTerminal)).toEqual(stream.events.map((_, i) => i === stream.events.length - 1));
}
const lastSeq = (stream: Subscription<StreamEvent>): number => stream.events.at(-1)?.seq ?? 0;
const endOf = (stream: Subscription<StreamEvent>): Promise<void> => eventually(stream.ended, 'the end of the stream');

describe('a stream that is resumed', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());
  const asked = (): number => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').length;

  it('in mid-answer gives exactly the rest, and goes on live', async () => {
    const { app, provider, member, database } = fixture;
    const rest = gate();
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three ', 'four'], hold: { after: 2, until: rest } });
    const before = asked();
    const client = app.connect(member.token);
    const first = client.chatStream(ask('Count'));
    await first.waitFor(({ seq }) => seq === 3);
    const { streamId, callId } = first.events[0]!;
    const seen = lastSeq(first);
    client.cut();
    const again = app.connect(member.token).resumeStream(streamId, seen - 1);
    // What is there comes at once, and the rest when it is said.
    await again.waitFor(({ seq }) => seq === seen);
    expect(textOf(again.events)).toBe('two ');
    rest.open();
    await endOf(again);
    expectRest(again, seen - 1);
    expect(textOf(again.events)).toBe('two three four');
    expect(again.events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: 'one two three four', complete: true } },
    });
    expect(asked() - before).toBe(1);
    await settledRow(database.db, callId);
  });

  it('is the same byte for byte at every number, also where a character was cut in two, while it runs and after its end', async () => {
    const { app, provider, member } = fixture;
    const rest = gate();
    provider.script('test-chat', { pieces: UNITS, hold: { after: 20, until: rest } });
    const client = app.connect(member.token);
    const whole = client.chatStream(ask('Emoji'));
    await whole.waitFor(({ seq }) => seq === 21);
    const { streamId } = whole.events[0]!;
    // One connection runs 20 operations at most.
    const others = [app.connect(member.token), app.connect(member.token)];
    const live = Array.from({ length: 22 }, (_, after) => others[after % 2]!.resumeStream(streamId, after));
    for (const [after, stream] of live.entries()) if (after < 21) await stream.waitFor(({ seq }) => seq === 21);
    rest.open();
    await Promise.all([whole, ...live].map(endOf));
    expect(textOf(whole.events)).toBe(WHOLE);
    for (const [after, stream] of live.entries()) {
      expectRest(stream, after);
      expect(textOf(stream.events)).toBe(UNITS.slice(Math.max(0, after - 1)).join(''));
    }
    for (let after = 0; after < UNITS.length + 2; after += 1) {
      const stream = client.resumeStream(streamId, after);
      await endOf(stream);
      expectRest(stream, after);
      expect(textOf(stream.events)).toBe(UNITS.slice(Math.max(0, after - 1)).join(''));
      expect(stream.events.at(-1)).toEqual(whole.events.at(-1));
    }
    await client.close();
  });

  it('behind its last event ends at once, with nothing', async () => {
    const { app, provider, member } = fixture;
    provider.script('test-chat', { pieces: ['all'] });
    const client = app.connect(member.token);
    const first = client.chatStream(ask('q'));
    await endOf(first);
    const again = client.resumeStream(first.events[0]!.streamId, lastSeq(first));
    await within(again.ended, AT_ONCE_MS, 'the end of the stream');
    expect([again.events, again.errors]).toEqual([[], []]);
    await client.close();
  });

  it.each([
    ['negative', -1],
    ['beyond the last event', 1],
  ])('from a number that is %s: BAD_USER_INPUT', async (_name, offset) => {
    const { app, provider, member } = fixture;
    provider.script('test-chat', { pieces: ['all'] });
    const client = app.connect(member.token);
    const first = client.chatStream(ask('q'));
    await endOf(first);
    const again = client.resumeStream(first.events[0]!.streamId, offset < 0 ? offset : lastSeq(first) + offset);
    await endOf(again);
    expect(again.errors).toEqual([
      expect.objectContaining({
        extensions: expect.objectContaining({ code: 'BAD_USER_INPUT', argument: 'afterSeq' }),
      }),
    ]);
    await client.close();
  });

  it('answers to everybody else, and for ids that are wrong, exactly as for one that never was', async () => {
    const { app, provider, member, admin, operator, database, planId, organizationId } = fixture;
    const rest = gate();
    provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: rest } });
    const running = app.connect(member.token).chatStream(ask('q'));
    const { streamId, callId } = await running.waitFor(({ __typename }) => __typename === 'StreamStarted');
    const told = async (token: string, id: string): Promise<unknown> => {
      const client = app.connect(token);
      const stream = client.resumeStream(id);
      await endOf(stream);
      expect(stream.events).toEqual([]);
      await client.close();
      return stream.errors.map((error) => ({
        ...(error as object),
        extensions: { ...(error as { extensions: object }).extensions, requestId: null },
      }));
    };
    const missing = await told(member.token, 'str_00000000000000000000000000');
    expect(missing).toMatchObject([{ extensions: { code: 'NOT_FOUND', argument: 'streamId' } }]);
    const colleague = await createUser(database.db, { organizationId, planId });
    for (const { token } of [colleague, admin, operator]) expect(await told(token, streamId)).toEqual(missing);
    for (const id of [callId, 'nonsense', '', `${streamId}0`, streamId.toUpperCase()])
      expect(await told(member.token, id)).toEqual(missing);
    rest.open();
    await endOf(running);
    for (const { token } of [colleague, admin, operator]) expect(await told(token, streamId)).toEqual(missing);
  });

  it('by a client that connects again by itself: the idempotency key brings it back to its stream, from the first piece, and it is paid once', async () => {
    const { app, provider, database } = fixture;
    const user = await createUser(database.db, { organizationId: fixture.organizationId, planId: fixture.planId });
    const rest = gate();
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three'], hold: { after: 2, until: rest } });
    const before = [asked(), (await settledRows(database.db)).length];
    const front = await TcpFront.start(app.url);
    const client = createClient({
      url: front.url.replace(/^http/, 'ws'),
      webSocketImpl: WebSocket,
      connectionParams: { Authorization: `Bearer ${user.token}` },
      retryAttempts: 20,
      retryWait: () => new Promise(setImmediate),
      shouldRetry: () => true,
    });
    const events: StreamEvent[] = [];
    try {
      const ended = new Promise<void>((resolve, reject) => {
        client.subscribe<{ chatStream: StreamEvent }>(
          { query: CHAT_STREAM, variables: { input: ask('q', { idempotencyKey: 'one-try' }) } },
          { next: ({ data }) => void events.push(data!.chatStream), error: reject, complete: resolve },
        );
      });
      await waitFor(() => events.at(-1)?.seq === 3);
      const seen = events.length;
      front.away = true;
      front.away = false;
      await waitFor(() => events.slice(seen).some(({ seq }) => seq === 3), { what: 'the stream again' });
      rest.open();
      await eventually(ended, 'the end');
      const again = events.slice(seen);
      expect(again[0]).toEqual(events[0]);
      expect(again.map(({ fromSeq }) => fromSeq)).toEqual([1, ...again.slice(0, -1).map(({ seq }) => seq + 1)]);
      expect(textOf(again)).toBe('one two three');
      expect([asked(), (await settledRows(database.db)).length]).toEqual([before[0]! + 1, before[1]! + 1]);
    } finally {
      await client.dispose();
      await front.stop();
    }
  });

  it('with its idempotency key after its end: the same pieces with the same numbers, marked as told again', async () => {
    const { app, provider, member } = fixture;
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three'] });
    const query =
      'subscription ($input: ChatInput!) { chatStream(input: $input) { __typename ... on StreamEvent { fromSeq seq } ... on StreamStarted { streamId } ... on TextDelta { text } ... on StreamCompleted { reply { replayed answer { content } } } } }';
    const client = app.connect(member.token);
    const input = ask('q', { idempotencyKey: 'after-the-end' });
    const before = asked();
    const first = client.subscribe(query, { input });
    await endOf(first);
    const again = client.subscribe(query, { input });
    await endOf(again);
    expect(first.events.at(-1)).toMatchObject({ seq: 5, reply: { replayed: false } });
    expect(again.events[0]).toEqual(first.events[0]);
    expect(textOf(again.events)).toBe('one two three');
    expectRest(again, 0);
    expect(again.events.at(-1)).toEqual({
      ...first.events.at(-1)!,
      reply: { replayed: true, answer: { content: 'one two three' } },
    });
    expect(asked() - before).toBe(1);
    await client.close();
  });
});

describe('a stream whose time is over', () => {
  it('is NOT_FOUND, and the message says how long events are kept', async () => {
    const fixture = await createFixture({ config: { streams: { graceMs: 30_000, keptMs: 0, keptBytes: 0 } } });
    try {
      const { app, provider, member } = fixture;
      provider.script('test-chat', { pieces: ['all'] });
      const client = app.connect(member.token);
      const first = client.chatStream(ask('q'));
      await endOf(first);
      const again = client.resumeStream(first.events[0]!.streamId);
      await endOf(again);
      expect(again.events).toEqual([]);
      expect(again.errors).toEqual([
        expect.objectContaining({
          message: expect.stringContaining('STREAM_KEPT_MS'),
          extensions: expect.objectContaining({ code: 'NOT_FOUND', argument: 'streamId' }),
        }),
      ]);
    } finally {
      await fixture.close();
    }
  });
});
