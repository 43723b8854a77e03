import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startAppProcess, type AppProcess } from '../../support/app-process';
import { Program } from '../../support/ledger/compile';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { startProvider, type FakeProvider } from '../../support/provider';
import { ask } from '../../support/stream-fixture';
import { settledRows } from '../../support/usage-rows';
import { SLOW_DEADLINE_MS, waitFor } from '../../support/wait';
import {
  connectWs,
  isTerminal,
  textOf,
  type StreamEvent,
  type Subscription,
  type TestWsClient,
} from '../../support/ws-client';

const program = new Program(path.join(__dirname, '..', '..', '..', 'src', 'main.ts'));
const STREAMS = 40;
/** Signs of one, two and four units of UTF-16; a piece is one chunk of the provider, and one number of the stream. */
const PIECES = Array.from({ length: 4_000 }, (_, i) => `${i} é😀${i % 7 === 0 ? ' 漢字' : ''} `);
const PIECE_MS = 40;
/** That one connection may run at a time. */
const OPERATIONS = 20;
const KEPT_WITHIN_MS = 2_000;

const question = (n: number): Record<string, unknown> => ask(`Question ${n}`, { idempotencyKey: `key-${n}` });
/** The text of the pieces with the numbers from–to. StreamStarted is number 1. */
const textBetween = (from: number, to: number): string => PIECES.slice(Math.max(from - 2, 0), to - 1).join('');
const contiguous = (events: StreamEvent[], after: number): boolean =>
  events.every((event, i) => event.fromSeq === (i === 0 ? after : events[i - 1]!.seq) + 1);

