import { execFile } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../launch/ports';
import { isAlive } from '../../launch/processes';
import { ROOT, npmStart, processesOf, type Started } from '../support/npm-start';
import { asAdmin, createTestDatabase } from '../support/database';
import { EARLIER_MIGRATIONS } from '../support/earlier-release';
import { LITELLM_HOME, installLitellmOnce } from '../support/litellm-install';
import { SLOW_DEADLINE_MS, waitFor } from '../support/wait';

const run = promisify(execFile);
// The longest of them installs LiteLLM and starts it three times.
jest.setTimeout(1_800_000);

interface Demo {
  graphql: string;
  websocket: string;
  tokens: Record<string, string>;
}

// Nobody but us may enter it, as in a clone that root makes with mktemp -d.
let home: string;
let port: number;
let started: Started[] = [];
beforeEach(async () => {
  home = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-start-'));
  port = await freePort();
});
afterEach(async () => {
  for (const one of started) {
    try {
      one.ctrlC();
    } catch {
      // It has ended already.
    }
    await one.exited;
  }
  started = [];
  await waitFor(() => processesOf(home).length === 0, { what: `nothing of ${home} to run` });
  fs.rmSync(home, { recursive: true, force: true });
});

/** Without LiteLLM, unless the test says otherwise: a few seconds. */
function start(env: Record<string, string> = {}): Started {
  const one = npmStart(home, { PORT: String(port), PYTHON: '/nowhere/python', ...env });
  started.push(one);
  return one;
}
async function startAndWait(env: Record<string, string> = {}): Promise<Started> {
  const one = start(env);
  await one.ready();
  return one;
}
const readDemo = (): Demo => JSON.parse(fs.readFileSync(path.join(home, 'demo.json'), 'utf8')) as Demo;

async function ask(query: string, token: string, url = readDemo().graphql): Promise<any> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query }),
  });
  return ((await response.json()) as { data: any }).data;
}
const modelsOf = async (token: string): Promise<string[]> =>
  (await ask('{ models { items { id } } }', token)).models.items.map(({ id }: { id: string }) => id);
const CHAT =
  'mutation { chat(input: { messages: [{ role: USER, content: "hello" }] }) { __typename ... on ChatReply { answer { content } route { upstream } } } }';

test('an empty folder: it seeds, says what to open, and its commands work; Ctrl-C leaves nothing running and nothing locked', async () => {
  const one = await startAndWait();
  const demo = readDemo();
  expect(Object.keys(demo).sort()).toEqual(['graphql', 'tokens', 'websocket']);
  expect(Object.keys(demo.tokens)).toEqual(['free', 'pro', 'team', 'analyst', 'admin', 'operator']);
  for (const file of ['demo.json', 'secrets.json', 'database-url', 'weir.log'])
    expect(fs.statSync(path.join(home, file)).mode & 0o777).toBe(0o600);
  for (const text of [demo.graphql, demo.websocket, ...Object.values(demo.tokens)])
    expect(one.output()).toContain(text);

  const [free, pro, team] = await Promise.all(['free', 'pro', 'team'].map((plan) => modelsOf(demo.tokens[plan]!)));
  expect(free!.length).toBeGreaterThan(0);
  expect(pro!.length).toBeGreaterThan(free!.length);
  expect(team!.length).toBeGreaterThan(pro!.length);
  expect((await ask('{ viewer { role } }', demo.tokens.operator!)).viewer.role).toBe('OPERATOR');

  const commands = one
    .output()
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^curl |stream\.mjs/.test(line));
  expect(commands).toHaveLength(3);
  const answers = await Promise.all(commands.map((command) => run('bash', ['-c', command], { cwd: ROOT })));
  expect(answers[0]!.stdout).toContain(free![0]);
  expect(answers[1]!.stdout).toContain('"__typename":"ChatReply"');
  expect(answers[2]!.stdout).toMatch(/demonstration.*\n\n.* tokens · /s);

  one.ctrlC();
  expect(await one.exited).toBe(0);
  expect(processesOf(home)).toEqual([]);
  expect(fs.existsSync(path.join(home, 'lock.json'))).toBe(false);
  expect(fs.existsSync(path.join(home, 'postgres/data/postmaster.pid'))).toBe(false);
  expect(one.output()).toMatch(
    /stopping the server[\s\S]*stopping the demonstration provider[\s\S]*stopping the database/,
  );
});

