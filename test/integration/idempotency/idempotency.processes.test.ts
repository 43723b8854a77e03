import { startTestApp } from '../../support/app';
import { KEYED, input, newKey, replyOf, useKeyedScene } from '../../support/keyed-scene';
import { forever, gate } from '../../support/provider-script';
import { eventually, waitFor } from '../../support/wait';

describe('an idempotency key when clients and processes go', () => {
  const scene = useKeyedScene();
  const { chat, stream, asked } = scene;

  it('of a client that hangs up in the middle keeps the answer for its next try', async () => {
    const before = asked();
    const head = gate();
    scene.fixture.provider.script('test-chat', { pieces: ['late'], holdHead: head });
    const question = { model: 'test-chat', messages: [{ role: 'USER', content: 'q' }], idempotencyKey: newKey() };
    const hangUp = new AbortController();
    const lost = scene.fixture.app.graphql(scene.member.token, KEYED, { input: question }, { signal: hangUp.signal });
    await scene.fixture.provider.completion(before);
    hangUp.abort();
    await expect(lost).rejects.toThrow();
    const again = scene.second.graphql(scene.member.token, KEYED, { input: question });
    head.open();
    expect((await again).data.chat).toMatchObject({
      __typename: 'ChatReply',
      replayed: true,
      answer: { content: 'late' },
    });
    expect(asked() - before).toBe(1);
  });

  it('outlives the process that used it', async () => {
    const before = asked();
    const first = await startTestApp({ database: scene.fixture.database, upstream: scene.fixture.provider });
    const question = input('q', newKey());
    const reply = await replyOf(chat(question, first)).finally(() => first.stop());
    const next = await startTestApp({ database: scene.fixture.database, upstream: scene.fixture.provider });
    try {
      expect(await chat(question, next)).toEqual({ ...reply, replayed: true });
      expect(asked() - before).toBe(1);
    } finally {
      await next.stop();
    }
  });

  it('of a call elsewhere keeps no server from shutting down: who waits is told to repeat', async () => {
    const before = asked();
    const head = gate();
    scene.fixture.provider.script('test-chat', { pieces: ['late'], holdHead: head });
    const question = input('q', newKey());
    const first = chat(question);
    await scene.fixture.provider.completion(before);
    const leaving = await startTestApp({ database: scene.fixture.database, upstream: scene.fixture.provider });
    const ask = (content: string) =>
      leaving.graphql(scene.member.token, KEYED, {
        input: { model: 'test-chat', messages: [{ role: 'USER', content }], idempotencyKey: question.idempotencyKey },
      });
    // The first request of a server takes longer than those after it.
    expect((await ask('other')).data.chat).toMatchObject({ __typename: 'IdempotencyConflict' });
    const waiting = ask('q');
    for (let i = 0; i < 3; i += 1) expect((await ask('other')).errors).toBeNull();
    const events = await stream(question, leaving);
    expect((await events.next()).value).toMatchObject({ kind: 'StreamStarted' });
    const next = events.next();
    next.catch(() => {});
    const stopped = leaving.stop();
    // A connection that is cut would reject.
    expect((await eventually(waiting, 'the answer to the one who waits')).errors).toEqual([
      expect.objectContaining({
        extensions: expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', retryAfterMs: 1_000 }),
      }),
    ]);
    await expect(next).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await stopped;
    head.open();
    expect(await first).toMatchObject({ kind: 'ChatReply' });
  });

  it('of a call that the shutdown ends: who waits for it is told its end before the doors close', async () => {
    const before = asked();
    const leaving = await startTestApp({
      database: scene.fixture.database,
      upstream: scene.fixture.provider,
      config: { shutdownMs: 50 },
    });
    scene.fixture.provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: forever } });
    const question = { model: 'test-chat', messages: [{ role: 'USER', content: 'q' }], idempotencyKey: newKey() };
    const first = leaving.connect(scene.member.token).chatStream(question);
    await first.waitFor(({ __typename }) => __typename === 'TextDelta');
    const follower = leaving.connect(scene.member.token).chatStream(question);
    await follower.waitFor(({ __typename }) => __typename === 'StreamStarted');
    // The server alone: its clients stay connected, as they would.
    await leaving.stopServer();
    await Promise.all([first.ended, follower.ended]);
    expect([first.errors, follower.errors]).toEqual([[], []]);
    expect(first.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'DEPLOY' });
    expect(follower.events.at(-1)).toEqual({ ...first.events.at(-1), fromSeq: 3, seq: 3 });
    expect(asked() - before).toBe(1);
  });

  it('is followed until its call ends, when its replica dies and another one settles it', async () => {
    const { db } = scene.fixture.database;
    const before = asked();
    scene.fixture.provider.script('test-chat', { pieces: ['never'], holdHead: forever });
    const question = input('q', newKey());
    const doomed = await startTestApp({
      database: scene.fixture.database,
      upstream: scene.fixture.provider,
      config: { shutdownMs: 0 },
    });
    const first = chat(question, doomed);
    await scene.fixture.provider.completion(before);
    const follower = chat(question);
    await waitFor(
      async () => (await db.query('SELECT FROM idempotency_keys WHERE user_id = $1', [scene.member.id])).length === 1,
    );
    await doomed.stop();
    const stopped = await replyOf(first);
    expect(stopped.finishReason).toBe('STOPPED');
    expect(await follower).toEqual({ ...stopped, replayed: true });
  });
});