describe('a server that is killed while many streams run', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let world: World;
  let home: string;
  const servers: AppProcess[] = [];
  const clients: TestWsClient[] = [];
  const start = async (): Promise<AppProcess> => {
    const server = await startAppProcess(
      {
        DATABASE_URL: database.url,
        LLM_BASE_URL: provider.url,
        WEIR_HOME: home,
        WEIR_SECRET_KEY: Buffer.alloc(32, 7).toString('base64'),
        EXPLORER: 'false',
        LOG_LEVEL: 'info',
        OWNER_DEAD_AFTER_MS: '1000',
      },
      program.use(),
    );
    servers.push(server);
    return server;
  };
  /** As many connections as there have to be for many operations. */
  const connections = (server: AppProcess): (() => TestWsClient) => {
    let used = 0;
    let client: TestWsClient;
    return () => (used++ % OPERATIONS === 0 ? (client = connect(server)) : client);
  };
  const connect = (server: AppProcess): TestWsClient => {
    const client = connectWs(server.url, world.member.token);
    clients.push(client);
    return client;
  };
  beforeAll(async () => {
    home = mkdtempSync(path.join(os.tmpdir(), 'weir-crash-'));
    database = await createTestDatabase();
    provider = await startProvider();
    world = await createWorld(database.db);
    provider.always('test-chat', { pieces: PIECES, pieceMs: PIECE_MS });
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await Promise.all(servers.map((server) => server.kill()));
    for (const _ of servers) program.release();
    await provider.close();
    await database.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('gives back what was kept, at most two seconds less than was seen, with its numbers, and one end behind all that anybody saw, once the call is booked', async () => {
    const doomed = await start();
    const other = await start();
    const first = connections(doomed);
    const seen = Array.from({ length: STREAMS }, (_, i) => first().chatStream(question(i)));
    await Promise.all(
      seen.map((stream) => stream.waitFor(({ __typename }) => __typename === 'TextDelta', SLOW_DEADLINE_MS)),
    );
    const atMost = (ms: number) => {
      const untilMs = performance.now() + ms;
      return waitFor(() => performance.now() >= untilMs);
    };
    await atMost(3_000);
    // One that looks from another replica, which has the streams by the database alone.
    const elsewhere = connect(other).resumeStream(seen[0]!.events[0]!.streamId);
    await elsewhere.waitFor(({ __typename }) => __typename === 'TextDelta');
    const mustBeKept = seen.map((stream) => stream.events.at(-1)!.seq);
    await atMost(KEPT_WITHIN_MS);
    await doomed.kill();
    await Promise.all(seen.map((stream) => stream.ended));

    const restarted = await start();
    const back = connections(restarted);
    const afterOf = ({ events }: Subscription<StreamEvent>): number => events.at(-1)!.seq;
    const streamIdOf = ({ events }: Subscription<StreamEvent>): string => events[0]!.streamId;
    const fromStart = seen.map((stream) => back().resumeStream(streamIdOf(stream)));
    const fromMiddle = seen.map((stream, i) => back().resumeStream(streamIdOf(stream), 5 + i));
    // Whoever sends the question again with its key is told the same, and pays nothing.
    const repeated = back().chatStream(question(2));
    const fromEnd = seen.map((stream) => back().resumeStream(streamIdOf(stream), afterOf(stream)));
    await fromStart[0]!.waitFor(isTerminal, SLOW_DEADLINE_MS);
    expect(
      await database.db.query('SELECT id FROM llm_usage WHERE id = $1', [seen[0]!.events[0]!.callId]),
    ).toHaveLength(1);
    await Promise.all([...fromStart, ...fromMiddle, ...fromEnd, elsewhere, repeated].map((stream) => stream.ended));
    expect([...fromStart, ...fromMiddle, ...fromEnd, elsewhere, repeated].flatMap(({ errors }) => errors)).toEqual([]);

    for (const [i, stream] of seen.entries()) {
      const whole = fromStart[i]!.events;
      const last = whole.at(-1)!;
      const kept = whole.at(-2)!.seq;
      expect(whole[0]).toEqual(stream.events[0]);
      expect(kept).toBeGreaterThanOrEqual(mustBeKept[i]!);
      expect(textOf(whole)).toBe(textBetween(2, kept));
      expect(textOf(stream.events)).toBe(textBetween(2, afterOf(stream)));
      for (const event of [...whole, ...stream.events])
        if (event.__typename === 'TextDelta') expect(event.text).toBe(textBetween(event.fromSeq, event.seq));
      expect(last).toMatchObject({
        __typename: 'StreamFailed',
        refusal: { code: 'STREAM_INTERRUPTED', retryable: false },
        partial: { call: { status: 'LOST' }, answer: { content: textOf(whole), complete: false } },
      });
      expect(last.seq).toBeGreaterThan(Math.max(afterOf(stream), kept));
      expect(textOf(fromMiddle[i]!.events)).toBe(textBetween(6 + i, kept));
      expect(textOf(fromEnd[i]!.events)).toBe(textBetween(afterOf(stream) + 1, kept));
      for (const [events, after] of [
        [whole, 0],
        [fromMiddle[i]!.events, 5 + i],
        [fromEnd[i]!.events, afterOf(stream)],
      ] as const) {
        expect(contiguous(events, after)).toBe(true);
        expect(events.filter(isTerminal)).toHaveLength(1);
        expect({ ...events.at(-1), fromSeq: 0 }).toEqual({ ...last, fromSeq: 0 });
      }
    }
    expect(textOf(elsewhere.events)).toBe(textOf(fromStart[0]!.events));
    expect(elsewhere.events.at(-1)).toEqual(fromStart[0]!.events.at(-1));

    const repeatedLate = connect(other).chatStream(question(2));
    await repeatedLate.ended;
    for (const { events } of [repeated, repeatedLate])
      expect([textOf(events), events.at(-1)]).toEqual([textOf(fromStart[2]!.events), fromStart[2]!.events.at(-1)]);

    // Once more, and from another replica: the same. Who has the end has everything.
    const again = connect(other).resumeStream(streamIdOf(seen[1]!));
    const done = connect(other).resumeStream(streamIdOf(seen[1]!), fromStart[1]!.events.at(-1)!.seq);
    await Promise.all([again.ended, done.ended]);
    expect([textOf(again.events), again.events.at(-1), done.events, done.errors]).toEqual([
      textOf(fromStart[1]!.events),
      fromStart[1]!.events.at(-1),
      [],
      [],
    ]);

    const rows = await settledRows(database.db);
    expect(rows.map(({ id, status }) => [id, status]).sort()).toEqual(
      seen.map(({ events }) => [events[0]!.callId, 'LOST']).sort(),
    );
  });
});
