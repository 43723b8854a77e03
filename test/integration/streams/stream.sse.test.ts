import { createClient } from 'graphql-sse';
import { watchLag } from '../../support/lag';
import { forever, gate } from '../../support/provider-script';
import type { RecordedRequest } from '../../support/provider';
import { openSse, type SseOperation } from '../../support/sse-client';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { eventually } from '../../support/wait';
import { CHAT_STREAM, textOf, type StreamEvent } from '../../support/ws-client';

const RESUME =
  'subscription ($id: ID!, $after: Int!) { resumeStream(streamId: $id, afterSeq: $after) { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta { text } ... on StreamStopped { reason } } }';

describe('a stream over server-sent events', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.close());

  const lastCompletion = (): RecordedRequest =>
    fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;
  const eventsOf = (operation: SseOperation): StreamEvent[] =>
    operation.events.flatMap(({ data }) => (data?.data ? (Object.values(data.data) as StreamEvent[]) : []));
  const begin = async (policy: string): Promise<{ operation: SseOperation; streamId: string; callId: string }> => {
    const operation = await openSse(fixture.app.url, fixture.member.token, {
      query: CHAT_STREAM,
      variables: { input: ask('Go on', { onDisconnect: policy }) },
    });
    const { data } = await operation.waitFor((event) => event.data?.data?.chatStream.__typename === 'StreamStarted');
    await operation.waitFor((event) => event.data?.data?.chatStream.seq >= 3);
    return { operation, ...data.data.chatStream };
  };

  it('gives a real client the whole answer, once, and its cost', async () => {
    const { app, member, provider, database } = fixture;
    const pieces = ['Grü', 'ße ', '\u{1F30A}\u{1F30A} ', 'こんにち', 'は'];
    provider.script('test-chat', { pieces, wire: { writeBytes: 1 } });
    const client = createClient({
      url: app.url,
      headers: { authorization: `Bearer ${member.token}` },
      retryAttempts: 0,
    });
    const events: StreamEvent[] = [];
    for await (const { data, errors } of client.iterate<{ chatStream: StreamEvent }>({
      query: CHAT_STREAM,
      variables: { input: ask('Hello') },
    })) {
      expect(errors).toBeUndefined();
      events.push(data!.chatStream);
    }
    expect(events[0]).toMatchObject({ __typename: 'StreamStarted', seq: 1 });
    expect(textOf(events)).toBe(pieces.join(''));
    expect(events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: pieces.join(''), complete: true } },
    });
    expect(await settledRow(database.db, events[0]!.callId)).toMatchObject({ status: 'COMPLETED', streamed: true });
  });

  it('whose client goes with CANCEL is stopped at once and booked', async () => {
    fixture.provider.script('test-chat', { pieces: ['one ', 'two '], hold: { after: 2, until: forever } });
    const { operation, callId } = await begin('CANCEL');
    const request = lastCompletion();
    const lag = watchLag();
    const leftAt = performance.now();
    operation.cut();
    await eventually(request.closed, 'closing the upstream');
    expect(request.closedAt! - leftAt - lag.stop()).toBeLessThan(100);
    expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });

  it('whose client goes with GRACE goes on, and is resumed from where it was, by either door', async () => {
    const { app, member, provider } = fixture;
    const rest = gate();
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three ', 'four '], hold: { after: 2, until: rest } });
    const { operation, streamId } = await begin('GRACE');
    const had = eventsOf(operation);
    operation.cut();
    const variables = { id: streamId, after: had.at(-1)!.seq };
    const bySse = await openSse(app.url, member.token, { query: RESUME, variables });
    const byWebSocket = app.connect(member.token).subscribe<StreamEvent>(RESUME, variables);
    rest.open();
    expect(await eventually(bySse.ended, 'the end')).toBe('END');
    await byWebSocket.ended;
    for (const events of [eventsOf(bySse), byWebSocket.events]) {
      expect(textOf([...had, ...events])).toBe('one two three four ');
      expect(events[0]!.fromSeq).toBe(had.at(-1)!.seq + 1);
      expect(events.at(-1)!.__typename).toBe('StreamCompleted');
    }
  });

  it('that runs when the server stops is told DEPLOY and ends properly, and the server does not wait for its client', async () => {
    fixture.provider.script('test-chat', { pieces: ['one ', 'two '], hold: { after: 2, until: forever } });
    const { operation, callId } = await begin('GRACE');
    const lasting = await openSse(fixture.app.url, fixture.member.token, {
      query: 'subscription { budgetAlerts { id } }',
    });
    const stopped = fixture.stopServer();
    expect(await eventually(operation.ended, 'the end')).toBe('END');
    expect(eventsOf(operation).at(-1)).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'DEPLOY',
      reply: { answer: { content: 'one two ' } },
    });
    expect(operation.events.at(-1)).toEqual({ event: 'complete', data: null });
    // It has not ended: without `complete` its client asks another server.
    expect(await eventually(lasting.ended, 'the cut')).toBe('CUT');
    await stopped;
    expect(await settledRow(fixture.database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });
});
