import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { openDatabase } from '../../src/database/pool';
import { migrate } from '../../src/database/migrate';
import { createUser, createWorld } from '../../test/support/factories';
import { startPostgres } from '../../test/support/postgres';
import { freePort } from '../../launch/ports';
import { printMachine } from './machine';
import { LOAD_CORE, pinSelf, startServer, type ServerProcess } from './processes';

/** bench/dist/bench/lib → the repository. */
const ROOT = path.join(__dirname, '..', '..', '..', '..');
const COMPILED = path.join(__dirname, '..');

const USERS = 50;

export interface Rig {
  upstreamPort: number;
  /** API token of a member, valid at every server of the rig. */
  token: string;
  /** Tokens of many members: one user may hold so many connections only. */
  tokens: string[];
  /** `flags` of Node and environment on top of the usual ones. */
  startWeir(more?: { flags?: string[]; env?: Record<string, string> }): Promise<ServerProcess>;
  startTypical(): Promise<ServerProcess>;
  /** Generator over graphql-ws. */
  startTypicalStreams(): Promise<ServerProcess>;
  startFloor(): Promise<ServerProcess>;
  startRelay(): Promise<ServerProcess>;
  /** One durable commit of one small row, over and over: what no server that keeps its promises can go below. */
  openCommitter(): Promise<{ commit(): Promise<void>; close(): Promise<void> }>;
  /** Settled calls and calls in flight, as the database of the product has them. */
  countCalls(): Promise<{ settled: number; inFlight: number }>;
  close(): Promise<void>;
}

/**
 * Everything that a measurement needs: a Postgres that keeps its promises (fsync on), a stand-in upstream, and servers
 * that are started one at a time on a core of their own. The baselines have a database of their own with the same
 * tables and the same token.
 */
export async function createRig(): Promise<Rig> {
  const main = path.join(ROOT, 'dist', 'src', 'main.js');
  if (!existsSync(main)) throw new Error('dist/src/main.js is missing: npm run build');
  printMachine();
  pinSelf();
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-bench-'));
  const closers: (() => Promise<void> | void)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const postgres = await startPostgres({ durable: true });
    closers.push(() => postgres.stop());
    const tokens = await prepareDatabases(postgres.url);
    const upstreamPort = await freePort();
    const upstream = await startServer({
      script: path.join(COMPILED, 'upstream.js'),
      args: [String(upstreamPort)],
      port: upstreamPort,
      core: LOAD_CORE,
      readyPath: '/v1/models',
      logFile: path.join(folder, 'upstream.log'),
    });
    closers.push(() => upstream.stop());
    const llmBaseUrl = `http://127.0.0.1:${upstreamPort}/v1`;
    // For whoever looks for the cost: a V8 profile of the product. The figures of such a run are not comparable.
    const profile = process.env.BENCH_PROFILE
      ? ['--cpu-prof', `--cpu-prof-dir=${path.resolve(process.env.BENCH_PROFILE)}`]
      : [];
    const start = async (
      script: string,
      readyPath: string,
      makeArgs: (port: number) => string[],
      makeEnv: (port: number) => Record<string, string>,
      flags: string[] = [],
    ): Promise<ServerProcess> => {
      const port = await freePort();
      const server = await startServer({
        script,
        args: makeArgs(port),
        flags: [...(script === main ? profile : []), ...flags],
        port,
        env: makeEnv(port),
        readyPath,
        logFile: path.join(folder, `${path.basename(script)}.log`),
      });
      closers.push(() => server.stop());
      return server;
    };
    return {
      upstreamPort,
      token: tokens[0]!,
      tokens,
      startWeir: (more = {}) =>
        start(
          main,
          '/health/ready',
          () => [],
          (port) => ({
            PORT: String(port),
            DATABASE_URL: postgres.url('weir'),
            LLM_BASE_URL: llmBaseUrl,
            LLM_PROVIDER: 'direct',
            WEIR_SECRET_KEY: randomBytes(32).toString('base64'),
            DATABASE_POOL_SIZE: '10',
            ...more.env,
          }),
          more.flags,
        ),
      startTypical: () =>
        start(
          path.join(COMPILED, 'baselines', 'typical.js'),
          '/',
          (port) => [String(port)],
          () => ({ DATABASE_URL: postgres.url('typical'), LLM_BASE_URL: llmBaseUrl }),
        ),
      startTypicalStreams: () =>
        start(
          path.join(COMPILED, 'baselines', 'typical-streams.js'),
          '/',
          (port) => [String(port)],
          () => ({ DATABASE_URL: postgres.url('typical'), LLM_BASE_URL: llmBaseUrl }),
        ),
      startRelay: () =>
        start(
          path.join(COMPILED, 'baselines', 'tcp-relay.js'),
          '/v1/models',
          (port) => [String(port), String(upstreamPort)],
          () => ({}),
        ),
      startFloor: () =>
        start(
          path.join(COMPILED, 'baselines', 'http-floor.js'),
          '/v1/models',
          (port) => [String(port), String(upstreamPort)],
          () => ({}),
        ),
      openCommitter: () => openCommitter(postgres.url('typical')),
      countCalls: () => countCalls(postgres.url('weir')),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function prepareDatabases(url: (database: string) => string): Promise<string[]> {
  const admin = new Client({ connectionString: url('postgres') });
  await admin.connect();
  try {
    await admin.query('CREATE DATABASE weir');
    await migrate({ url: url('weir') });
    const db = await openDatabase({ url: url('weir'), poolSize: 2 }, () => {});
    const world = await createWorld(db, { name: 'Bench' });
    const tokens = [world.member.token];
    while (tokens.length < USERS)
      tokens.push((await createUser(db, { organizationId: world.organizationId, planId: world.planId })).token);
    await db.close();
    await admin.query('CREATE DATABASE typical TEMPLATE weir');
    const typical = new Client({ connectionString: url('typical') });
    await typical.connect();
    // The baseline folds no figures.
    await typical.query('ALTER TABLE llm_usage ALTER COLUMN batch_id SET DEFAULT 0');
    await typical.end();
    return tokens;
  } finally {
    await admin.end();
  }
}

async function countCalls(url: string): Promise<{ settled: number; inFlight: number }> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ settled: number; in_flight: number }>(
      `SELECT (SELECT count(*)::int FROM llm_usage WHERE kind = 'CALL') AS settled, (SELECT count(*)::int FROM calls_in_flight) AS in_flight`,
    );
    return { settled: rows[0]!.settled, inFlight: rows[0]!.in_flight };
  } finally {
    await client.end();
  }
}

async function openCommitter(url: string): Promise<{ commit(): Promise<void>; close(): Promise<void> }> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(
    'CREATE TABLE IF NOT EXISTS bench_commits (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)',
  );
  return {
    commit: async () =>
      void (await client.query({
        name: 'commit',
        text: 'INSERT INTO bench_commits (text) VALUES ($1)',
        values: ['a row of about the size of a call, with some text in it to make it as long'],
      })),
    close: () => client.end(),
  };
}

/** Runs a measurement with a rig and leaves nothing behind, however it ends. */
export async function withRig(measure: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = await createRig();
  let stray!: (error: unknown) => void;
  const failed = new Promise<never>((_, reject) => (stray = reject));
  process.on('unhandledRejection', stray).on('uncaughtException', stray);
  process.on('SIGINT', () => stray(new Error('interrupted'))).on('SIGTERM', () => stray(new Error('ended')));
  try {
    await Promise.race([measure(rig), failed]);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await rig.close();
    process.exit();
  }
}
