import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createApp, type App } from '../../src/app';
import { readConfig, type Config } from '../../src/config';
import type { Logger } from '../../src/lib/logger';
import type { TestDatabase } from './database';
import { graphql, type GraphqlReply } from './graphql-client';
import type { FakeProvider } from './provider';
import { CHAT, connectWs, type TestWsClient } from './ws-client';

export interface TestAppOptions {
  database: Pick<TestDatabase, 'url'>;
  /** The upstream, in direct mode. */
  upstream: Pick<FakeProvider, 'url'>;
  /** On top of the test configuration; deadlines can be named one by one. */
  config?: Partial<Omit<Config, 'timeouts'>> & { timeouts?: Partial<Config['timeouts']> };
  /** Key that the upstream is called with. */
  apiKey?: string | null;
}

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error';
  bindings: Record<string, unknown>;
  object: unknown;
  message: string | undefined;
}

export interface TestApp extends App {
  url: string;
  port: number;
  websocketUrl: string;
  /** Everything that was logged, before formatting. */
  log: LogLine[];
  graphql<D = any>(
    token: string | null,
    query: string,
    variables?: Record<string, unknown>,
    options?: Parameters<typeof graphql>[4],
  ): Promise<GraphqlReply<D>>;
  chat(token: string, input: Record<string, unknown>): Promise<GraphqlReply<{ chat: any }>>;
  connect(token: string | null): TestWsClient;
  /** Stops the server; `stop` closes this test's clients first. */
  stopServer(): Promise<void>;
}

/** The whole product, doors included, on a port of the system's choice; only the provider is a fake. */
export async function startTestApp(options: TestAppOptions): Promise<TestApp> {
  const { timeouts, ...overrides } = options.config ?? {};
  const home = overrides.home ?? mkdtempSync(path.join(os.tmpdir(), 'weir-test-'));
  const base = readConfig({
    NODE_ENV: 'test',
    DATABASE_URL: options.database.url,
    LLM_BASE_URL: options.upstream.url,
    PORT: '0',
    WEIR_SECRET_KEY: randomBytes(32).toString('base64'),
    // A test that waits for the end of a program has no use for half a minute.
    SHUTDOWN_TIMEOUT_MS: '2000',
    WEIR_HOME: home,
    ...(options.apiKey ? { LLM_API_KEY: options.apiKey } : {}),
  });
  const log: LogLine[] = [];
  const app = await createApp(
    { ...base, ...overrides, timeouts: { ...base.timeouts, ...timeouts } },
    recordingLogger(log),
  );
  const { url, port } = await app.start();
  const clients: TestWsClient[] = [];
  return {
    ...app,
    url,
    port,
    websocketUrl: url.replace(/^http/, 'ws'),
    log,
    graphql: (token, query, variables, extra) => graphql(url, token, query, variables, extra),
    chat: (token, input) => graphql(url, token, CHAT, { input }),
    connect: (token) => {
      const client = connectWs(url, token);
      clients.push(client);
      return client;
    },
    stopServer: () => app.stop(),
    stop: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await app.stop();
      if (!overrides.home) rmSync(home, { recursive: true, force: true });
    },
  };
}

function recordingLogger(log: LogLine[], bindings: Record<string, unknown> = {}): Logger {
  const write =
    (level: LogLine['level']) =>
    (object: unknown, message?: string): void => {
      log.push({ level, bindings, object, message });
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (more: Record<string, unknown>) => recordingLogger(log, { ...bindings, ...more }),
  } as Logger;
}
