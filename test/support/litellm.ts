import { randomBytes, randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLitellm, type RunningLitellm } from '../../launch/litellm';
import { litellmConfig, writeLitellmConfig, type LitellmConfig } from '../../launch/litellm-config';
import { whyNotPort } from '../../launch/ports';
import { asAdmin, databaseUrl } from './database';
import { installLitellmOnce } from './litellm-install';
import { FALLBACKS, litellmModels, RETRIES } from './litellm-models';
import { startProvider, type FakeProvider } from './provider';
import { SLOW_DEADLINE_MS, waitFor } from './wait';

/** Milliseconds. Eight seconds on an idle machine, the first time half a minute. */
const READY_WITHIN_MS = 600_000;
const HOST = '127.0.0.1';

export interface ProxyAnswer {
  status: number;
  headers: Headers;
  body: any;
  text: string;
}
export interface AskOptions {
  /** Behind `Bearer`. Default: the master key; null: none. */
  key?: string | null;
  /** With one it is a POST. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface TestLitellm {
  /** Without `/v1`. It stays the same when the proxy is started again. */
  baseUrl: string;
  masterKey: string;
  saltKey: string;
  /** LiteLLM's own database. */
  databaseUrl: string;
  provider: FakeProvider;
  ask(path: string, options?: AskOptions): Promise<ProxyAnswer>;
  /** A chat completion with one short question. */
  complete(
    model: string,
    options?: AskOptions & { stream?: boolean; more?: Record<string, unknown> },
  ): Promise<ProxyAnswer>;
  /** The rows that the proxy wrote for a call of ours, by our call id; waits for the first one. */
  spendRows(callId: string): Promise<any[]>;
  /** SIGKILL, to the proxy and all that it started. */
  kill(): Promise<void>;
  /** After `kill`, on the same port. */
  startAgain(change?: (config: LitellmConfig) => LitellmConfig): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A real LiteLLM on a database of its own, with the fake provider behind it. Fails with the remedy where Python is
 * missing, and with the last lines of LiteLLM's own output where it does not start. Some 8 s. It ends with the process
 * that started it, whatever happens.
 */
export async function startTestLitellm(): Promise<TestLitellm> {
  const serverUrl = process.env.WEIR_TEST_PG;
  if (!serverUrl)
    throw new Error(
      'WEIR_TEST_PG is not set: this test needs the Postgres of test/global-setup.ts (npx jest --selectProjects e2e)',
    );
  const closers: (() => Promise<unknown> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const install = await installLitellmOnce();
    // Not the files of a product that runs from this clone: its LiteLLM would be taken for one left behind.
    const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-litellm-'));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const paths = {
      ...install.paths,
      folder,
      log: path.join(folder, 'litellm.log'),
      pidFile: path.join(folder, 'litellm.pid'),
      config: path.join(folder, 'config.yaml'),
    };

    const name = `weir_litellm_${randomBytes(6).toString('hex')}`;
    await asAdmin(serverUrl, `CREATE DATABASE ${name}`);
    closers.push(() => asAdmin(serverUrl, `DROP DATABASE ${name} WITH (FORCE)`));
    const provider = await startProvider({ models: [] });
    closers.push(() => provider.close());

    const masterKey = `sk-master-${randomBytes(12).toString('hex')}`;
    const saltKey = `sk-salt-${randomBytes(12).toString('hex')}`;
    const base = litellmConfig({ env: {}, demo: litellmModels(provider.url), spendWriteSeconds: 1 });
    const config: LitellmConfig = {
      ...base,
      litellm_settings: { ...(base.litellm_settings as object), num_retries: RETRIES },
      router_settings: { ...(base.router_settings as object), num_retries: RETRIES, ...FALLBACKS },
    };
    const url = databaseUrl(serverUrl, name);
    const start = (changed: LitellmConfig, port: number): Promise<RunningLitellm> => {
      writeLitellmConfig(paths.config, changed);
      // Nothing of the developer's own: a provider's key would be used.
      const { PATH, HOME } = process.env;
      return startLitellm({
        install: { ...install, paths },
        port,
        readyWithinMs: READY_WITHIN_MS,
        configFile: paths.config,
        env: { PATH, HOME },
        report: () => {},
        databaseUrl: url,
        masterKey,
        saltKey,
      });
    };
    // Once more, elsewhere: whether each start succeeds is for start.test.ts to say.
    let running = await start(config, await quietPort()).catch(async (first: Error) =>
      start(config, await quietPort()).catch((second: Error) => {
        throw new Error(`${second.message}\nThe first try: ${first.message}`, { cause: second });
      }),
    );
    closers.push(() => running.stop());
    const { baseUrl } = running;
    const ask = (target: string, options?: AskOptions): Promise<ProxyAnswer> =>
      askProxy(`${baseUrl}${target}`, masterKey, options);
    return {
      baseUrl,
      masterKey,
      saltKey,
      provider,
      ask,
      stop,
      databaseUrl: url,
      complete: (model, { stream, more, ...options } = {}) =>
        ask('/v1/chat/completions', {
          ...options,
          body: {
            model,
            max_tokens: 50,
            messages: [{ role: 'user', content: 'Say hello' }],
            ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
            ...more,
          },
        }),
      spendRows: (callId) =>
        waitFor(
          async () => {
            const { body } = await ask(`/spend/logs?request_id=${callId}`);
            if (Array.isArray(body) && body.length > 0) return body as any[];
            await sleep(300);
            return null;
          },
          { deadlineMs: SLOW_DEADLINE_MS, what: `the spend row of ${callId}` },
        ),
      kill: async () => {
        running.kill();
        await running.exited;
      },
      startAgain: async (change = (same) => same) => {
        running = await start(change(config), Number(new URL(baseUrl).port));
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * A free port that no connection is given while the proxy starts, or between its death and its next start: systems take
 * those from 32768 on
 * (Linux) or 49152 on (others), and the tests beside this one open hundreds.
 */
async function quietPort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    if (!(await whyNotPort(port, HOST))) return port;
  }
}

async function askProxy(
  url: string,
  masterKey: string,
  { key = masterKey, body, headers, signal }: AskOptions = {},
): Promise<ProxyAnswer> {
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: readJson(text), text };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The events of a stream as they came: objects, and `[DONE]` as a text. */
export const framesOf = (text: string): any[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => (line === 'data: [DONE]' ? '[DONE]' : readJson(line.slice(6))));
