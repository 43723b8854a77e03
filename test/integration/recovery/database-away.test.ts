import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startTestApp, type TestApp } from '../../support/app';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { startProvider, type FakeProvider } from '../../support/provider';
import { gate } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { TcpFront } from '../../support/tcp-front';
import { settledRow, settledRows } from '../../support/usage-rows';
import { eventually, waitFor, within } from '../../support/wait';

/** Milliseconds after the provider's answer: three for the database, the rest for a busy machine. */
const ANSWERED_MS = 6_000;

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
  home = mkdtempSync(path.join(tmpdir(), 'weir-away-'));
  app = await start();
});
afterEach(async () => {
  front.away = false;
  await Promise.allSettled([app.stop()]);
  await front.stop();
  await provider.close();
  await database.close();
  rmSync(home, { recursive: true, force: true });
});
const start = (): Promise<TestApp> =>
  startTestApp({ database: { url: front.url }, upstream: provider, config: { home } });
const files = (): string[] =>
  existsSync(path.join(home, 'journal'))
    ? (readdirSync(path.join(home, 'journal'), { recursive: true }) as string[]).filter((name) => name.includes('.'))
    : [];

const asked = (): number => provider.requests.filter((request) => request.path === '/v1/chat/completions').length;

/** A call that the provider has in hand when the database goes away. */
async function callWhileDatabaseGoes(): Promise<{ reply: ReturnType<TestApp['chat']>; answer(): void }> {
  const held = gate();
  provider.script('test-chat', { pieces: ['paid ', 'for'], holdHead: held });
  const reply = app.chat(world.member.token, ask('Go on'));
  await waitFor(() => asked() > 0);
  front.away = true;
  return { reply, answer: held.open };
}

describe('a database that goes away while the provider is paid', () => {
  it('costs the caller no answer, refuses new calls, and gets the row when it is back', async () => {
    const { reply, answer } = await callWhileDatabaseGoes();
    answer();
    const { data } = await within(reply, ANSWERED_MS, 'the answer');
    expect(data!.chat).toMatchObject({
      __typename: 'ChatReply',
      answer: { content: 'paid for' },
      call: { status: 'COMPLETED' },
    });
    expect(files()).toEqual([expect.stringMatching(/\.journal$/)]);

    const refused = await eventually(app.chat(world.member.token, ask('And now?')), 'a refusal');
    expect(refused.errors![0]!.extensions).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      retryAfterMs: expect.any(Number),
    });
    expect(asked()).toBe(1);

    front.away = false;
    expect(await settledRow(database.db, data!.chat.call.id)).toMatchObject({
      status: 'COMPLETED',
      usage_source: 'PROVIDER',
      prompt_tokens: 11,
    });
    await waitFor(() => files().length === 0);
    expect(await settledRows(database.db)).toHaveLength(1);
  });

  it('and a server that is stopped then: the next one settles the call when it starts', async () => {
    const { reply, answer } = await callWhileDatabaseGoes();
    answer();
    const { data } = await within(reply, ANSWERED_MS, 'the answer');
    // The end is on the disk: nothing is lost, and the program ends well.
    await app.stop();
    expect(files()).toHaveLength(1);
    front.away = false;
    app = await start();
    // Before the doors are open.
    expect([await database.db.query('SELECT FROM calls_in_flight'), files()]).toEqual([[], []]);
    expect(await settledRow(database.db, data!.chat.call.id)).toMatchObject({
      status: 'COMPLETED',
      usage_source: 'PROVIDER',
    });
  });

  it('with a journal that cannot be written either: the caller is told, and the call is booked when the database is back', async () => {
    rmSync(path.join(home, 'journal'), { recursive: true });
    writeFileSync(path.join(home, 'journal'), 'a file');
    const { reply, answer } = await callWhileDatabaseGoes();
    answer();
    const { errors } = await within(reply, ANSWERED_MS, 'the refusal');
    expect(errors![0]!.extensions).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    front.away = false;
    expect(await settledRows(database.db)).toEqual([
      expect.objectContaining({ status: 'COMPLETED', usage_source: 'PROVIDER' }),
    ]);
  });
});
