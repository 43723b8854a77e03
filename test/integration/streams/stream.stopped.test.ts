import { startTestApp } from '../../support/app';
import { createUser, createWorld } from '../../support/factories';
import { watchLag } from '../../support/lag';
import { forever } from '../../support/provider-script';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { eventually, within } from '../../support/wait';
import { isTerminal, textOf, type StreamEvent, type Subscription } from '../../support/ws-client';

const STOP = 'mutation Stop($streamId: ID!) { stopStream(streamId: $streamId) { streamId stopped } }';

describe('a stream that somebody stops', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.close());

  async function beginSilentStream(
    token = fixture.member.token,
  ): Promise<{ stream: Subscription<StreamEvent>; streamId: string; callId: string }> {
    fixture.provider.script('test-chat', { pieces: ['one ', 'two '], hold: { after: 2, until: forever } });
    const stream = fixture.app.connect(token).chatStream(ask('Go on'));
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    // Both pieces, joined or not.
    await stream.waitFor(({ __typename, seq }) => __typename === 'TextDelta' && seq >= 3);
    return { stream, streamId, callId };
  }
  const lastCompletion = () => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;

  it('from another device: it ends as stopped by the client, keeps and counts what came, and closes the upstream at once', async () => {
    const { app, member, database } = fixture;
    const { stream, streamId, callId } = await beginSilentStream();
    const request = lastCompletion();
    // The first request of a new server pays for connecting and compiling.
    await app.graphql(member.token, STOP, { streamId: 'str_00000000000000000000000000' });
    const lag = watchLag();
    const stoppedAt = performance.now();
    const reply = await app.graphql(member.token, STOP, { streamId });
    expect(reply).toMatchObject({ errors: null, data: { stopStream: { streamId, stopped: true } } });
    await eventually(request.closed, 'closing the upstream');
    expect(request.closedAt! - stoppedAt - lag.stop()).toBeLessThan(100);
    await eventually(stream.ended, 'the end of the stream');
    expect(stream.events.filter(isTerminal)).toEqual([
      expect.objectContaining({ __typename: 'StreamStopped', reason: 'CLIENT' }),
    ]);
    expect(stream.events.at(-1)!.reply).toMatchObject({
      finishReason: 'STOPPED',
      answer: { content: 'one two ', complete: false },
      usage: { source: 'ESTIMATED' },
    });
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED', usage_source: 'ESTIMATED' });
    // Again: harmless, and still one row.
    expect((await app.graphql(member.token, STOP, { streamId })).data).toEqual({
      stopStream: { streamId, stopped: false },
    });
    await settledRow(database.db, callId);
  });

  it('from another replica: the one that runs it stops it, and the answer comes when it has ended', async () => {
    const { app, member, database, provider } = fixture;
    const { stream, streamId, callId } = await beginSilentStream();
    const other = await startTestApp({ database, upstream: provider });
    try {
      expect(await other.graphql(member.token, STOP, { streamId })).toMatchObject({
        errors: null,
        data: { stopStream: { streamId, stopped: true } },
      });
      await eventually(stream.ended, 'the end of the stream');
      expect(stream.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'CLIENT' });
      expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
      expect((await app.graphql(member.token, STOP, { streamId })).data).toEqual({
        stopStream: { streamId, stopped: false },
      });
    } finally {
      await other.stop();
    }
  });

  it('an administrator of the organisation may, and the viewer learns who it was', async () => {
    const { app, admin } = fixture;
    const { stream, streamId } = await beginSilentStream();
    expect((await app.graphql(admin.token, STOP, { streamId })).data).toEqual({
      stopStream: { streamId, stopped: true },
    });
    await eventually(stream.ended, 'the end of the stream');
    expect(stream.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'ADMINISTRATOR' });
  });

  it('nobody else may: their streams answer like streams that do not exist, and go on', async () => {
    const { app, database, organizationId, planId, analyst } = fixture;
    const { stream, streamId } = await beginSilentStream();
    const colleague = await createUser(database.db, { organizationId, planId });
    const stranger = await createWorld(database.db, { name: 'Other' });
    const answerFor = async (token: string, id: string): Promise<unknown> =>
      (await app.graphql(token, STOP, { streamId: id })).errors?.map(({ message, extensions }) => ({
        message,
        code: extensions.code,
      }));
    const missing = await answerFor(colleague.token, `str_${streamId.slice(4, 14)}${'0'.repeat(16)}`);
    expect(missing).toEqual([expect.objectContaining({ code: 'NOT_FOUND' })]);
    for (const { token } of [colleague, analyst, stranger.member, stranger.admin])
      expect(await answerFor(token, streamId)).toEqual(missing);
    expect(stream.over).toBe(false);
    expect(lastCompletion().closedAt).toBeNull();
  });

  it('ends when its user is blocked', async () => {
    const { app, admin, member, database } = fixture;
    const { stream, callId } = await beginSilentStream();
    const reply = await app.graphql(
      admin.token,
      'mutation Block($userId: ID!) { setUserBlocked(userId: $userId, blocked: true) { blocked } }',
      { userId: member.id },
    );
    expect(reply.errors).toBeNull();
    await eventually(stream.ended, 'the end of the stream');
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
    expect(lastCompletion().closedAt).not.toBeNull();
  });

  it('ends when the server shuts down, at its deadline, and is booked before the process would go', async () => {
    const { app, database } = fixture;
    const { stream, callId } = await beginSilentStream();
    const client = stream;
    await within(app.running.drain(0), 3_000, 'the drain');
    await eventually(client.ended, 'the end of the stream');
    expect(client.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'DEPLOY' });
    expect(textOf(client.events)).toBe('one two ');
    const [inFlight] = await database.db.query('SELECT id FROM calls_in_flight');
    expect(inFlight).toBeUndefined();
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });
});
