import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { isTerminal, textOf, type StreamEvent } from '../../support/ws-client';
import { gate } from '../../support/provider-script';

describe('a stream that ends well', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  const expectNumbered = (events: StreamEvent[]): void => {
    let next = 1;
    for (const event of events) {
      expect(event.fromSeq).toBe(next);
      expect(event.seq).toBeGreaterThanOrEqual(event.fromSeq);
      next = event.seq + 1;
    }
  };

  it('delivers the answer word for word, numbered without a gap, with one beginning and one end, and books it once', async () => {
    const { app, provider, member, database } = fixture;
    const words = Array.from({ length: 200 }, (_, index) => `word${index} `);
    provider.script('test-chat', { pieces: words });
    const client = app.connect(member.token);
    const stream = client.chatStream(ask('Count', { maxTokens: 500 }));
    await stream.ended;
    expect(stream.errors).toEqual([]);
    expect(textOf(stream.events)).toBe(words.join(''));
    expectNumbered(stream.events);
    // Each piece has its number, however pieces were joined: start, 200 words, end.
    expect(stream.events.at(-1)!.seq).toBe(202);
    expect(stream.events[0]).toMatchObject({ __typename: 'StreamStarted', model: 'test-chat' });
    expect(stream.events.filter(isTerminal)).toHaveLength(1);
    expect(stream.events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: {
        finishReason: 'STOP',
        answer: { content: words.join(''), complete: true },
        usage: { promptTokens: 11, completionTokens: 200, totalTokens: 211, source: 'PROVIDER' },
        route: { model: 'test-chat', upstream: 'DIRECT', attempts: 1 },
      },
    });
    const row = await settledRow(database.db, stream.events[0]!.callId);
    expect(row).toMatchObject({
      status: 'COMPLETED',
      streamed: true,
      usage_source: 'PROVIDER',
      prompt_tokens: 11,
      completion_tokens: 200,
      user_id: member.id,
    });
    expect(row.raw_usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 200 });
    const [request] = provider.requests.filter(({ path }) => path === '/v1/chat/completions').slice(-1);
    expect(request!.body).toMatchObject({
      model: 'test-chat',
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 500,
    });
    await client.close();
  });

  it('hands the first word on while the provider is still silent about the second', async () => {
    const { app, provider, member } = fixture;
    const next = gate();
    provider.script('test-chat', { pieces: ['first ', 'second'], hold: { after: 1, until: next } });
    const client = app.connect(member.token);
    const stream = client.chatStream(ask('Hello'));
    expect(await stream.waitFor((event) => event.__typename === 'TextDelta')).toMatchObject({ text: 'first ' });
    expect(stream.over).toBe(false);
    next.open();
    await stream.ended;
    expect(textOf(stream.events)).toBe('first second');
    await client.close();
  });

  it('passes reasoning and tool calls through, piece by piece', async () => {
    const { app, provider, member, database } = fixture;
    const call = (more: object): { toolCall: object } => ({ toolCall: more });
    provider.script('test-chat', {
      pieces: [
        { reasoning: 'Hm, ' },
        { reasoning: 'weather.' },
        call({ index: 0, id: 'call_1', name: 'weather', arguments: '' }),
        call({ index: 0, arguments: '{"city":' }),
        call({ index: 0, arguments: '"Köln"}' }),
        call({ index: 1, id: 'call_2', name: 'time', arguments: '{}' }),
      ],
      usage: {
        prompt_tokens: 20,
        completion_tokens: 9,
        total_tokens: 29,
        prompt_tokens_details: { cached_tokens: 8 },
        completion_tokens_details: { reasoning_tokens: 4 },
      },
    });
    const client = app.connect(member.token);
    const stream = client.chatStream(
      ask('Weather?', { tools: [{ name: 'weather', parameters: { type: 'object' } }, { name: 'time' }] }),
    );
    await stream.ended;
    expectNumbered(stream.events);
    expect(
      stream.events
        .filter(({ __typename }) => __typename === 'ReasoningDelta')
        .map(({ reasoning }) => reasoning)
        .join(''),
    ).toBe('Hm, weather.');
    const end = stream.events.at(-1)!;
    expect(end.reply.finishReason).toBe('TOOL_CALLS');
    expect(end.reply.answer.toolCalls).toEqual([
      { toolCallId: 'call_1', name: 'weather', arguments: '{"city":"Köln"}' },
      { toolCallId: 'call_2', name: 'time', arguments: '{}' },
    ]);
    expect(end.reply.usage).toMatchObject({
      uncachedPromptTokens: 12,
      cacheReadTokens: 8,
      completionTokens: 9,
      reasoningTokens: 4,
    });
    expect(await settledRow(database.db, stream.events[0]!.callId)).toMatchObject({
      status: 'COMPLETED',
      reasoning_tokens: 4,
      completion_tokens: 9,
      finish_reason: 'TOOL_CALLS',
    });
    await client.close();
  });

  it('carries many streams on one connection without mixing them', async () => {
    const { app, member } = fixture;
    const client = app.connect(member.token);
    const streams = Array.from({ length: 12 }, (_, index) => client.chatStream(ask(`stream number ${index}`)));
    await Promise.all(streams.map((stream) => stream.ended));
    streams.forEach((stream, index) => expect(textOf(stream.events)).toBe(`You said: stream number ${index}`));
    await client.close();
  });

  it('refuses what the plan does not allow as an event, and asks the provider nothing', async () => {
    const { app, provider, member } = fixture;
    const before = provider.requests.length;
    const client = app.connect(member.token);
    const stream = client.chatStream(ask('Hello', { model: 'no-such-model' }));
    await stream.ended;
    expect(stream.events).toEqual([
      expect.objectContaining({
        __typename: 'StreamRefused',
        fromSeq: 1,
        seq: 1,
        refusal: expect.objectContaining({ __typename: 'ModelNotAllowed', code: 'MODEL_NOT_ALLOWED' }),
      }),
    ]);
    expect(provider.requests.slice(before).filter(({ path }) => path.endsWith('/chat/completions'))).toEqual([]);
    await client.close();
  });

  it('says what is wrong with the arguments as a GraphQL error, before anything is spent', async () => {
    const { app, member, database } = fixture;
    const client = app.connect(member.token);
    const rows = await database.db.query('SELECT id FROM llm_usage');
    for (const input of [
      ask('Hello', { maxTokens: -1 }),
      ask(''),
      ask('Hello', { temperature: 9 }),
      { model: 'test-chat', messages: [] },
    ]) {
      const stream = client.chatStream(input);
      await stream.ended;
      expect(stream.events).toEqual([]);
      expect(stream.errors).toEqual([
        expect.objectContaining({
          extensions: expect.objectContaining({ code: 'BAD_USER_INPUT', argument: expect.any(String) }),
        }),
      ]);
    }
    expect(await database.db.query('SELECT id FROM llm_usage')).toHaveLength(rows.length);
    await client.close();
  });
});
