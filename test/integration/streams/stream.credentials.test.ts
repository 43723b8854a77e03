import { createToken, createUser } from '../../support/factories';
import { startTestApp } from '../../support/app';
import { watchLag } from '../../support/lag';
import { forever, gate } from '../../support/provider-script';
import type { RecordedRequest } from '../../support/provider';
import { openSse, type SseOperation } from '../../support/sse-client';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { AT_ONCE_MS, eventually, waitFor, within } from '../../support/wait';
import { CHAT_STREAM, isTerminal, textOf, type StreamEvent, type Subscription } from '../../support/ws-client';

/** The acceptance limit: from the end of the credentials to the end of what they began. Milliseconds. */
const LIMIT_MS = 5_000;
const RESUME =
  'subscription ($id: ID!) { resumeStream(streamId: $id) { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta { text } ... on StreamStopped { reason reply { answer { content complete } } } } }';

describe('a stream whose credentials end', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
    fixture.provider.always('test-chat', { pieces: ['one ', 'two '], hold: { after: 2, until: forever } });
  });
  afterAll(() => fixture.close());

  const lastCompletion = (): RecordedRequest =>
    fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;
  const input = (policy: string): Record<string, unknown> => ask('Go on', { onDisconnect: policy });
  const revoke = async (tokenId: string): Promise<void> =>
    void (await fixture.database.db.query('UPDATE api_tokens SET revoked_at = weir.now() WHERE id = $1', [tokenId]));
  const WAYS: [string, (tokenId: string) => Promise<void>, () => Date | null][] = [
    ['are revoked', revoke, () => null],
    ['expire', async () => undefined, () => new Date(Date.now() + 2_000)],
  ];

  const running = async (stream: Subscription<StreamEvent>): Promise<{ streamId: string; callId: string }> => {
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ __typename, seq }) => __typename === 'TextDelta' && seq >= 3);
    return { streamId, callId };
  };
  const expectStopped = async (callId: string, last: Record<string, any> | undefined): Promise<void> => {
    expect(last).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'AUTHORIZATION',
      reply: { answer: { content: 'one two ', complete: false }, usage: { source: 'ESTIMATED' } },
    });
    expect(await settledRow(fixture.database.db, callId)).toMatchObject({
      status: 'STOPPED',
      usage_source: 'ESTIMATED',
    });
  };

  it.each(
    WAYS.flatMap(([why, end, until]) =>
      (['GRACE', 'CONTINUE'] as const).map((policy) => ({ why, policy, end, until })),
    ),
  )(
    'because they $why ($policy): its viewer is told so at the WebSocket door, the upstream is closed, the answer kept and booked; then the socket closes with a code that clients do not retry',
    async ({ policy, end, until }) => {
      const { app, database, member } = fixture;
      const expiry = until();
      const { token, tokenId } = await createToken(database.db, member, expiry);
      const client = app.connect(token);
      const stream = client.chatStream(input(policy));
      const { callId } = await running(stream);
      const request = lastCompletion();
      const lag = watchLag();
      await end(tokenId);
      const endedAt = performance.now() + Math.max(0, (expiry?.getTime() ?? 0) - Date.now());
      await eventually(request.closed, 'closing the upstream');
      expect((await eventually(client.closed, 'closing the socket')).code).toBe(4401);
      expect(performance.now() - endedAt - lag.stop()).toBeLessThan(LIMIT_MS);
      expect(stream.events.filter(isTerminal)).toHaveLength(1);
      expect(stream.errors).toEqual([]);
      expect(textOf(stream.events)).toBe('one two ');
      await expectStopped(callId, stream.events.at(-1));
    },
  );

  it('its viewer by server-sent events is told so, and then that it is over', async () => {
    const { app, database, member } = fixture;
    const { token, tokenId } = await createToken(database.db, member);
    const operation: SseOperation = await openSse(app.url, token, {
      query: CHAT_STREAM,
      variables: { input: input('GRACE') },
    });
    const { data } = await operation.waitFor(({ data: next }) => next?.data?.chatStream.__typename === 'StreamStarted');
    await operation.waitFor(({ data: next }) => next?.data?.chatStream.seq >= 3);
    const request = lastCompletion();
    const lag = watchLag();
    const since = performance.now();
    await revoke(tokenId);
    expect(await eventually(operation.ended, 'the end')).toBe('END');
    expect(performance.now() - since - lag.stop()).toBeLessThan(LIMIT_MS);
    await eventually(request.closed, 'closing the upstream');
    expect(operation.errors).toEqual([]);
    expect(operation.events.at(-1)).toEqual({ event: 'complete', data: null });
    await expectStopped(data.data.chatStream.callId, operation.events.at(-2)!.data.data.chatStream);
  });

  it('and that nobody looks at any more ends all the same: CONTINUE pays for the one who may ask', async () => {
    const { app, database, member } = fixture;
    const { token, tokenId } = await createToken(database.db, member);
    const client = app.connect(token);
    const { callId, streamId } = await running(client.chatStream(input('CONTINUE')));
    const request = lastCompletion();
    await client.close();
    await revoke(tokenId);
    await within(request.closed, LIMIT_MS, 'closing the upstream');
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
    // What came is kept for the user, whose other token is good.
    const again = app.connect(member.token).subscribe(RESUME, { id: streamId });
    await again.ended;
    expect(again.events.at(-1)).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'AUTHORIZATION',
      reply: { answer: { content: 'one two ', complete: false } },
    });
  });

  it('and that another credential of the user looks at ends for it as well: a stream belongs to the credential that began it', async () => {
    const { app, database, member } = fixture;
    const { token, tokenId } = await createToken(database.db, member);
    const { streamId } = await running(app.connect(token).chatStream(input('GRACE')));
    const refreshed = app.connect(member.token);
    const watching = refreshed.subscribe(RESUME, { id: streamId });
    await watching.waitFor(({ seq }) => seq >= 3);
    const other = refreshed.chatStream(input('CANCEL'));
    await running(other);
    await revoke(tokenId);
    await within(watching.ended, LIMIT_MS, 'the end of the stream');
    expect(watching.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'AUTHORIZATION' });
    // Its own go on.
    expect(other.over).toBe(false);
    await refreshed.close();
  });

  it('on a replica that its viewer is not connected to ends there', async () => {
    const { database, provider, member, app } = fixture;
    const { token, tokenId } = await createToken(database.db, member);
    const client = app.connect(token);
    const { callId } = await running(client.chatStream(input('CONTINUE')));
    const request = lastCompletion();
    await client.close();
    const other = await startTestApp({ database, upstream: provider });
    try {
      // By the other replica: nothing in the process that runs it says so.
      const reply = await other.graphql(token, 'mutation ($id: ID!) { revokeApiToken(id: $id) { id } }', {
        id: tokenId,
      });
      expect(reply.errors).toBeNull();
      await within(request.closed, LIMIT_MS, 'closing the upstream');
      expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
    } finally {
      await other.stop();
    }
  });

  it('because its user is blocked: viewers at both doors are told so at once', async () => {
    const { app, database, admin, organizationId, planId } = fixture;
    const user = await createUser(database.db, { organizationId, planId });
    const client = app.connect(user.token);
    const stream = client.chatStream(input('GRACE'));
    const { callId, streamId } = await running(stream);
    const operation = await openSse(app.url, user.token, { query: RESUME, variables: { id: streamId } });
    await operation.waitFor(({ data }) => data?.data?.resumeStream.seq >= 3);
    const reply = await app.graphql(
      admin.token,
      'mutation ($userId: ID!) { setUserBlocked(userId: $userId, blocked: true) { blocked } }',
      { userId: user.id },
    );
    expect(reply.errors).toBeNull();
    expect((await within(client.closed, AT_ONCE_MS, 'closing the socket')).code).toBe(4401);
    await within(operation.ended, AT_ONCE_MS, 'the end of the operation');
    expect(operation.events.at(-2)!.data).toEqual({
      data: { resumeStream: expect.objectContaining({ __typename: 'StreamStopped', reason: 'AUTHORIZATION' }) },
    });
    await expectStopped(callId, stream.events.at(-1));
  });

  it('a whole answer was admitted and is finished when its token expires', async () => {
    const { app, database, member, provider } = fixture;
    const until = gate();
    provider.script('test-chat', { pieces: ['one ', 'two '], holdHead: until });
    const { token } = await createToken(database.db, member, new Date(Date.now() + 5_000));
    const before = provider.requests.length;
    const reply = app.chat(token, ask('Whole'));
    await waitFor(() => provider.requests.length > before, { what: 'the request at the provider' });
    const sentry = app.connect(token);
    const open = sentry.subscribe('subscription { budgetAlerts { id } }');
    // The look that has ended this one has spared the answer.
    await eventually(sentry.closed, 'closing the socket');
    expect(open.errors).toEqual([expect.objectContaining({ extensions: { code: 'UNAUTHENTICATED' } })]);
    until.open();
    expect((await reply).data?.chat).toMatchObject({ __typename: 'ChatReply', answer: { content: 'one two ' } });
  });
});
