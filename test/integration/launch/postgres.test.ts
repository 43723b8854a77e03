import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { isAlive } from '../../../launch/processes';
import { startPostgres, type PostgresOptions, type RunningPostgres } from '../../../launch/postgres';
import { findRunAs } from '../../../launch/run-as';

let folder: string;
const running: RunningPostgres[] = [];
beforeEach(() => (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-launch-pg-'))));
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
  fs.rmSync(folder, { recursive: true });
});

const DATABASES = [
  { name: 'weir', password: "it's/odd@" },
  { name: 'litellm', password: 'b' },
];
async function start(more: Partial<PostgresOptions> = {}): Promise<RunningPostgres> {
  const server = await startPostgres({ folder, password: 'secret', databases: DATABASES, ...more });
  running.push(server);
  return server;
}
async function query(url: string, sql: string): Promise<any[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('one that runs', () => {
  let shared: string;
  let server: RunningPostgres;
  beforeAll(async () => {
    shared = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-launch-pg-'));
    server = await startPostgres({ folder: shared, password: 'secret', databases: DATABASES });
  });
  afterAll(async () => {
    await server?.stop();
    fs.rmSync(shared, { recursive: true });
  });

  test('has its own database for each role, which cannot enter the other one', async () => {
    expect(await query(server.url('weir', "it's/odd@"), 'SELECT current_user AS name')).toEqual([{ name: 'weir' }]);
    const other = Object.assign(new URL(server.url('weir', "it's/odd@")), { pathname: '/litellm' }).toString();
    await expect(query(other, 'SELECT 1')).rejects.toThrow('permission denied for database');
  });

  test('keeps on disk what a commit promised: fsync and synchronous_commit are on', async () => {
    const settings = await query(
      server.adminUrl,
      "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') ORDER BY name",
    );
    expect(settings.map(({ setting }) => setting)).toEqual(['on', 'on', 'on']);
  });

  test('can be reached from this machine only, and with a password only', async () => {
    expect(await query(server.adminUrl, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    await expect(query(server.url('weir', 'wrong'), 'SELECT 1')).rejects.toThrow('password authentication failed');
  });
});

test('a server whose parent was killed is stopped by the next start, which finds its data', async () => {
  const orphan = await start();
  await query(orphan.url('weir', "it's/odd@"), 'CREATE TABLE kept AS SELECT 42 AS answer');
  const notices: string[] = [];
  const next = await start({ onNotice: (text) => notices.push(text) });
  expect(isAlive(orphan.pid)).toBe(false);
  expect(notices).toEqual([expect.stringContaining(`pid ${orphan.pid}`)]);
  expect(await query(next.url('weir', "it's/odd@"), 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test('after kill -9 of the database itself the next start recovers', async () => {
  const server = await start();
  await query(server.url('weir', "it's/odd@"), 'CREATE TABLE kept AS SELECT 42 AS answer');
  process.kill(server.pid, 'SIGKILL');
  await server.exited;
  const next = await start();
  expect(await query(next.url('weir', "it's/odd@"), 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test('a pid file that names a living stranger does not stand in the way, and the stranger lives on', async () => {
  await (await start()).stop();
  fs.writeFileSync(
    path.join(folder, 'data/postmaster.pid'),
    `${process.pid}\n${path.join(folder, 'data')}\n0\n5432\n\n\n0\n`,
  );
  await start();
});

test('passwords that were lost are set anew, without loss of data', async () => {
  const server = await start();
  await query(server.url('weir', "it's/odd@"), 'CREATE TABLE kept AS SELECT 42 AS answer');
  await server.stop();
  const next = await start({
    password: "new'one",
    resetPassword: true,
    databases: [{ name: 'weir', password: 'new' }],
  });
  expect(await query(next.url('weir', 'new'), 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test('as root, in a folder that nobody else may enter, it runs as somebody else, and the folder keeps its mode', async () => {
  fs.chmodSync(folder, 0o700);
  const server = await start();
  expect(fs.statSync(folder).mode & 0o777).toBe(0o700);
  if (process.getuid?.() !== 0) return;
  expect(findRunAs(process.execPath, path.join(folder, 'data')).name).not.toBe('self');
  if (process.platform === 'linux')
    expect(/^Uid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]).not.toBe('0');
});