test('without Python it goes directly to the demonstration provider and says so, with the remedy, in one line', async () => {
  const one = await startAndWait();
  expect(
    one
      .output()
      .split('\n')
      .filter((line) => /NO LITELLM.*PYTHON=.*Install Python 3\.10/.test(line)),
  ).toHaveLength(1);
  expect((await ask(CHAT, readDemo().tokens.free!)).chat.route.upstream).toBe('DIRECT');
});

test('a second start on the folder says so, with the pid, and ends; the first goes on', async () => {
  const first = await startAndWait();
  const second = start({ PORT: String(await freePort()) });
  expect(await second.exited).toBe(1);
  expect(second.output()).toContain(
    `already runs on ${home} (pid ${first.serverPid()}, serving ${readDemo().graphql})`,
  );
  expect(await modelsOf(readDemo().tokens.free!)).not.toEqual([]);
});

test('after kill -9 the next start takes up what is left, and the tokens are the same', async () => {
  const first = await startAndWait();
  const before = readDemo();
  first.kill9();
  await first.exited;
  expect(processesOf(path.join(home, 'postgres'))).not.toEqual([]);

  port = await freePort();
  await startAndWait();
  const after = readDemo();
  expect(after.tokens).toEqual(before.tokens);
  expect(after.graphql).toContain(`:${port}/`);
  expect((await ask(CHAT, after.tokens.pro!)).chat.__typename).toBe('ChatReply');
});

test('a data folder that was cut off in the middle of its making is made anew, and nothing of it is deleted', async () => {
  fs.mkdirSync(path.join(home, 'postgres/data/base'), { recursive: true });
  fs.writeFileSync(path.join(home, 'postgres/data/PG_VERSION'), '18\n');
  fs.writeFileSync(path.join(home, 'postgres/data/postmaster.pid'), '999999\n');
  fs.mkdirSync(path.join(home, 'postgres/data.new'));
  await startAndWait();
  expect(await modelsOf(readDemo().tokens.free!)).not.toEqual([]);
  expect(fs.readdirSync(path.join(home, 'postgres')).filter((name) => name.startsWith('data.broken-'))).toHaveLength(1);
});

test('data of the release before is kept aside: it says so, and the same tokens work on a new database', async () => {
  const first = await startAndWait();
  const before = readDemo();
  await asAdmin(fs.readFileSync(path.join(home, 'database-url'), 'utf8').trim(), EARLIER_MIGRATIONS);
  first.ctrlC();
  await first.exited;

  const second = await startAndWait();
  expect(second.output()).toMatch(
    new RegExp(`data of Weir 0\\.1\\.0[\\s\\S]*${path.join(home, 'postgres.old')}:[\\s\\S]*docs/releases\\.md`),
  );
  expect(fs.existsSync(path.join(home, 'postgres.old/data/PG_VERSION'))).toBe(true);
  expect(readDemo().tokens).toEqual(before.tokens);
  expect((await ask(CHAT, before.tokens.pro!)).chat.__typename).toBe('ChatReply');
});

test('with DATABASE_URL a database of the release before is refused in one sentence, and nothing is moved', async () => {
  const database = await createTestDatabase();
  await database.db.query(EARLIER_MIGRATIONS);
  const one = start({ DATABASE_URL: database.url });
  expect(await one.exited).toBe(1);
  expect(one.output()).toContain('point DATABASE_URL at an empty database');
  expect(one.output()).not.toMatch(/^\s+at /m);
  expect(fs.readdirSync(home).filter((name) => name.startsWith('postgres'))).toEqual([]);
  await database.close();
});

