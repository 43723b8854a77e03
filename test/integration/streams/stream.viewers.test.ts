import { gate } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { eventually } from '../../support/wait';
import { isTerminal, textOf, type StreamEvent, type Subscription } from '../../support/ws-client';

/** More than the buffers of a connection take. */
const PIECE = 'x'.repeat(2_000);
const MANY = Array.from({ length: 3_000 }, (_, i) => `${i}:${PIECE}\n`);
const endOf = (stream: Subscription<StreamEvent>): Promise<void> => eventually(stream.ended, 'the end of the stream');

describe('several who look at one stream', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  it('each get all of it, whenever they came, while one of them reads nothing for a while', async () => {
    const { app, provider, member } = fixture;
    const rest = gate();
    provider.script('test-chat', { pieces: MANY, hold: { after: 10, until: rest } });
    const before = provider.requests.length;
    const first = app.connect(member.token).chatStream(ask('q', { maxTokens: 2_000_000 }));
    await first.waitFor(({ seq }) => seq >= 11);
    const { streamId } = first.events[0]!;
    const slowClient = app.connect(member.token);
    const slow = slowClient.resumeStream(streamId);
    const second = app.connect(member.token).resumeStream(streamId);
    await Promise.all([slow, second].map((stream) => stream.waitFor(({ seq }) => seq >= 11)));
    slowClient.pause();
    rest.open();
    // The others do not wait for it.
    await Promise.all([first, second].map(endOf));
    expect(slow.over).toBe(false);
    slowClient.resume();
    await endOf(slow);
    expect(first.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
    const whole = MANY.join('');
    for (const { events } of [first, second, slow]) {
      expect(textOf(events) === whole).toBe(true);
      expect(events.map(({ fromSeq }) => fromSeq)).toEqual([1, ...events.slice(0, -1).map(({ seq }) => seq + 1)]);
      expect(events.filter(isTerminal)).toEqual([events.at(-1)]);
      expect(events.at(-1)).toEqual(first.events.at(-1));
    }
    // Nothing was queued for it but its place: it got fewer and bigger events.
    expect(slow.events.length).toBeLessThan(first.events.length);
    expect(provider.requests.slice(before).filter(({ path }) => path === '/v1/chat/completions')).toHaveLength(1);
  });

  it('are told of progress alike, with numbers of the stream, and at most once a second', async () => {
    const { app, provider, member } = fixture;
    provider.script('test-chat', { pieces: Array<string>(160).fill('word '), pieceMs: 15 });
    const first = app.connect(member.token).chatStream(ask('q', { progress: true }));
    const { streamId } = await first.waitFor(({ __typename }) => __typename === 'StreamStarted');
    const at = performance.now();
    const second = app.connect(member.token).resumeStream(streamId);
    await Promise.all([first, second].map(endOf));
    const seconds = (performance.now() - at) / 1_000;
    const progress = ({ events }: Subscription<StreamEvent>): number[] =>
      events.filter(({ __typename }) => __typename === 'StreamProgress').map(({ seq }) => seq);
    expect(progress(first).length).toBeGreaterThan(0);
    expect(progress(first).length).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
    expect(progress(second)).toEqual(progress(first));
    for (const { events } of [first, second])
      expect(events.map(({ fromSeq }) => fromSeq)).toEqual([1, ...events.slice(0, -1).map(({ seq }) => seq + 1)]);
  });
});
