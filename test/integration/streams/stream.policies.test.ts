import { createUser } from '../../support/factories';
import { watchLag } from '../../support/lag';
import { forever, gate, type Answer } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { eventually, waitFor } from '../../support/wait';
import { isTerminal, textOf, type StreamEvent, type Subscription, type TestWsClient } from '../../support/ws-client';

const STOP = 'mutation ($streamId: ID!) { stopStream(streamId: $streamId) { stopped } }';
const CREATE = 'mutation { createConversation(input: {}) { id } }';
const MESSAGES = 'query ($id: ID!) { conversation(id: $id) { messages { edges { node { role content complete } } } } }';
const LEAVE = {
  unsubscribes: (_client: TestWsClient, stream: Subscription<StreamEvent>) => stream.unsubscribe(),
  'loses the connection': (client: TestWsClient) => client.cut(),
};
const SILENT: Answer = { pieces: ['one ', 'two '], hold: { after: 2, until: forever } };
const endOf = (stream: Subscription<StreamEvent>): Promise<void> => eventually(stream.ended, 'the end of the stream');

/** As short as a test can wait for; and longer than any test runs. Milliseconds. */
const [SHORT, LONG] = [50, 600_000];

describe.each([
  ['short', SHORT],
  ['long', LONG],
])('what the going of the last viewer means, with a %s grace', (_name, graceMs) => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture({ config: { streams: { graceMs, keptMs: 600_000, keptBytes: 2 ** 20 } } });
  });
  afterAll(() => fixture.close());

  interface Begun {
    client: TestWsClient;
    stream: Subscription<StreamEvent>;
    streamId: string;
    callId: string;
    conversationId: string;
  }
  /** A stream in a conversation that has said two pieces. */
  async function begin(onDisconnect: string | null, answer: Answer = SILENT): Promise<Begun> {
    const { app, provider, member } = fixture;
    const conversationId = (await app.graphql(member.token, CREATE)).data.createConversation.id as string;
    provider.script('test-chat', answer);
    const client = app.connect(member.token);
    const stream = client.chatStream(ask('q', { conversationId, ...(onDisconnect && { onDisconnect }) }));
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ seq }) => seq >= 3);
    return { client, stream, streamId, callId, conversationId };
  }
  const lastRequest = () => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;
  const resume = (streamId: string): Subscription<StreamEvent> =>
    fixture.app.connect(fixture.member.token).resumeStream(streamId);
  const viewersOf = async (streamId: string): Promise<number | null> => {
    const { data } = await fixture.app.graphql(fixture.member.token, '{ activeStreams { streamId viewers } }');
    return (
      (data.activeStreams as { streamId: string; viewers: number }[]).find((stream) => stream.streamId === streamId)
        ?.viewers ?? null
    );
  };
  const answerIn = async (id: string): Promise<unknown> =>
    (await fixture.app.graphql(fixture.member.token, MESSAGES, { id })).data.conversation.messages.edges.at(-1).node;

  if (graceMs === SHORT) {
    for (const [leaving, leave] of Object.entries(LEAVE)) {
      it(`GRACE, which is the default: nobody comes back after the last viewer ${leaving}, and it ends as STOPPED, DISCONNECT, with what came`, async () => {
        const { client, stream, streamId, callId, conversationId } = await begin(null);
        const request = lastRequest();
        leave(client, stream);
        await eventually(request.closed, 'closing the upstream');
        expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
        const again = resume(streamId);
        await endOf(again);
        expect(textOf(again.events)).toBe('one two ');
        expect(again.events.filter(isTerminal)).toEqual([
          expect.objectContaining({ __typename: 'StreamStopped', reason: 'DISCONNECT' }),
        ]);
        expect(await answerIn(conversationId)).toEqual({ role: 'ASSISTANT', content: 'one two ', complete: false });
      });
    }

    it('CONTINUE: it finishes unwatched; the conversation has the whole answer, and a resume shows all of it', async () => {
      const rest = gate();
      const { client, streamId, callId, conversationId } = await begin('CONTINUE', {
        pieces: ['one ', 'two ', 'three'],
        hold: { after: 2, until: rest },
      });
      client.cut();
      await waitFor(async () => (await viewersOf(streamId)) === 0);
      rest.open();
      expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'COMPLETED' });
      const again = resume(streamId);
      await endOf(again);
      expect(textOf(again.events)).toBe('one two three');
      expect(again.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
      expect(await answerIn(conversationId)).toEqual({ role: 'ASSISTANT', content: 'one two three', complete: true });
    });
    return;
  }

  for (const [leaving, leave] of Object.entries(LEAVE)) {
    it(`GRACE: who ${leaving} and comes back in time finds it going on`, async () => {
      const rest = gate();
      const { client, stream, streamId } = await begin('GRACE', {
        pieces: ['one ', 'two ', 'three'],
        hold: { after: 2, until: rest },
      });
      leave(client, stream);
      await waitFor(async () => (await viewersOf(streamId)) === 0);
      const again = resume(streamId);
      await again.waitFor(({ seq }) => seq === 3);
      expect(await viewersOf(streamId)).toBe(1);
      rest.open();
      await endOf(again);
      expect(textOf(again.events)).toBe('one two three');
      expect(again.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
    });
  }

  it('a page that is mounted, taken down and mounted again has one stream, of one call', async () => {
    const { app, provider, member } = fixture;
    const rest = gate();
    const before = provider.requests.length;
    provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: rest } });
    const client = app.connect(member.token);
    const question = ask('q', { idempotencyKey: 'mounted-twice' });
    const first = client.chatStream(question);
    await first.waitFor(({ __typename }) => __typename === 'StreamStarted');
    first.unsubscribe();
    const second = client.chatStream(question);
    await second.waitFor(({ seq }) => seq === 2);
    rest.open();
    await endOf(second);
    expect(second.events[0]).toEqual(first.events[0]);
    expect(textOf(second.events)).toBe('one two');
    expect(second.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
    expect(provider.requests.slice(before).filter(({ path }) => path === '/v1/chat/completions')).toHaveLength(1);
  });

  it.each([
    ['talks on', { pieces: Array<string>(20_000).fill('word '), pieceMs: 1 }],
    ['is silent', SILENT],
  ])(
    'CANCEL: the last of two viewers decides, and while the upstream %s it is closed within 100 ms',
    async (_what, answer) => {
      const { client, stream, streamId, callId } = await begin('CANCEL', answer);
      const other = fixture.app.connect(fixture.member.token);
      const second = other.resumeStream(streamId);
      await second.waitFor(({ seq }) => seq >= 3);
      const request = lastRequest();
      stream.unsubscribe();
      await waitFor(async () => (await viewersOf(streamId)) === 1);
      expect(request.closedAt).toBeFalsy();
      const lag = watchLag();
      const leftAt = performance.now();
      other.cut();
      await eventually(request.closed, 'closing the upstream');
      expect(request.closedAt! - leftAt - lag.stop()).toBeLessThan(100);
      expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
      await client.close();
    },
  );

  it.each(['GRACE', 'CONTINUE', 'CANCEL'])(
    '%s: stopStream from another device always stops it; all viewers are told, the partial answer is kept and marked',
    async (policy) => {
      const { client, stream, streamId, callId, conversationId } = await begin(policy);
      const second = resume(streamId);
      await second.waitFor(({ seq }) => seq === 3);
      const stop = async (): Promise<boolean> =>
        (await fixture.app.graphql(fixture.member.token, STOP, { streamId })).data.stopStream.stopped;
      expect(await stop()).toBe(true);
      await Promise.all([stream, second].map(endOf));
      for (const { events } of [stream, second])
        expect(events.filter(isTerminal)).toEqual([
          expect.objectContaining({
            __typename: 'StreamStopped',
            reason: 'CLIENT',
            reply: expect.objectContaining({ finishReason: 'STOPPED' }),
          }),
        ]);
      expect(await answerIn(conversationId)).toEqual({ role: 'ASSISTANT', content: 'one two ', complete: false });
      expect([await stop(), await stop()]).toEqual([false, false]);
      expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
      await client.close();
    },
  );

  it('an administrator of the organisation stops it while nobody looks: whoever comes back is told by whom', async () => {
    const { client, streamId } = await begin('CONTINUE');
    client.cut();
    expect((await fixture.app.graphql(fixture.admin.token, STOP, { streamId })).data).toEqual({
      stopStream: { stopped: true },
    });
    const again = resume(streamId);
    await endOf(again);
    expect(again.events.at(-1)).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'ADMINISTRATOR',
      reply: { answer: { content: 'one two ', complete: false } },
    });
  });

  it('activeStreams: the own ones; for administrators and operators those of everybody they are in charge of, and for nobody else', async () => {
    const { app, database, organizationId, planId, member, analyst, admin, operator } = fixture;
    const { client, stream, streamId, callId } = await begin('GRACE');
    const list = (token: string, everyone: boolean) =>
      app.graphql(
        token,
        'query ($everyone: Boolean!) { activeStreams(everyone: $everyone) { streamId lastSeq viewers startedAt call { id status streamed user { id } } } }',
        { everyone },
      );
    const shown = {
      streamId,
      lastSeq: 3,
      viewers: 1,
      startedAt: expect.any(String),
      call: { id: callId, status: 'RUNNING', streamed: true, user: { id: member.id } },
    };
    expect((await list(member.token, false)).data).toEqual({ activeStreams: [shown] });
    const colleague = await createUser(database.db, { organizationId, planId });
    for (const user of [colleague, analyst, admin, operator])
      expect((await list(user.token, false)).data).toEqual({ activeStreams: [] });
    for (const user of [admin, operator])
      expect((await list(user.token, true)).data).toEqual({ activeStreams: [shown] });
    for (const user of [member, colleague, analyst])
      expect((await list(user.token, true)).errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    await app.graphql(member.token, STOP, { streamId });
    await endOf(stream);
    expect((await list(member.token, false)).data).toEqual({ activeStreams: [] });
    await client.close();
  });
});
