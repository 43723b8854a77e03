import { createApp } from './app';
import { ConfigError, readConfig, type Config } from './config';
import { EarlierRelease } from './database/earlier-release';
import { migrate } from './database/migrate';
import { createLogger, type Logger } from './lib/logger';
import { createRedactor, passwordsOf } from './lib/redact';
import { probe } from './services/upstream/litellm/detect';
import { willNotPass } from './database/postgres-errors';

/**
 * How long start-up waits for Postgres and for the proxy before it gives up on the one and goes on without the other.
 */
const DATABASE_WAIT_MS = 120_000;
const PROXY_WAIT_MS = 60_000;

/** The production entry: reads the configuration, waits for its neighbours, migrates, serves, and ends in order. */
async function main(): Promise<void> {
  const config = readConfig();
  const logger = createLogger({
    level: config.logLevel,
    async: config.env === 'production',
    redactor: createRedactor([
      config.secretKey,
      config.databaseUrl,
      ...passwordsOf(config.databaseUrl),
      secretOf(config),
      config.metrics?.token,
    ]),
  });
  await retry(logger, 'the database', DATABASE_WAIT_MS, () => migrate({ url: config.databaseUrl }));
  const app = await createApp({ ...config, upstream: await settleUpstream(config, logger) }, logger);
  const { url } = await app.start();
  logger.info({ url, upstream: config.upstream.kind }, 'serving');

  let stopping = false;
  const stop = (signal: string): void => {
    // A second signal means now.
    if (stopping) process.exit(1);
    stopping = true;
    logger.info({ signal }, 'stopping');
    app.stop().then(
      () => logger.flush().then(() => process.exit()),
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed');
        void logger.flush().then(() => process.exit(1));
      },
    );
  };
  // A fault that nobody caught: what runs is ended and booked as far as it goes, and whoever watches the process starts
  // a new one.
  process.on('uncaughtException', (error) => {
    logger.error({ err: error }, 'uncaught exception');
    process.exitCode = 1;
    stop('uncaughtException');
  });
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
}

const secretOf = (config: Config): string =>
  config.upstream.kind === 'LITELLM' ? config.upstream.masterKey : (config.upstream.apiKey ?? '');

/**
 * With a master key, what answers must be a LiteLLM: something else there is a direct upstream. One that does not
 * answer yet is served around.
 */
async function settleUpstream(config: Config, logger: Logger): Promise<Config['upstream']> {
  const { upstream } = config;
  if (upstream.kind === 'DIRECT') return upstream;
  for (let waitedMs = 0, waitMs = 250; ; waitedMs += waitMs, waitMs = Math.min(waitMs * 2, 5_000)) {
    const found = await probe(upstream.baseUrl);
    if (found === 'LITELLM') return upstream;
    if (found === 'OTHER' && upstream.otherwise) {
      logger.warn(
        {},
        'LLM_BASE_URL does not answer like a LiteLLM: it is used directly, without virtual keys; LITELLM_MASTER_KEY is not sent to it',
      );
      return upstream.otherwise;
    }
    if (waitedMs >= PROXY_WAIT_MS) {
      logger.warn({}, 'the LiteLLM at LLM_BASE_URL does not answer: serving without it until it does');
      return upstream;
    }
    logger.info({ waitedMs }, 'waiting for the LiteLLM at LLM_BASE_URL');
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** Repeats with growing waits, and says for what it waits. */
async function retry<T>(logger: Logger, what: string, limitMs: number, work: () => Promise<T>): Promise<T> {
  for (let waitedMs = 0, waitMs = 250; ; waitedMs += waitMs, waitMs = Math.min(waitMs * 2, 5_000)) {
    try {
      return await work();
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      if (waitedMs >= limitMs || error instanceof EarlierRelease || willNotPass(error)) throw error;
      logger.warn({ waitedMs, code, reason: message }, `waiting for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}

main().catch((error: unknown) => {
  // Mistakes of the configuration, and a database of another release, are for a person, not for a log collector.
  if (error instanceof ConfigError || error instanceof EarlierRelease) process.stderr.write(`${error.message}\n`);
  else createLogger({ level: 'error' }).error({ err: error }, 'start-up failed');
  process.exitCode = 1;
  setTimeout(() => process.exit(1), 500).unref();
});
