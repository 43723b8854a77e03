import { createToken } from '../../support/factories';
import { watchLag } from '../../support/lag';
import { forever, gate } from '../../support/provider-script';
import { createReplicas, numbersOf, type Replicas } from '../../support/replicas';
import { ask } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { eventually } from '../../support/wait';
import { isTerminal, textOf } from '../../support/ws-client';

const STOP = 'mutation Stop($streamId: ID!) { stopStream(streamId: $streamId) { streamId stopped } }';
// Characters of one to four bytes, and pieces that split a surrogate pair.
const PIECES = ['Grüße ', 'aus 日本', ' \ud83d', '\ude00 ', 'e\u0301', ' \ud83d\udc69\u200d', '\ud83d\udcbb', ' Ende'];
const TEXT = PIECES.join('');

describe('a stream and two replicas on one Redis', () => {
  let scene: Replicas;
  beforeAll(async () => {
    scene = await createReplicas();
  }, 120_000);
  afterAll(() => scene.close());

  async function begin(more: Record<string, unknown> = {}) {
    const until = gate();
    scene.provider.script('test-chat', { pieces: PIECES, hold: { after: 4, until } });
    const client = scene.first.connect(scene.member.token);
    const stream = client.chatStream(ask('Hello', more));
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ seq }) => seq >= 5);
    return { until, client, stream, streamId: streamId as string, callId: callId as string };
  }

  it('is resumed on the other replica while it runs: exactly the rest, then what comes, and the same end', async () => {
    const { until, client, stream, streamId } = await begin();
    const seen = stream.events.slice();
    const after = numbersOf(seen);
    client.cut();
    const rest = scene.second.connect(scene.member.token).resumeStream(streamId, after);
    const fromTheMiddle = scene.second.connect(scene.member.token).resumeStream(streamId, 2);
    const whole = scene.second.connect(scene.member.token).resumeStream(streamId);
    await whole.waitFor(({ seq }) => seq >= 5);
    await fromTheMiddle.waitFor(({ seq }) => seq >= 5);
    until.open();
    await Promise.all([rest.ended, whole.ended, fromTheMiddle.ended]);
    numbersOf(whole.events);
    numbersOf(rest.events, after);
    numbersOf(fromTheMiddle.events, 2);
    expect(textOf(whole.events)).toBe(TEXT);
    expect(textOf(seen) + textOf(rest.events)).toBe(TEXT);
    expect(textOf(fromTheMiddle.events)).toBe(PIECES.slice(1).join(''));
    expect(whole.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted', reply: { answer: { content: TEXT } } });
    expect(rest.events.at(-1)).toEqual(whole.events.at(-1));
    expect(whole.events.filter(isTerminal)).toHaveLength(1);
  });

  it.each(['revoked', 'expired'])(
    'whose token is %s: its viewer at the other replica is told that it was stopped, and then that it may do nothing any more',
    async (how) => {
      const { database, member, provider, first, second } = scene;
      const expiresAt = how === 'expired' ? new Date(Date.now() + 2_000) : null;
      const { token, tokenId } = await createToken(database.db, member, expiresAt);
      // One each way: whichever replica looks first has a viewer whose stream is the other's to stop.
      const watch = async (owner: typeof first, other: typeof first) => {
        provider.script('test-chat', { pieces: PIECES, hold: { after: 4, until: forever } });
        const { streamId } = await owner
          .connect(token)
          .chatStream(ask('Hello', { onDisconnect: 'CONTINUE' }))
          .waitFor(({ __typename }) => __typename === 'StreamStarted');
        const client = other.connect(token);
        const watching = client.resumeStream(streamId as string);
        await watching.waitFor(({ seq }) => seq >= 5);
        return { client, watching };
      };
      const both = [await watch(first, second), await watch(second, first)];
      if (!expiresAt) await database.db.query('UPDATE api_tokens SET revoked_at = weir.now() WHERE id = $1', [tokenId]);
      const lag = watchLag();
      const endedAt = expiresAt?.getTime() ?? Date.now();
      for (const { client, watching } of both) {
        expect((await eventually(client.closed, 'closing the socket')).code).toBe(4401);
        expect(Date.now() - endedAt - lag.read()).toBeLessThan(5_000);
        expect(watching.errors).toEqual([]);
        expect(watching.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'AUTHORIZATION' });
      }
      lag.stop();
    },
  );

  it('is resumed on the other replica after its end', async () => {
    const { until, stream, streamId } = await begin();
    until.open();
    await stream.ended;
    const again = scene.second.connect(scene.member.token).resumeStream(streamId, 3);
    await again.ended;
    expect([again.errors, numbersOf(again.events, 3)]).toEqual([[], stream.events.at(-1)!.seq]);
    expect(textOf(again.events)).toBe(PIECES.slice(2).join(''));
    expect(again.events.at(-1)).toEqual(stream.events.at(-1));
    const nothing = scene.second.connect(scene.member.token).resumeStream(streamId, stream.events.at(-1)!.seq);
    await nothing.ended;
    expect([nothing.events, nothing.errors]).toEqual([[], []]);
  });

  it('of somebody else answers as one that never was, and so does a number that it has not', async () => {
    const { until, stream, streamId } = await begin();
    until.open();
    await stream.ended;
    const stranger = scene.analyst;
    const foreign = scene.second.connect(stranger.token).resumeStream(streamId);
    const missing = scene.second.connect(stranger.token).resumeStream('str_00000000000000000000000000');
    await Promise.all([foreign.ended, missing.ended]);
    expect(foreign.errors).toEqual([
      expect.objectContaining({ extensions: expect.objectContaining({ code: 'NOT_FOUND' }) }),
    ]);
    const told = ({ errors }: typeof foreign) =>
      errors.map((error: any) => ({ ...error, extensions: { ...error.extensions, requestId: '' } }));
    expect(told(foreign)).toEqual(told(missing));
    const beyond = scene.second.connect(scene.member.token).resumeStream(streamId, 1_000);
    await beyond.ended;
    expect(beyond.errors).toEqual([
      expect.objectContaining({
        extensions: expect.objectContaining({ code: 'BAD_USER_INPUT', argument: 'afterSeq' }),
      }),
    ]);
  });

  it('is joined, not paid twice, by the same idempotency key on the other replica, from its first piece', async () => {
    const before = scene.provider.requests.length;
    const { until, stream } = await begin({ idempotencyKey: 'k-redis' });
    const same = scene.second.connect(scene.member.token).chatStream(ask('Hello', { idempotencyKey: 'k-redis' }));
    await same.waitFor(({ seq }) => seq >= 5);
    until.open();
    await Promise.all([stream.ended, same.ended]);
    numbersOf(same.events);
    expect(textOf(same.events)).toBe(TEXT);
    expect(same.events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: TEXT }, call: stream.events.at(-1)!.reply.call },
    });
    expect(scene.provider.requests.length - before).toBe(1);
  });

  it('is stopped from the other replica, where its viewer is', async () => {
    const { client, streamId, callId } = await begin();
    const viewer = scene.second.connect(scene.member.token).resumeStream(streamId);
    await viewer.waitFor(({ seq }) => seq >= 5);
    client.cut();
    expect(await scene.second.graphql(scene.member.token, STOP, { streamId })).toMatchObject({
      errors: null,
      data: { stopStream: { stopped: true } },
    });
    await eventually(viewer.ended, 'the end of the stream');
    expect(viewer.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'CLIENT' });
    expect(await settledRow(scene.database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });

  it('with CANCEL ends when its last viewer leaves, wherever that is, and not before', async () => {
    const { client, stream, streamId, callId } = await begin({ onDisconnect: 'CANCEL' });
    const viewer = scene.second.connect(scene.member.token).resumeStream(streamId);
    await viewer.waitFor(({ seq }) => seq >= 5);
    client.cut();
    const third = scene.second.connect(scene.member.token).resumeStream(streamId);
    await third.waitFor(({ seq }) => seq >= 5);
    viewer.unsubscribe();
    await viewer.ended;
    expect(scene.first.running.find(callId)).not.toBeNull();
    expect(stream.events.some(isTerminal)).toBe(false);
    third.unsubscribe();
    expect(await settledRow(scene.database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });
});
