import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { createApp, VERSION } from '../src/app';
import { ConfigError, readConfig, type Config } from '../src/config';
import { migrate } from '../src/database/migrate';
import { bannerLines } from './banner';
import { readAddress, refuseTakenPort } from './address';
import { openEmbedded, waitForDatabase, type LaunchDatabase } from './database';
import { FolderInUse, takeLock } from './lock';
import { launchLogger } from './log-file';
import { createProgress, type Progress, type Terminal } from './progress';
import { demoFileOf, seedDemo, writeDemo, type Demo } from './seed';
import { readSeedModels } from './seed-models';
import { ensureSecrets, writePrivate } from './secrets';
import { Shutdown } from './shutdown';
import { findUpstream, StoppedMeanwhile, type Env, type FoundUpstream } from './upstream';
import { upstreamTools } from './upstream-tools';

export interface LaunchOptions {
  env: Env;
  /** Of the repository. */
  root: string;
  terminal: Terminal;
  /** Milliseconds of `performance.now()` when the command was given. */
  startedAt: number;
  exit(code: number): void;
}

/**
 * Everything behind `npm start`: database, upstream, seed, server. Resolves when it serves, or when it has given up and
 * told why.
 */
export async function launch(options: LaunchOptions): Promise<void> {
  const progress = createProgress(options.terminal);
  const shutdown = new Shutdown({ progress, exit: options.exit });
  shutdown.listen();
  try {
    await start(options, progress, shutdown);
  } catch (error) {
    // A program that was in the foreground may have ended by the same Ctrl-C, and be noticed first.
    await setImmediate();
    if (error instanceof StoppedMeanwhile || shutdown.signal.aborted) return;
    progress.line(`\n${reasonOf(error)}`);
    await shutdown.stop(1);
  }
}

async function start(options: LaunchOptions, progress: Progress, shutdown: Shutdown): Promise<void> {
  const { root } = options;
  const home = path.resolve(options.env.WEIR_HOME?.trim() || path.join(root, '.weir'));
  const env: Env = { ...options.env, WEIR_HOME: home };
  checkConfig(env);
  const lock = await takeLock(home);
  shutdown.add('lock', { title: 'lock', stop: async () => lock.release() });
  await refuseTakenPort(readAddress(env));

  const production = env.NODE_ENV === 'production';
  const { secrets, made } = ensureSecrets(home);
  const external = env.DATABASE_URL?.trim();
  const database = external
    ? waitForDatabase(external, progress)
    : openEmbedded({ home, secrets, resetPassword: made.includes('postgresPassword'), progress, shutdown });
  const migrated = migrateWhenReady(database, progress);
  const upstream = findUpstream(env, upstreamTools({ env, root, home, secrets, database, progress, shutdown }));
  const [{ url: databaseUrl }, found] = await shutdown.unlessStopped(Promise.all([migrated, upstream]));

  const maySeed = !external && !production;
  const tokens = maySeed
    ? await progress.step('demonstration data', async () =>
        seedDemo(home, databaseUrl, await readSeedModels(found.config)),
      )
    : null;
  const config: Config = {
    ...readConfig({
      ...env,
      ...stated(found),
      DATABASE_URL: databaseUrl,
      WEIR_SECRET_KEY: env.WEIR_SECRET_KEY || (production ? '' : secrets.secretKey),
    }),
    upstream: found.config,
    demoFile: tokens ? demoFileOf(home) : null,
  };
  const served = await serve(config, env, home, secrets, progress, shutdown);

  const websocket = served.url.replace(/^http/, 'ws');
  const demo: Demo | null = tokens ? { graphql: served.url, websocket, tokens } : null;
  if (demo) writeDemo(home, demo);
  // For psql and npm run admin; the port of the embedded Postgres is another one at each start.
  writePrivate(path.join(home, 'database-url'), `${databaseUrl}\n`);
  lock.announce(served.url);
  const usual = path.join(root, '.weir');
  const lines = bannerLines({
    version: VERSION,
    url: served.url,
    websocket,
    demo,
    demoFile: path.relative(process.cwd(), demoFileOf(home)),
    databaseUrlFile: path.relative(process.cwd(), path.join(home, 'database-url')),
    upstream: found.description,
    warning: found.warning,
    explorer: config.explorer,
    seconds: (performance.now() - options.startedAt) / 1_000,
    home: home === usual ? null : path.relative(process.cwd(), home) || '.',
    color: options.terminal.isTTY === true && !env.NO_COLOR,
  });
  progress.line(lines.join('\n'));
}

/** All mistakes at once, before anything is started. What the start itself finds out is filled in for the check. */
function checkConfig(env: Env): void {
  const production = env.NODE_ENV === 'production';
  readConfig({
    ...env,
    DATABASE_URL: env.DATABASE_URL || 'postgresql://127.0.0.1/weir',
    LLM_BASE_URL: env.LLM_BASE_URL || 'http://127.0.0.1:4000',
    WEIR_SECRET_KEY: env.WEIR_SECRET_KEY || (production ? '' : Buffer.alloc(32).toString('base64')),
  });
}

/** What was found, in the words of the configuration. */
const stated = ({ config }: FoundUpstream): Env =>
  config.kind === 'LITELLM'
    ? { LLM_BASE_URL: config.baseUrl, LITELLM_MASTER_KEY: config.masterKey }
    : {
        LLM_BASE_URL: config.baseUrl,
        LITELLM_MASTER_KEY: '',
        LLM_API_KEY: config.apiKey ?? '',
        LLM_PROVIDER: config.provider,
      };

async function migrateWhenReady(database: Promise<LaunchDatabase>, progress: Progress): Promise<LaunchDatabase> {
  const ready = await database;
  await progress.step('database schema', () => migrate({ url: ready.url }));
  return ready;
}

async function serve(
  config: Config,
  env: Env,
  home: string,
  secrets: object,
  progress: Progress,
  shutdown: Shutdown,
): Promise<{ url: string; port: number }> {
  const logger = launchLogger({
    home,
    level: config.logLevel,
    toTerminal: Boolean(env.LOG_LEVEL),
    secrets: Object.values(secrets) as string[],
    line: (text) => progress.line(text),
  });
  const starting = progress.step('server', async () => {
    const app = await createApp(config, logger);
    return { app, address: await app.start() };
  });
  shutdown.add('server', { title: 'the server', stop: async () => (await starting.catch(() => null))?.app.stop() });
  return (await shutdown.unlessStopped(starting)).address;
}

/** For a person: what went wrong, without a stack where the message says it all. */
function reasonOf(error: unknown): string {
  if (error instanceof FolderInUse || error instanceof ConfigError) return error.message;
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  return error.message || code || error.name;
}
