import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { newId } from '../../../src/lib/ids';
import { startTestApp, type TestApp } from '../../support/app';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { startProvider, type FakeProvider } from '../../support/provider';
import { gate, type Gate } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { TcpFront } from '../../support/tcp-front';
import { settledRow } from '../../support/usage-rows';
import { eventually, waitFor, within } from '../../support/wait';
import { isTerminal, textOf, type StreamEvent, type Subscription } from '../../support/ws-client';

/** Milliseconds after the provider's end: three for the database, the rest for a busy machine. */
const TOLD_MS = 6_000;

describe('a stream while the database goes away', () => {
  let database: TestDatabase;
  let world: World;
  let provider: FakeProvider;
  let front: TcpFront;
  let home: string;
  let app: TestApp;
  beforeEach(async () => {
    database = await createTestDatabase();
    world = await createWorld(database.db);
    provider = await startProvider();
    front = await TcpFront.start(database.url);
    home = mkdtempSync(path.join(tmpdir(), 'weir-ends-'));
    app = await startTestApp({ database: { url: front.url }, upstream: provider, config: { home } });
  });
  afterEach(async () => {
    front.away = false;
    await Promise.allSettled([app.stop()]);
    await front.stop();
    await provider.close();
    await database.close();
    rmSync(home, { recursive: true, force: true });
  });

  /** In its middle. */
  const begin = async (): Promise<{ stream: Subscription<StreamEvent>; callId: string; rest: Gate }> => {
    const rest = gate();
    provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: rest } });
    const stream = app.connect(world.member.token).chatStream(ask('Go on'));
    const { callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ __typename }) => __typename === 'TextDelta');
    return { stream, callId, rest };
  };

  it('goes on to its end, which is told in time and booked later, and leaves nothing behind', async () => {
    const { stream, callId, rest } = await begin();
    // What it has written down by then goes with its settlement, too.
    await waitFor(
      async () => (await database.db.query('SELECT FROM call_checkpoints WHERE call_id = $1', [callId])).length === 1,
    );
    front.away = true;
    rest.open();
    await within(stream.ended, TOLD_MS, 'the end of the stream');
    expect(stream.errors).toEqual([]);
    expect([textOf(stream.events), stream.events.filter(isTerminal)]).toMatchObject([
      'one two',
      [{ __typename: 'StreamCompleted' }],
    ]);
    front.away = false;
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'COMPLETED', usage_source: 'PROVIDER' });
    expect(await database.db.query('SELECT FROM call_checkpoints')).toEqual([]);
  });

  it('and the journal with it: the viewer is told one end in time, and the call is booked when it can be', async () => {
    rmSync(path.join(home, 'journal'), { recursive: true });
    writeFileSync(path.join(home, 'journal'), 'a file');
    const { stream, callId, rest } = await begin();
    front.away = true;
    rest.open();
    await within(stream.ended, TOLD_MS, 'the end of the stream');
    expect(stream.errors).toEqual([]);
    expect(stream.events.filter(isTerminal)).toMatchObject([
      { __typename: 'StreamFailed', refusal: { code: 'STREAM_INTERRUPTED', retryable: false } },
    ]);
    front.away = false;
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'COMPLETED', usage_source: 'PROVIDER' });
  });

  it('does not begin: the operation ends with an error in time, and nothing is asked', async () => {
    // What a first call needs of the database is known by then.
    const { stream: first, rest } = await begin();
    rest.open();
    await first.ended;
    front.away = true;
    const stream = app.connect(world.member.token);
    const refused = stream.chatStream(ask('And now?'));
    await within(refused.ended, 10_000, 'a refusal');
    expect(refused.events).toEqual([]);
    expect(refused.errors).toHaveLength(1);
    expect(provider.requests.filter((request) => request.path === '/v1/chat/completions')).toHaveLength(1);
  });

  it('can be resumed in its own process all the same, and elsewhere after the outage', async () => {
    const { stream, rest } = await begin();
    const client = app.connect(world.member.token);
    await client.resumeStream(stream.events[0]!.streamId).waitFor(({ __typename }) => __typename === 'TextDelta');
    front.away = true;
    const again = client.resumeStream(stream.events[0]!.streamId, 1);
    expect(await again.waitFor(({ __typename }) => __typename === 'TextDelta')).toMatchObject({
      text: 'one ',
      fromSeq: 2,
    });
    const elsewhere = client.resumeStream(newId('stream'));
    await eventually(elsewhere.ended, 'a refusal');
    expect(elsewhere.errors).toMatchObject([
      { extensions: { code: 'SERVICE_UNAVAILABLE', retryAfterMs: expect.any(Number) } },
    ]);
    front.away = false;
    rest.open();
    await eventually(again.ended, 'the end of the stream');
    expect(again.events.filter(isTerminal)).toMatchObject([{ __typename: 'StreamCompleted' }]);
  });
});
