import { startTestApp, type TestApp } from '../../support/app';
import { createUser } from '../../support/factories';
import { gate } from '../../support/provider-script';
import { ask, createFixture, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { isTerminal, textOf, type StreamEvent } from '../../support/ws-client';

/** From here on are the numbers of what is told from a stored answer. */
const TOLD = 2 ** 21;
const isText = ({ __typename }: StreamEvent): boolean => __typename === 'TextDelta';

describe('a stream that another replica runs, with nothing between them but the database', () => {
  let fixture: Fixture;
  let other: TestApp;
  beforeAll(async () => {
    fixture = await createFixture();
    other = await startTestApp({ database: fixture.database, upstream: fixture.provider });
  });
  afterAll(async () => {
    await other.stop();
    await fixture.close();
  });
  const conversation = async (): Promise<string> =>
    (await fixture.app.graphql(fixture.member.token, 'mutation { createConversation(input: {}) { id } }')).data
      .createConversation.id;
  /** A stream of which the first pieces have come, and what lets it go on. */
  const begin = async (input: Record<string, unknown> = {}) => {
    const rest = gate();
    fixture.provider.script('test-chat', {
      pieces: [
        'one ',
        'two 😀 ',
        { toolCall: { id: 't', name: 'look', arguments: '{"a"' } },
        'three',
        { toolCall: { arguments: ':1}' } },
      ],
      hold: { after: 3, until: rest },
    });
    const stream = fixture.app.connect(fixture.member.token).chatStream(ask('Go on', input));
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ __typename }) => __typename === 'ToolCallDelta');
    return { rest, stream, streamId: streamId as string, callId: callId as string };
  };
  const resume = (streamId: string, after = 0, token = fixture.member.token) =>
    other.connect(token).resumeStream(streamId, after);

  it('comes with its numbers as it is written down, and when it has ended with the rest of the stored answer and its end', async () => {
    const { rest, stream, streamId, callId } = await begin({ conversationId: await conversation() });
    const elsewhere = resume(streamId);
    await elsewhere.waitFor(({ __typename }) => __typename === 'ToolCallDelta');
    expect(elsewhere.events).toMatchObject([
      { __typename: 'StreamStarted', fromSeq: 1, seq: 1, callId, conversation: stream.events[0]!.conversation },
      { text: 'one two 😀 ', fromSeq: 2, seq: 3 },
      { __typename: 'ToolCallDelta', fromSeq: 4, seq: 4, index: 0, toolCallId: 't', name: 'look', arguments: '{"a"' },
    ]);
    rest.open();
    await Promise.all([stream.ended, elsewhere.ended]);
    expect(elsewhere.errors).toEqual([]);
    expect(textOf(elsewhere.events)).toBe(textOf(stream.events));
    expect(elsewhere.events.slice(3)).toMatchObject([
      { text: 'three', fromSeq: 5, seq: 3 + TOLD },
      { __typename: 'ToolCallDelta', toolCallId: null, name: null, arguments: ':1}', fromSeq: 4 + TOLD, seq: 6 + TOLD },
      { __typename: 'StreamCompleted', fromSeq: 7 + TOLD, seq: 8 + TOLD },
    ]);
    expect(elsewhere.events.at(-1)!.reply).toEqual(stream.events.at(-1)!.reply);
    // The same for whoever comes afterwards from the beginning.
    const late = resume(streamId);
    await late.ended;
    expect([textOf(late.events), late.events.at(-1)!.reply]).toEqual([
      textOf(stream.events),
      stream.events.at(-1)!.reply,
    ]);
    // Between the text and the tool call, with a part of that: nobody else can know of how much.
    for (const app of [fixture.app, other]) {
      const between = app.connect(fixture.member.token).resumeStream(streamId, 3 + TOLD);
      await between.ended;
      expect([between.events, between.errors]).toMatchObject([[], [{ extensions: { code: 'NOT_FOUND' } }]]);
    }
    // Behind the tool call, at the one that has all pieces: the end.
    const behind = fixture.app.connect(fixture.member.token).resumeStream(streamId, 6 + TOLD);
    await behind.ended;
    expect(behind.events).toEqual([{ ...stream.events.at(-1), fromSeq: 7 + TOLD, seq: 8 + TOLD }]);
  });

  it('whose answer is beside its idempotency key ends as it did', async () => {
    const { rest, stream, streamId } = await begin({ idempotencyKey: 'of-elsewhere' });
    const elsewhere = resume(streamId, 2);
    await elsewhere.waitFor(isText);
    rest.open();
    await Promise.all([stream.ended, elsewhere.ended]);
    expect(textOf(elsewhere.events)).toBe('two 😀 three');
    expect(elsewhere.events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: stream.events.at(-1)!.reply,
    });
  });

  it('can be stopped from there, and ends there as it was stopped', async () => {
    const { stream, streamId, callId } = await begin({ conversationId: await conversation() });
    const elsewhere = resume(streamId);
    await elsewhere.waitFor(isText);
    const stopped = await other.graphql(
      fixture.member.token,
      'mutation ($id: ID!) { stopStream(streamId: $id) { stopped } }',
      { id: streamId },
    );
    expect(stopped.data.stopStream).toEqual({ stopped: true });
    await Promise.all([stream.ended, elsewhere.ended]);
    expect([stream, elsewhere].map(({ events }) => events.filter(isTerminal))).toMatchObject([
      [{ __typename: 'StreamStopped', reason: 'CLIENT' }],
      [{ __typename: 'StreamStopped' }],
    ]);
    expect(elsewhere.events.at(-1)!.reply).toEqual(stream.events.at(-1)!.reply);
    expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });

  it('of somebody else answers like a missing one', async () => {
    const { rest, stream, streamId } = await begin();
    const stranger = await createUser(fixture.database.db, {
      organizationId: fixture.member.organizationId,
      planId: fixture.planId,
    });
    const foreign = resume(streamId, 0, stranger.token);
    const missing = resume('str_00000000000000000000000000', 0, stranger.token);
    await Promise.all([foreign.ended, missing.ended]);
    expect(foreign.errors).toEqual(
      missing.errors.map((error) => expect.objectContaining({ message: (error as Error).message })),
    );
    rest.open();
    await stream.ended;
  });

  it('has no number that is further than a viewer can be', async () => {
    const { rest, stream, streamId } = await begin();
    const beyond = resume(streamId, TOLD);
    await beyond.ended;
    expect(beyond.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
    rest.open();
    await stream.ended;
  });

  it('keeps no server from shutting down: who looks at it is told to go on elsewhere', async () => {
    const third = await startTestApp({ database: fixture.database, upstream: fixture.provider });
    const { rest, stream, streamId } = await begin();
    const watching = third.connect(fixture.member.token).resumeStream(streamId);
    await watching.waitFor(isText);
    await third.stopServer();
    await watching.ended;
    expect(watching.errors).toMatchObject([{ extensions: { code: 'SERVICE_UNAVAILABLE' } }]);
    await third.stop();
    rest.open();
    await stream.ended;
  });
});
