import { gate } from '../../support/provider-script';
import { createReplicas, numbersOf, type Replicas } from '../../support/replicas';
import { ask } from '../../support/stream-fixture';
import { eventually, waitFor, within } from '../../support/wait';
import { isTerminal, textOf } from '../../support/ws-client';

const UNAVAILABLE = expect.objectContaining({
  extensions: expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', retryAfterMs: expect.any(Number) }),
});
const PIECES = Array.from({ length: 60 }, (_, i) => ` ${i}`);

describe('streams while Redis is away, and when it is back', () => {
  let scene: Replicas;
  beforeAll(async () => {
    scene = await createReplicas();
  }, 120_000);
  afterAll(() => scene.close());
  afterEach(async () => {
    scene.redis.front.away = false;
    scene.redis.front.newConnectionsToo = false;
    await scene.redis.startAgain();
    await Promise.all([scene.first, scene.second].map((app) => isState(app, 'UP')));
  });

  const stateOf = async (app: Replicas['first']) =>
    (await app.graphql(scene.member.token, '{ service { streamLog { state detail } } }')).data.service.streamLog;
  const isState = (app: Replicas['first'], state: string) =>
    waitFor(async () => (await stateOf(app)).state === state, { what: `the log to be ${state}` });

  async function begin(pieces = PIECES, after = 20) {
    const until = gate();
    scene.provider.script('test-chat', { pieces, hold: { after, until } });
    const stream = scene.first.connect(scene.member.token).chatStream(ask('Hello'));
    const { streamId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    return { until, stream, streamId: streamId as string };
  }

  it.each(['cut off', 'started again without what it had'])(
    '%s: its own viewers go on, others are sent away without a false end, and afterwards nothing is missing',
    async (how) => {
      const { until, stream, streamId } = await begin();
      await stream.waitFor(({ seq }) => seq >= 21);
      const other = scene.second.connect(scene.member.token).resumeStream(streamId);
      await other.waitFor(({ seq }) => seq >= 21);
      if (how === 'cut off') scene.redis.front.away = true;
      else await scene.redis.kill();
      await eventually(other.ended, 'sending the other viewer away');
      expect(other.errors).toEqual([UNAVAILABLE]);
      expect(other.events.filter(isTerminal)).toEqual([]);
      await isState(scene.first, 'DOWN');
      expect(await (await fetch(new URL('/health/ready', scene.second.url))).json()).toMatchObject({
        ready: true,
        streamLog: { state: 'DOWN' },
      });
      const refused = scene.second.connect(scene.member.token).resumeStream(streamId, 21);
      await refused.ended;
      expect(refused.errors).toEqual([UNAVAILABLE]);
      until.open();
      await stream.ended;
      numbersOf(stream.events);
      expect(textOf(stream.events)).toBe(PIECES.join(''));
      expect(stream.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
      // One that begins without Redis.
      const later = await begin(PIECES, 60);
      later.until.open();
      await later.stream.ended;
      expect(textOf(later.stream.events)).toBe(PIECES.join(''));
      if (how === 'cut off') scene.redis.front.away = false;
      else await scene.redis.startAgain();
      await Promise.all([isState(scene.first, 'UP'), isState(scene.second, 'UP')]);
      for (const [id, all] of [
        [streamId, stream],
        [later.streamId, later.stream],
      ] as const) {
        const again = scene.second.connect(scene.member.token).resumeStream(id, 7);
        await again.ended;
        expect([again.errors, numbersOf(again.events, 7)]).toEqual([[], all.events.at(-1)!.seq]);
        expect(textOf(again.events)).toBe(PIECES.slice(6).join(''));
        expect(again.events.at(-1)).toEqual(all.events.at(-1));
      }
    },
    60_000,
  );

  it('that hangs and answers nothing is away within two seconds', async () => {
    const { until, stream } = await begin();
    await stream.waitFor(({ seq }) => seq >= 21);
    scene.redis.front.freeze();
    scene.redis.front.newConnectionsToo = true;
    until.open();
    await within(stream.ended, 5_000, 'the rest of the stream');
    expect(textOf(stream.events)).toBe(PIECES.join(''));
    expect((await stateOf(scene.first)).state).toBe('DOWN');
    // The other one has nothing to say to Redis but pings, now and then.
    await isState(scene.second, 'DOWN');
  }, 60_000);

  it('with a hole in its log: who resumes is told so, and nothing is skipped', async () => {
    const { until, stream, streamId } = await begin();
    await stream.waitFor(({ seq }) => seq >= 21);
    const [key] = (await scene.redis.send('KEYS', `*${streamId}}:log`)) as string[];
    const entries = (await scene.redis.send('XRANGE', key!, '-', '+')) as [string, string[]][];
    expect(entries.length).toBeGreaterThan(1);
    await scene.redis.send('XDEL', key!, entries[0]![0]);
    const other = scene.second.connect(scene.member.token).resumeStream(streamId);
    await other.ended;
    expect(other.events).toEqual([]);
    expect(other.errors).toEqual([
      expect.objectContaining({
        message: expect.stringContaining('lost'),
        extensions: expect.objectContaining({ code: 'NOT_FOUND' }),
      }),
    ]);
    until.open();
    await stream.ended;
    expect(textOf(stream.events)).toBe(PIECES.join(''));
  }, 30_000);
});
