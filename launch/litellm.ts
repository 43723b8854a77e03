import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startGroup, stopStaleGroup, type ChildGroup, type ExitStatus } from './child-group';
import { serveEnv, type Env, type ServeSecrets } from './litellm-env';
import { LitellmUnavailable, tail } from './litellm-errors';
import type { LitellmInstall } from './litellm-install';
import { PROVIDERS } from './litellm-providers';
import { freePort, whyNotPort } from './ports';
import { runProgram } from './run-program';

export interface StartLitellmOptions extends ServeSecrets {
  /** What `installLitellm` gave. */
  install: LitellmInstall;
  /** 0: any free one. */
  port: number;
  configFile: string;
  /** Brings the providers' keys. */
  env: Env;
  /** What it is doing right now. */
  report: (text: string) => void;
  /** Milliseconds. Default: three minutes. */
  readyWithinMs?: number;
  signal?: AbortSignal;
}
export interface RunningLitellm {
  /** Without `/v1`. */
  baseUrl: string;
  pid: number;
  log: string;
  exited: Promise<ExitStatus>;
  /** Ends it and its children: asks, and after a time kills. Safe to repeat. */
  stop(): Promise<void>;
  kill(): void;
}

const HOST = '127.0.0.1';
const READY_CHECK_MS = 100;
/** A first start on a slow machine compiles some four thousand modules. */
const READY_WITHIN_MS = 180_000;
const PROBE_MS = 3_000;
/** Of one that is starting: it answers its first requests while it still compiles and connects. */
const FIRST_PROBE_MS = 15_000;

/**
 * Migrates LiteLLM's database, starts LiteLLM on it and waits until it serves. A LiteLLM that an earlier start left
 * behind is ended first.
 * Throws LitellmUnavailable (PORT_IN_USE, DATABASE, START_FAILED) with the last lines of its log.
 */
export async function startLitellm(options: StartLitellmOptions): Promise<RunningLitellm> {
  const { install, configFile, env, report, signal } = options;
  const { paths } = install;
  const secrets = secretsOf(options);
  if (await stopStaleGroup(paths.pidFile)) report('ended the LiteLLM of an earlier start');
  const port = options.port || (await freePort(HOST));
  const taken = await whyNotPort(port, HOST);
  if (taken)
    throw new LitellmUnavailable(
      'PORT_IN_USE',
      `LiteLLM's port ${port} cannot be had (${taken}).`,
      'Choose another one, or 0 for any.',
    );

  report('migrating its database');
  const migration = await runProgram(process.execPath, [path.join(paths.source, 'migrate.mjs'), install.migrations], {
    env: { ...env, NODE_OPTIONS: undefined, DATABASE_URL: options.databaseUrl },
    signal,
  });
  if (migration.code !== 0) {
    throw new LitellmUnavailable(
      'DATABASE',
      "LiteLLM's database could not be migrated.",
      'See the lines below; a database that holds nothing worth keeping can be dropped.',
      tail(migration.output, secrets),
    );
  }

  signal?.throwIfAborted();
  report('starting');
  const group = await startGroup({
    file: paths.python,
    args: [path.join(paths.source, 'serve.py'), '--host', HOST, '--port', String(port), '--stop-with-parent'],
    env: serveEnv(env, paths, configFile, options),
    cwd: paths.folder,
    log: paths.log,
    pidFile: paths.pidFile,
  });
  const baseUrl = `http://${HOST}:${port}`;
  try {
    await untilReady(baseUrl, group, options);
  } catch (error) {
    await group.stop();
    signal?.throwIfAborted();
    const log = tail(fs.readFileSync(paths.log, 'utf8'), secrets);
    throw new LitellmUnavailable(
      'START_FAILED',
      `LiteLLM did not start: ${(error as Error).message}.`,
      `Its log is ${paths.log}; without it, remove ${paths.stamp} and start again to install anew.`,
      log,
    );
  }
  return {
    baseUrl,
    pid: group.pid,
    log: paths.log,
    exited: group.exited,
    stop: () => group.stop(),
    kill: () => group.kill(),
  };
}

/** Ends the LiteLLM that a killed start left behind. True: there was one. */
export const stopStaleLitellm = (home: string): Promise<boolean> =>
  stopStaleGroup(path.resolve(home, 'litellm', 'litellm.pid'));

/** Its database is connected, and it accepts its own master key. */
async function untilReady(
  baseUrl: string,
  group: ChildGroup,
  { masterKey, readyWithinMs = READY_WITHIN_MS, signal }: StartLitellmOptions,
): Promise<void> {
  const giveUpAt = Date.now() + readyWithinMs;
  for (;;) {
    signal?.throwIfAborted();
    const ended = group.ended();
    if (ended) throw new Error(`it ended with ${ended.signal ?? `code ${ended.code}`}`);
    const answer = (await getJson(`${baseUrl}/health/readiness`, FIRST_PROBE_MS)) as { db?: string } | null;
    if (answer?.db === 'connected') {
      const probe = await probeLitellm(baseUrl, masterKey, FIRST_PROBE_MS);
      if (probe === 'ACCEPTED') return;
      if (probe !== 'NO_ANSWER') throw new Error('it does not accept its own master key');
    }
    if (Date.now() > giveUpAt) throw new Error(`it was not ready within ${readyWithinMs / 1_000} s`);
    await wait(READY_CHECK_MS, undefined, { signal });
  }
}

export type LitellmProbe = 'ACCEPTED' | 'KEY_REFUSED' | 'NO_LITELLM' | 'NO_ANSWER';

/** Whether a LiteLLM answers at `baseUrl` (without `/v1`), and takes the key for an administrator's. */
export async function probeLitellm(baseUrl: string, masterKey: string, timeoutMs = PROBE_MS): Promise<LitellmProbe> {
  const alive = await get(`${baseUrl}/health/liveliness`, timeoutMs);
  if (!alive) return 'NO_ANSWER';
  if (!alive.ok || !(await alive.text()).includes("I'm alive!")) return 'NO_LITELLM';
  // Only administrators may list keys.
  const keys = await get(`${baseUrl}/key/list?size=1`, timeoutMs, { authorization: `Bearer ${masterKey}` });
  if (!keys) return 'NO_ANSWER';
  await keys.body?.cancel();
  return keys.ok ? 'ACCEPTED' : 'KEY_REFUSED';
}

async function get(url: string, timeoutMs: number, headers: Record<string, string> = {}): Promise<Response | null> {
  return fetch(url, { headers, signal: AbortSignal.timeout(timeoutMs) }).catch(() => null);
}

async function getJson(url: string, timeoutMs: number): Promise<unknown> {
  const response = await get(url, timeoutMs);
  return response ? response.json().catch(() => null) : null;
}

/** What must not be shown when LiteLLM's own words are. */
function secretsOf({ masterKey, saltKey, databaseUrl, env }: StartLitellmOptions): string[] {
  const keys = PROVIDERS.map(({ key }) => env[key] ?? '');
  const password = new URL(databaseUrl).password;
  return [masterKey, saltKey, password, decodeURIComponent(password), ...keys].filter(Boolean);
}
