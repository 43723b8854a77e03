import { startTestApp } from '../../support/app';
import {
  CONTEXT,
  FULL,
  KEYED,
  collect,
  expectWellFormed,
  input,
  newKey,
  replyOf,
  textIn,
  useKeyedScene,
} from '../../support/keyed-scene';
import { forever, gate } from '../../support/provider-script';
import { AT_ONCE_MS, within } from '../../support/wait';
import type { StreamEvent } from '../../../src/domain/stream-events';

describe('an idempotency key and streams', () => {
  const scene = useKeyedScene();
  const { chat, stream, asked, rowsOf } = scene;

  it('keeps a failure that was paid for: the stream, the whole answer, and no second call', async () => {
    const before = asked();
    scene.fixture.provider.script('test-chat', { pieces: ['half ', 'rest'], cutAfter: 1 });
    const question = input('q', newKey());
    const events = await collect(await stream(question));
    expect(events.at(-1)).toMatchObject({
      kind: 'StreamFailed',
      refusal: { code: 'STREAM_INTERRUPTED' },
      partial: { answer: { content: 'half ' }, replayed: false },
    });
    const last = events.at(-1) as Extract<StreamEvent, { kind: 'StreamFailed' }>;
    const again = await collect(await stream(question, scene.second));
    expectWellFormed(again);
    expect(textIn(again)).toBe('half ');
    expect(again[0]).toEqual({ ...events[0], fromSeq: 1, seq: 1 });
    expect(again.at(-1)).toMatchObject({
      kind: 'StreamFailed',
      refusal: last.refusal,
      partial: { ...last.partial, replayed: true },
    });
    expect(await chat(question)).toEqual(last.refusal);
    expect(asked() - before).toBe(1);
    expect(await rowsOf()).toHaveLength(1);
  });

  it('told again at a replica that has the stored answer alone, is resumed behind that at the one that has the pieces, and the other way round', async () => {
    const TOLD = 2 ** 21;
    scene.fixture.provider.script('test-chat', { pieces: [{ reasoning: 'Hm. ' }, 'one ', 'two ', 'three'] });
    const question = input('q', newKey());
    const events = await collect(await stream(question));
    const again = await collect(await stream(question, scene.second));
    expectWellFormed(again);
    expect(again).toMatchObject([
      { seq: 1 },
      { text: 'Hm. ', seq: TOLD + 2 },
      { text: 'one two three', seq: TOLD + 4 },
      { kind: 'StreamCompleted', seq: TOLD + 6 },
    ]);
    const { streamId } = events[0] as Extract<StreamEvent, { kind: 'StreamStarted' }>;
    const resume = async (afterSeq: number, app = scene.fixture.app): Promise<StreamEvent[]> =>
      collect(await app.services.chat.resume(scene.member.viewer, streamId, afterSeq));
    for (const app of [scene.fixture.app, scene.second]) {
      expect(await resume(TOLD + 2, app)).toMatchObject([
        { text: 'one two three', fromSeq: TOLD + 3 },
        { kind: 'StreamCompleted' },
      ]);
      expect(await resume(TOLD + 4, app)).toMatchObject([
        { kind: 'StreamCompleted', fromSeq: TOLD + 5, seq: TOLD + 6 },
      ]);
      expect(await resume(TOLD + 6, app)).toEqual([]);
      await expect(resume(TOLD + 1, app)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
    expect(textIn(await resume(3))).toBe('two three');
    // Pieces that the other one never had: it says so, and doubles nothing.
    await expect(resume(3, scene.second)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('keeps a failure that may have been paid for and has nothing to show', async () => {
    const before = asked();
    const slow = await startTestApp({
      database: scene.fixture.database,
      upstream: scene.fixture.provider,
      config: { timeouts: { totalMs: 200 } },
    });
    try {
      scene.fixture.provider.script('test-chat', { pieces: ['late'], holdHead: forever });
      const question = input('q', newKey());
      const refused = await chat(question, slow);
      expect(refused).toMatchObject({ kind: 'UpstreamFailed', code: 'UPSTREAM_TIMEOUT' });
      expect(await chat(question)).toEqual(refused);
      const events = await collect(await stream(question));
      expectWellFormed(events);
      expect(events[0]).toMatchObject({
        kind: 'StreamStarted',
        callId: (refused as { callId?: string }).callId,
        model: 'test-chat',
      });
      expect(events).toHaveLength(2);
      expect(events[1]).toMatchObject({ kind: 'StreamFailed', refusal: refused, partial: null });
      expect(asked() - before).toBe(1);
    } finally {
      await slow.stop();
    }
  });

  it('keeps an answer that was stopped', async () => {
    const before = asked();
    scene.fixture.provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: forever } });
    const question = input('q', newKey());
    const running = await stream(question);
    const started = (await running.next()).value as Extract<StreamEvent, { kind: 'StreamStarted' }>;
    await running.next();
    await scene.fixture.app.services.chat.stop(scene.member.viewer, started.streamId);
    const [last] = (await collect(running)).slice(-1) as Extract<StreamEvent, { kind: 'StreamStopped' }>[];
    expect(last).toMatchObject({ kind: 'StreamStopped', reason: 'CLIENT' });
    const again = await collect(await stream(question, scene.second));
    expectWellFormed(again);
    expect(again.at(-1)).toMatchObject({
      kind: 'StreamStopped',
      reason: 'CLIENT',
      reply: { ...last!.reply, replayed: true },
    });
    expect(await chat(question)).toEqual({ ...last!.reply, replayed: true });
    expect(asked() - before).toBe(1);
  });

  it('of a stream gives the whole answer to the mutation, and the other way round', async () => {
    const before = asked();
    scene.fixture.provider.script('test-chat', { pieces: FULL }, { pieces: FULL });
    const streamed = input('q', newKey());
    const events = await collect(await stream(streamed));
    const { reply } = events.at(-1) as Extract<StreamEvent, { kind: 'StreamCompleted' }>;
    expect(await chat(streamed, scene.second)).toEqual({ ...reply, replayed: true });

    const whole = input('q', newKey());
    const answer = await replyOf(chat(whole));
    const replayed = await collect(await stream(whole, scene.second));
    expectWellFormed(replayed);
    expect(replayed[0]).toMatchObject({
      callId: answer.call.id,
      streamId: answer.call.id.replace('call_', 'str_'),
      model: 'test-chat',
    });
    expect([textIn(replayed, 'ReasoningDelta'), textIn(replayed)]).toEqual(['Hm. ', 'It is 42']);
    expect(replayed.filter(({ kind }) => kind === 'ToolCallDelta')).toEqual([
      expect.objectContaining({ index: 0, toolCallId: 'tool_1', name: 'look', arguments: '{"a":1}' }),
    ]);
    expect(replayed.at(-1)).toMatchObject({ kind: 'StreamCompleted', reply: { ...answer, replayed: true } });
    expect(asked() - before).toBe(2);
    expect(await rowsOf()).toHaveLength(2);
  });

  it('means the same input at both doors, whatever the input holds', async () => {
    const before = asked();
    const question = {
      model: 'test-chat',
      scenario: 'THINK',
      agent: null,
      maxTokens: 50,
      temperature: 1,
      stop: ['END'],
      idempotencyKey: newKey(),
      reasoningEffort: 'LOW',
      toolChoice: 'AUTO',
      messages: [
        { role: 'SYSTEM', content: 's' },
        { role: 'USER', parts: [{ text: 'q' }, { imageUrl: 'https://example.com/a.png', imageDetail: 'LOW' }] },
      ],
      tools: [{ name: 'f', parameters: { type: 'object', properties: { a: { default: null } } } }],
      responseFormat: { type: 'JSON_SCHEMA', name: 'n', schema: { type: 'object' } },
    };
    const { data, errors } = await scene.fixture.app.graphql(scene.member.token, KEYED, { input: question });
    expect(errors).toBeNull();
    const client = scene.second.connect(scene.member.token);
    const streamed = client.chatStream(question);
    await streamed.ended;
    expect(streamed.errors).toEqual([]);
    expect(streamed.events[0]).toMatchObject({ __typename: 'StreamStarted', callId: data.chat.call.id });
    expect(streamed.events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { id: data.chat.answer.id } },
    });
    await client.close();
    expect(asked() - before).toBe(1);
  });

  it.each([
    ['this replica', false],
    ['another replica', true],
  ])(
    'of a stream that runs on %s: a second stream is told of it at once, and gets the answer at its end',
    async (_name, elsewhere) => {
      const before = asked();
      const rest = gate();
      scene.fixture.provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: rest } });
      const question = input('q', newKey());
      const first = await stream(question);
      const started = (await first.next()).value as StreamEvent;
      const follower = await stream(question, elsewhere ? scene.second : scene.fixture.app);
      expect((await within(follower.next(), AT_ONCE_MS, 'the start')).value).toEqual(started);
      const mutation = chat(question, elsewhere ? scene.second : scene.fixture.app);
      rest.open();
      const [events, followed] = await Promise.all([collect(first), collect(follower)]);
      expectWellFormed([started, ...followed]);
      expect(textIn(followed)).toBe('one two');
      const { reply } = events.at(-1) as Extract<StreamEvent, { kind: 'StreamCompleted' }>;
      expect(reply.replayed).toBe(false);
      expect(followed.at(-1)).toMatchObject({ kind: 'StreamCompleted', reply: { ...reply, replayed: true } });
      expect(await mutation).toEqual({ ...reply, replayed: true });
      expect(asked() - before).toBe(1);
      expect(await rowsOf()).toHaveLength(1);
    },
  );

  it('of a call that runs: whoever stops waiting for it stops nothing else', async () => {
    const rest = gate();
    const before = asked();
    scene.fixture.provider.script('test-chat', { pieces: ['one ', 'two'], holdHead: rest });
    const question = input('q', newKey());
    const first = chat(question);
    await scene.fixture.provider.completion(before);
    const leaver = await stream(question);
    await leaver.next();
    const pending = leaver.next();
    await leaver.return!();
    expect(await pending).toMatchObject({ done: true });
    const leaving = new AbortController();
    const left = scene.fixture.app.services.chat.chat(scene.member.viewer, question, {
      ...CONTEXT,
      signal: leaving.signal,
    });
    setImmediate(() => leaving.abort());
    await expect(left).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    rest.open();
    expect(await first).toMatchObject({ kind: 'ChatReply', answer: { content: 'one two', complete: true } });
  });
});
