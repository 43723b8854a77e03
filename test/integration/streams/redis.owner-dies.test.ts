import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startTestApp, type TestApp } from '../../support/app';
import { startAppProcess } from '../../support/app-process';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { startProvider, type FakeProvider } from '../../support/provider';
import { forever, gate } from '../../support/provider-script';
import { startRedis, type TestRedis } from '../../support/redis';
import { numbersOf } from '../../support/replicas';
import { ask } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { SLOW_DEADLINE_MS, eventually, waitFor } from '../../support/wait';
import { connectWs, isTerminal, textOf } from '../../support/ws-client';

const DEAD_AFTER_MS = 1_000;

describe('a stream whose process dies', () => {
  let redis: TestRedis;
  let database: TestDatabase;
  let provider: FakeProvider;
  let world: World;
  let replicas: TestApp[];
  const home = mkdtempSync(path.join(os.tmpdir(), 'weir-test-'));

  beforeAll(async () => {
    redis = await startRedis();
    database = await createTestDatabase();
    provider = await startProvider();
    world = await createWorld(database.db);
    const ledger = { renewMs: DEAD_AFTER_MS / 6, deadAfterMs: DEAD_AFTER_MS, lookEveryMs: 60_000 };
    replicas = await Promise.all(
      [1, 2].map(() => startTestApp({ database, upstream: provider, config: { redisUrl: redis.url, ledger } })),
    );
  }, 120_000);
  afterAll(async () => {
    await Promise.all(replicas.map((app) => app.stop()));
    await provider.close();
    await database.close();
    await redis.stop();
    rmSync(home, { recursive: true, force: true });
  });

  const startDoomed = () =>
    startAppProcess({
      DATABASE_URL: database.url,
      LLM_BASE_URL: provider.url,
      REDIS_URL: redis.url,
      WEIR_HOME: home,
      WEIR_SECRET_KEY: randomBytes(32).toString('base64'),
      OWNER_DEAD_AFTER_MS: String(DEAD_AFTER_MS),
    });

  it('is told to its end, once, to viewers on two replicas: all that was shown, then that it was interrupted, with a usage row', async () => {
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three '], hold: { after: 3, until: forever } });
    const doomed = await startDoomed();
    const client = connectWs(doomed.url, world.member.token);
    const own = client.chatStream(ask('Hello', { onDisconnect: 'CONTINUE' }));
    const { streamId, callId } = await own.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await own.waitFor(({ seq }) => seq >= 4);
    const viewers = replicas.map((app) => app.connect(world.member.token).resumeStream(streamId, 2));
    for (const viewer of viewers) await viewer.waitFor(({ seq }) => seq >= 4);
    await doomed.kill();
    await Promise.all(viewers.map((viewer) => viewer.waitFor(isTerminal, SLOW_DEADLINE_MS)));
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'LOST' });
    for (const viewer of viewers) {
      expect(viewer.errors).toEqual([]);
      numbersOf(viewer.events, 2);
      expect(textOf(viewer.events)).toBe('two three ');
      expect(viewer.events.filter(isTerminal)).toEqual([
        expect.objectContaining({
          __typename: 'StreamFailed',
          refusal: expect.objectContaining({ code: 'STREAM_INTERRUPTED' }),
          partial: expect.objectContaining({ answer: expect.objectContaining({ content: 'one two three ' }) }),
        }),
      ]);
    }
    expect(viewers[0]!.events.at(-1)).toEqual(viewers[1]!.events.at(-1));
    const later = replicas[0]!.connect(world.member.token).resumeStream(streamId, 4);
    await later.ended;
    expect(later.events).toEqual([viewers[0]!.events.at(-1)]);
    const [key] = (await redis.send('KEYS', `*${streamId}}:log`)) as string[];
    const entries = (await redis.send('XRANGE', key!, '-', '+')) as [string, string[]][];
    expect(entries.filter(([, words]) => words.includes('x'))).toHaveLength(1);
    await client.close();
  }, 90_000);

  it('after a good end that Redis was not there for: who resumes is told no other end, and then the true one from the database', async () => {
    const until = gate();
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three '], hold: { after: 2, until } });
    const doomed = await startDoomed();
    const client = connectWs(doomed.url, world.member.token);
    const own = client.chatStream(ask('Hello', { idempotencyKey: 'k-good-end' }));
    const { streamId } = await own.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await own.waitFor(({ seq }) => seq >= 3);
    redis.front.away = true;
    until.open();
    await own.waitFor(({ __typename }) => __typename === 'StreamCompleted');
    await doomed.kill();
    redis.front.away = false;
    await waitFor(async () => (await replicas[0]!.services.status.status()).streamLog.state === 'UP', {
      what: 'Redis to be back',
    });
    const other = replicas[0]!.connect(world.member.token).resumeStream(streamId, 3);
    await eventually(other.ended, 'sending the viewer away');
    expect([other.events, other.errors]).toEqual([
      [],
      [expect.objectContaining({ extensions: expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }) })],
    ]);
    const again = replicas[0]!.connect(world.member.token).resumeStream(streamId);
    await eventually(again.ended, 'the stream as the database has it');
    expect([textOf(again.events), again.errors]).toEqual(['one two three ', []]);
    expect(again.events.at(-1)).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: 'one two three ' } },
    });
    await client.close();
  }, 90_000);

  it('or is stopped for a deploy: viewers everywhere are told so, and its own connections are closed behind that', async () => {
    const leaving = await startTestApp({
      database,
      upstream: provider,
      config: { redisUrl: redis.url, shutdownMs: 50 },
    });
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three '], hold: { after: 2, until: forever } });
    const client = leaving.connect(world.member.token);
    const stream = client.chatStream(ask('Hello'));
    const { streamId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ seq }) => seq >= 3);
    const other = replicas[0]!.connect(world.member.token).resumeStream(streamId, 1);
    await other.waitFor(({ seq }) => seq >= 3);
    await leaving.stopServer();
    await Promise.all([stream.ended, other.ended]);
    for (const { events } of [stream, other]) {
      expect(textOf(events)).toBe('one two ');
      expect(events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'DEPLOY', seq: 4 });
    }
    expect(await client.closed).toMatchObject({ code: 1001 });
    const later = replicas[1]!.connect(world.member.token).resumeStream(streamId, 2);
    await later.ended;
    expect(later.events.at(-1)).toEqual({ ...other.events.at(-1), fromSeq: 4, seq: 4 });
  }, 30_000);

  it('or is only thought to be dead: its own viewers are given the end that the others were given, and the call ends', async () => {
    const until = gate();
    provider.script('test-chat', { pieces: ['one ', 'two ', 'three '], hold: { after: 2, until } });
    const stream = replicas[0]!.connect(world.member.token).chatStream(ask('Hello'));
    const { streamId, callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ seq }) => seq >= 3);
    const other = replicas[1]!.connect(world.member.token).resumeStream(streamId);
    await other.waitFor(({ seq }) => seq >= 3);
    // As another replica does that has seen the call end as lost.
    const [key] = (await redis.send('KEYS', `*${streamId}}:log`)) as string[];
    const end = {
      kind: 'StreamFailed',
      refusal: {
        kind: 'UpstreamFailed',
        code: 'STREAM_INTERRUPTED',
        message: 'm',
        retryable: false,
        retryAfterMs: null,
        upstream: 'DIRECT',
        attempts: 1,
        callId,
      },
      partial: null,
    };
    await redis.send('XADD', key!, '9-0', 'f', '4', 'o', 'x:other', 'e', JSON.stringify(end), 'x', '1');
    until.open();
    await stream.waitFor(isTerminal);
    await other.waitFor(isTerminal);
    for (const { events } of [stream, other]) {
      expect(textOf(events)).toBe('one two ');
      expect(numbersOf(events)).toBe(9);
      expect(events.at(-1)).toMatchObject({ __typename: 'StreamFailed', refusal: { code: 'STREAM_INTERRUPTED' } });
    }
    await settledRow(database.db, callId);
    await waitFor(() => replicas[0]!.running.find(callId) === null, { what: 'the call to end' });
  }, 30_000);
});
