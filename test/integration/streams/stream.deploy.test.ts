import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startAppProcess, type AppProcess } from '../../support/app-process';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { Program } from '../../support/ledger/compile';
import { startProvider, type FakeProvider } from '../../support/provider';
import { forever, gate } from '../../support/provider-script';
import { openSse, type SseOperation } from '../../support/sse-client';
import { ask } from '../../support/stream-fixture';
import { SLOW_DEADLINE_MS, waitFor, within } from '../../support/wait';
import {
  CHAT_STREAM,
  connectWs,
  isTerminal,
  textOf,
  type StreamEvent,
  type Subscription,
  type TestWsClient,
} from '../../support/ws-client';

const program = new Program(path.join(__dirname, '..', '..', '..', 'src', 'main.ts'));
/** That one connection may run at a time. */
const OPERATIONS = 20;
const SOCKETS = 46;
const SSE = 80;
/** Of the sockets: those that stay, then those whose streams are left to themselves, then those that are lost. */
const [STAY, LEAVE] = [24, 36];
const SHUTDOWN_MS = 4_000;
/** From the signal to the end of the process: what those give it that run containers. */
const HALF_A_MINUTE_MS = 30_000;

describe('SIGTERM with a thousand streams', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let world: World;
  let server: AppProcess;
  let home: string;
  const clients: TestWsClient[] = [];
  beforeAll(async () => {
    home = mkdtempSync(path.join(os.tmpdir(), 'weir-deploy-'));
    database = await createTestDatabase();
    provider = await startProvider();
    world = await createWorld(database.db);
    server = await startAppProcess(
      {
        DATABASE_URL: database.url,
        LLM_BASE_URL: provider.url,
        WEIR_HOME: home,
        WEIR_SECRET_KEY: Buffer.alloc(32, 7).toString('base64'),
        EXPLORER: 'false',
        SHUTDOWN_TIMEOUT_MS: String(SHUTDOWN_MS),
      },
      program.use(),
    );
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server?.kill();
    program.release();
    await provider.close();
    await database.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('takes no new ones, lets those finish that can, tells the others by the deadline at both doors, books all of them, also those that nobody looks at, and ends with 0 within half a minute', async () => {
    const finish = gate();
    provider.always('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: forever } });
    provider.always('test-small', { pieces: ['one ', 'two'], hold: { after: 1, until: finish } });
    const streams: Subscription<StreamEvent>[][] = [];
    const sse: SseOperation[] = [];
    for (let i = 0; i < SOCKETS; i += 1) {
      const client = connectWs(server.url, world.member.token);
      clients.push(client);
      const model = i === 0 ? 'test-small' : 'test-chat';
      const onDisconnect = i < STAY || i >= LEAVE ? 'GRACE' : 'CONTINUE';
      streams.push(
        Array.from({ length: OPERATIONS }, (_, n) => client.chatStream(ask(`Question ${n}`, { model, onDisconnect }))),
      );
      await Promise.all(
        streams[i]!.map((stream) => stream.waitFor(({ __typename }) => __typename === 'TextDelta', SLOW_DEADLINE_MS)),
      );
    }
    for (let i = 0; i < SSE; i += 1)
      sse.push(
        await openSse(server.url, world.member.token, {
          query: CHAT_STREAM,
          variables: { input: ask(`Question ${i}`) },
        }),
      );
    await Promise.all(
      sse.map((operation) => operation.waitFor(({ data }) => data?.data?.chatStream.__typename === 'TextDelta')),
    );
    for (const stream of streams.slice(STAY, LEAVE).flat()) stream.unsubscribe();
    for (const client of clients.slice(LEAVE)) client.cut();
    expect(provider.running).toBe(SOCKETS * OPERATIONS + SSE);

    const exited = within(server.terminate(), HALF_A_MINUTE_MS, 'the end of the server');
    exited.catch(() => {});
    const late = await waitFor(async () => {
      // Until the signal has come, a new stream runs like the others; who asks on a connection that is full would be
      // refused for that.
      const asked = clients[STAY]!.chatStream(ask('Late'));
      await Promise.race([
        asked.ended,
        asked.waitFor(({ __typename }) => __typename === 'StreamStarted').catch(() => {}),
      ]);
      return asked.errors.length > 0 ? asked : null;
    });
    expect(late.errors).toMatchObject([{ extensions: { code: 'SERVICE_UNAVAILABLE' } }]);
    finish.open();
    const code = await exited;

    const watched = streams.slice(0, STAY).flat();
    await Promise.all([...watched.map((stream) => stream.ended), ...sse.map((operation) => operation.ended)]);
    expect(code).toBe(0);
    expect(watched.flatMap(({ errors }) => errors)).toEqual([]);
    for (const { events } of streams[0]!) {
      expect(events.filter(isTerminal)).toMatchObject([{ __typename: 'StreamCompleted' }]);
      expect(textOf(events)).toBe('one two');
    }
    const stopped = [
      ...streams
        .slice(1, STAY)
        .flat()
        .map(({ events }) => events),
      ...sse.map(({ events }) =>
        events.filter(({ event }) => event === 'next').map(({ data }) => data.data.chatStream as StreamEvent),
      ),
    ];
    for (const events of stopped) {
      expect(events.filter(isTerminal)).toMatchObject([
        { __typename: 'StreamStopped', reason: 'DEPLOY', reply: { answer: { content: 'one ', complete: false } } },
      ]);
      expect(events.map(({ __typename }) => __typename)).toEqual(['StreamStarted', 'TextDelta', 'StreamStopped']);
    }
    for (const operation of sse)
      expect([operation.events.at(-1)!.event, await operation.ended]).toEqual(['complete', 'END']);

    expect(await database.db.query('SELECT id FROM calls_in_flight')).toEqual([]);
    const rows = await database.db.query<{ status: string; calls: number }>(
      `SELECT status, count(*)::int AS calls FROM llm_usage GROUP BY status ORDER BY status`,
    );
    const begun = provider.requests.filter(({ path: asked }) => asked === '/v1/chat/completions').length;
    expect(rows).toEqual([
      { status: 'COMPLETED', calls: OPERATIONS },
      { status: 'STOPPED', calls: begun - OPERATIONS },
    ]);
    expect(await database.db.query('SELECT id FROM owners')).toEqual([]);
  });
});
