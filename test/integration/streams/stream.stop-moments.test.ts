import { forever, gate } from '../../support/provider-script';
import { startTestApp } from '../../support/app';
import { ask, createFixture, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { eventually, waitFor } from '../../support/wait';
import { isTerminal, type StreamEvent, type Subscription } from '../../support/ws-client';

const STOP = 'mutation Stop($streamId: ID!) { stopStream(streamId: $streamId) { streamId stopped } }';

describe('stopStream', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  const begin = async (): Promise<{ stream: Subscription<StreamEvent>; streamId: string; callId: string }> => {
    const stream = fixture.app.connect(fixture.member.token).chatStream(ask('Go on'));
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    return { stream, streamId, callId };
  };
  const stop = async (streamId: string, app = fixture.app, token = fixture.member.token): Promise<unknown> => {
    const { data, errors } = await app.graphql(token, STOP, { streamId });
    expect(errors).toBeNull();
    return data.stopStream;
  };
  const lastCompletion = () => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;
  const endOf = async (stream: Subscription<StreamEvent>): Promise<StreamEvent> => {
    await eventually(stream.ended, 'the end of the stream');
    expect(stream.events.filter(isTerminal)).toHaveLength(1);
    return stream.events.at(-1)!;
  };

  it('before the first byte closes the upstream, and nothing came; the prompt is counted, since it may be charged', async () => {
    fixture.provider.script('test-chat', { holdHead: forever });
    const { stream, streamId, callId } = await begin();
    const request = await waitFor(() => (fixture.provider.running > 0 ? lastCompletion() : null));
    expect(await stop(streamId)).toEqual({ streamId, stopped: true });
    expect(await endOf(stream)).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'CLIENT',
      reply: { finishReason: 'STOPPED', answer: { content: null, complete: false } },
    });
    await eventually(request.closed, 'closing the upstream');
    const row = await settledRow(fixture.database.db, callId);
    expect(row).toMatchObject({ status: 'STOPPED', usage_source: 'ESTIMATED', completion_tokens: 0 });
    expect(row.prompt_tokens).toBeGreaterThan(0);
  });

  it('in the moment in which the call begins is a stop all the same', async () => {
    fixture.provider.script('test-chat', { pieces: ['one '], hold: { after: 0, until: forever } });
    const { stream, streamId, callId } = await begin();
    expect(await stop(streamId)).toEqual({ streamId, stopped: true });
    expect(await endOf(stream)).toMatchObject({ __typename: 'StreamStopped', reason: 'CLIENT' });
    await waitFor(() => fixture.provider.running === 0);
    expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });

  it('from two devices at once, and from a third on another replica: it is stopped once, there is one end and one row, and somebody is told that it was them', async () => {
    const { database, provider, admin } = fixture;
    provider.script('test-chat', { pieces: ['one ', 'two '], hold: { after: 1, until: forever } });
    const { stream, streamId, callId } = await begin();
    await stream.waitFor(({ __typename }) => __typename === 'TextDelta');
    const other = await startTestApp({ database, upstream: provider });
    try {
      const answers = await Promise.all([stop(streamId), stop(streamId), stop(streamId, other, admin.token)]);
      // Who comes when it has ended is told that.
      expect(answers).toContainEqual({ streamId, stopped: true });
      expect(await stop(streamId)).toEqual({ streamId, stopped: false });
      const last = await endOf(stream);
      expect(last).toMatchObject({
        __typename: 'StreamStopped',
        reply: { answer: { content: 'one ', complete: false } },
      });
      expect(['CLIENT', 'ADMINISTRATOR']).toContain(last.reason);
      expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
    } finally {
      await other.stop();
    }
  });

  it('of an answer that is whole and being booked stops nothing: it is complete, and whoever asked is told so', async () => {
    const { database, provider } = fixture;
    const last = gate();
    provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: last } });
    const { stream, streamId, callId } = await begin();
    await stream.waitFor(({ __typename }) => __typename === 'TextDelta');
    const request = lastCompletion();
    let release!: () => void;
    const free = new Promise<void>((resolve) => (release = resolve));
    const locked = database.db.transaction(async (tx) => {
      await tx.query('SELECT FROM calls_in_flight WHERE id = $1 FOR UPDATE', [callId]);
      last.open();
      await free;
    });
    await request.closed;
    const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%weir.settle%'`;
    await waitFor(async () => (await database.db.query(waiting)).length > 0);
    const asked = jest.spyOn(fixture.app.running.find(callId)!, 'stop');
    const answer = stop(streamId);
    await waitFor(() => asked.mock.calls.length === 1);
    release();
    await locked;
    expect(await answer).toEqual({ streamId, stopped: false });
    expect(await endOf(stream)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: 'one two', complete: true } },
    });
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'COMPLETED' });
  });
});