test('a stop in the middle of the start ends what was started by then', async () => {
  const one = start();
  await waitFor(() => fs.existsSync(path.join(home, 'postgres/data/postmaster.pid')), { deadlineMs: SLOW_DEADLINE_MS });
  one.ctrlC();
  expect(await one.exited).toBe(0);
  expect(processesOf(home)).toEqual([]);
  expect(fs.existsSync(path.join(home, 'lock.json'))).toBe(false);
});

test('a port in use: it says which and how to choose another, before it starts anything', async () => {
  const other = net.createServer().listen(port, '127.0.0.1');
  await waitFor(() => other.listening);
  const one = start();
  expect(await one.exited).toBe(1);
  expect(one.output()).toMatch(new RegExp(`Port ${port} on 127\\.0\\.0\\.1 is in use.*PORT=\\d+ npm start`));
  expect(fs.existsSync(path.join(home, 'postgres'))).toBe(false);
  await new Promise((resolve) => other.close(resolve));
});

test('all mistakes of the configuration are said at once, before it starts anything', async () => {
  const one = start({ LOG_LEVEL: 'loud', DATABASE_POOL_SIZE: 'many' });
  expect(await one.exited).toBe(1);
  expect(one.output()).toMatch(/LOG_LEVEL=loud[\s\S]*Example|DATABASE_POOL_SIZE=many/);
  expect(one.output()).toContain('DATABASE_POOL_SIZE=many');
  expect(one.output()).toContain('LOG_LEVEL=loud');
  expect(fs.readdirSync(home)).toEqual([]);
});

test('with DATABASE_URL it starts no database and seeds nothing', async () => {
  const database = await createTestDatabase();
  const one = await startAndWait({ DATABASE_URL: database.url });
  expect(fs.existsSync(path.join(home, 'postgres'))).toBe(false);
  expect(fs.existsSync(path.join(home, 'demo.json'))).toBe(false);
  expect(one.output()).toContain('npm run admin -- create-operator');
  expect(await database.db.query('SELECT id FROM organizations')).toEqual([]);
  one.ctrlC();
  await one.exited;
  await database.close();
});

test('in production it seeds nothing, and wants a secret key', async () => {
  const refused = start({ NODE_ENV: 'production' });
  expect(await refused.exited).toBe(1);
  expect(refused.output()).toContain('WEIR_SECRET_KEY');
  await startAndWait({ NODE_ENV: 'production', WEIR_SECRET_KEY: Buffer.alloc(32, 7).toString('base64') });
  expect(fs.existsSync(path.join(home, 'demo.json'))).toBe(false);
});

test('with Python: a LiteLLM of its own with virtual keys; the second start installs, builds and initialises nothing; Ctrl-C ends it too', async () => {
  // The packages of this clone: they are a matter of minutes and no part of the promise.
  const { paths } = await installLitellmOnce();
  const installedAtMs = fs.statSync(paths.stamp).mtimeMs;
  const withLitellm = { PYTHON: '', LITELLM_HOME };
  const first = await startAndWait(withLitellm);
  const { tokens } = readDemo();
  const { pid } = JSON.parse(fs.readFileSync(path.join(home, 'litellm/litellm.pid'), 'utf8')) as { pid: number };
  expect((await ask(CHAT, tokens.free!)).chat).toMatchObject({
    __typename: 'ChatReply',
    route: { upstream: 'LITELLM' },
  });
  first.ctrlC();
  expect(await first.exited).toBe(0);
  expect(processesOf(home)).toEqual([]);
  expect(isAlive(pid)).toBe(false);

  const second = await startAndWait(withLitellm);
  expect(second.output()).not.toMatch(/installing packages|building/);
  expect(second.output()).toMatch(/✓ LiteLLM: packages/);
  expect(fs.statSync(paths.stamp).mtimeMs).toBe(installedAtMs);
  expect((await ask(CHAT, tokens.free!)).chat.route.upstream).toBe('LITELLM');
  second.kill9();
  await second.exited;
  const third = await startAndWait(withLitellm);
  expect((await ask(CHAT, tokens.free!)).chat.route.upstream).toBe('LITELLM');
  third.ctrlC();
  expect(await third.exited).toBe(0);
});
