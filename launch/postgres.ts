import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ensureDatabases, resetPasswordStatement, type DatabaseWanted } from './databases.store';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries';
import { stopStalePostgres } from './postgres-stale';
import { freePort } from './ports';
import { findRunAs, type RunAs } from './run-as';

export interface PostgresOptions {
  /** Everything is in here: `data/`, `postgres.log`. Made if missing. */
  folder: string;
  /** Of the superuser `postgres`. */
  password: string;
  /** The password is new although the data may be older: set it before the start. */
  resetPassword?: boolean;
  /** Roles with a database of the same name, made if missing. */
  databases?: readonly DatabaseWanted[];
  /** Further `-c name=value` settings. */
  settings?: readonly string[];
  /** Told what was found and repaired. */
  onNotice?: (text: string) => void;
}

export interface RunningPostgres {
  port: number;
  pid: number;
  /** Of the superuser, database `postgres`. */
  adminUrl: string;
  url(name: string, password: string): string;
  /** Resolves when the process has gone, for whatever reason. */
  exited: Promise<void>;
  /** Fast shutdown: open transactions are rolled back, everything committed is on disk. Safe to repeat. */
  stop(): Promise<void>;
  /** At once; the next start recovers. */
  kill(): void;
}

/** Until recovery after a crash is done; long, since it reads the whole log of changes. */
const READY_MS = 60_000;
const STOP_MS = 10_000;

/**
 * Starts the Postgres of one folder, and repairs first what an earlier run left there: a server without its parent, a
 * stale pid file, half-made data.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const folder = path.resolve(options.folder);
  const binaries = findPostgresBinaries();
  fs.mkdirSync(folder, { recursive: true });
  const data = path.join(folder, 'data');
  await stopStalePostgres(data, options.onNotice);
  setAsideBrokenData(data, options.onNotice);
  const isOld = initialised(data);
  const runAs = isOld ? findRunAs(binaries.initdb, data) : await initialise(folder, data, binaries, options.password);
  if (isOld && options.resetPassword) await resetPassword(binaries, runAs, data, options.password);
  const server = await launchServer(binaries, runAs, data, path.join(folder, 'postgres.log'), options.settings ?? []);
  const running = describe(server, options.password);
  try {
    await ensureDatabases(running.adminUrl, options.databases ?? []);
  } catch (error) {
    await running.stop();
    throw error;
  }
  return running;
}

const initialised = (data: string): boolean =>
  ['PG_VERSION', 'global/pg_control'].every((file) => fs.existsSync(path.join(data, file)));

/**
 * Data that is not whole was never in use (see `initialise`), or somebody removed files: kept, in case that it was the
 * second.
 */
function setAsideBrokenData(data: string, onNotice?: (text: string) => void): void {
  if (!fs.existsSync(data) || initialised(data)) return;
  if (fs.readdirSync(data).length === 0) return fs.rmdirSync(data);
  const aside = `${data}.broken-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
  fs.renameSync(data, aside);
  onNotice?.(`the database folder was not complete; set aside as ${aside}`);
}

/** Made beside its place and renamed when whole, so that a kill in the middle leaves nothing that looks like data. */
async function initialise(folder: string, data: string, binaries: PostgresBinaries, password: string): Promise<RunAs> {
  const fresh = `${data}.new`;
  fs.rmSync(fresh, { recursive: true, force: true });
  fs.mkdirSync(fresh, { mode: 0o700 });
  const runAs = findRunAs(binaries.initdb, fresh);
  const passwordFile = path.join(folder, 'initdb-password');
  fs.rmSync(passwordFile, { force: true });
  fs.writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (runAs.owner) fs.chownSync(passwordFile, runAs.owner.uid, runAs.owner.gid);
  try {
    // The builtin locale is the same on every machine, whatever locales it has.
    const args = [
      '-D',
      fresh,
      '-U',
      'postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
    ];
    const child = spawnAs(runAs, binaries.initdb, args, ['ignore', 'pipe', 'pipe']);
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const failure = await ended(child);
    if (failure)
      throw new Error(
        `The embedded Postgres could not be initialised (${failure}).\n${output.trim()}\n${LIBRARIES_HINT}`,
      );
  } finally {
    fs.rmSync(passwordFile, { force: true });
  }
  fs.renameSync(fresh, data);
  return runAs;
}

const LIBRARIES_HINT =
  'It needs a system with glibc (not Alpine). Where it does not run, set DATABASE_URL to a Postgres of yours.';

async function resetPassword(binaries: PostgresBinaries, runAs: RunAs, data: string, password: string): Promise<void> {
  const child = spawnAs(runAs, binaries.postgres, ['--single', '-D', data, 'postgres'], ['pipe', 'ignore', 'pipe']);
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stdin?.on('error', () => undefined).end(resetPasswordStatement(password));
  const failure = await ended(child);
  if (failure) throw new Error(`The database's password could not be set anew (${failure}): ${output.trim()}`);
}

async function launchServer(
  binaries: PostgresBinaries,
  runAs: RunAs,
  data: string,
  logFile: string,
  settings: readonly string[],
): Promise<{ child: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    // Per run: what went wrong last time is either repaired or said again.
    const log = fs.openSync(logFile, 'w', 0o600);
    const args = [
      '-D',
      data,
      '-p',
      String(port),
      ...['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings].flatMap((setting) => ['-c', setting]),
    ];
    const child = spawnAs(runAs, binaries.postgres, args, ['ignore', log, log]);
    fs.closeSync(log);
    const failure = await Promise.race([ended(child).then((reason) => reason ?? 'ended at once'), ready(data, child)]);
    if (failure === null) return { child, port };
    child.kill('SIGQUIT');
    const said = fs.readFileSync(logFile, 'utf8').trim();
    // Somebody took the port in between, or backends of a killed server are still on their way out.
    if (
      attempt < 10 &&
      /could not bind|could not create any TCP|shared memory block .* still in use|being used by/.test(said)
    ) {
      await wait(500);
      continue;
    }
    throw new Error(
      `The embedded Postgres did not start (${failure}). Its log, ${logFile}, says:\n${said.split('\n').slice(-8).join('\n')}`,
    );
  }
}

/** Null when the server accepts connections: it writes so into its pid file, behind its own pid. */
async function ready(data: string, child: ChildProcess): Promise<string | null> {
  const giveUpAt = Date.now() + READY_MS;
  while (Date.now() < giveUpAt && child.exitCode === null) {
    const lines = readLines(path.join(data, 'postmaster.pid'));
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return null;
    await wait(20);
  }
  return child.exitCode === null ? `not ready after ${READY_MS / 1_000} s` : `exit code ${child.exitCode}`;
}

function readLines(file: string): string[] {
  try {
    return fs.readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** Detached: Ctrl-C in a terminal reaches the whole group, and the database has to be the last to go. */
function spawnAs(
  runAs: RunAs,
  program: string,
  programArgs: readonly string[],
  stdio: ('ignore' | 'pipe' | number)[],
): ChildProcess {
  const [file, args] = runAs.command(program, programArgs);
  // Nothing of ours is its business, PG* variables and secrets least of all.
  const env =
    process.platform === 'win32'
      ? undefined
      : { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/', LC_ALL: 'C', TZ: 'UTC' };
  return spawn(file, args, { cwd: path.dirname(program), uid: runAs.uid, gid: runAs.gid, detached: true, stdio, env });
}

/** Null for exit code 0, else what happened. */
async function ended(child: ChildProcess): Promise<string | null> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    return code === 0 ? null : signal ? `signal ${signal}` : `exit code ${code}`;
  } catch (error) {
    return (error as Error).message;
  }
}

function describe({ child, port }: { child: ChildProcess; port: number }, password: string): RunningPostgres {
  const url = (name: string, secret: string, database = name): string =>
    `postgresql://${name}:${encodeURIComponent(secret)}@127.0.0.1:${port}/${database}`;
  const gone =
    child.exitCode !== null || child.signalCode !== null
      ? Promise.resolve()
      : once(child, 'exit').then(() => undefined);
  return {
    port,
    pid: child.pid!,
    adminUrl: url('postgres', password),
    url: (name, secret) => url(name, secret),
    exited: gone,
    kill: () => void child.kill('SIGQUIT'),
    stop: async () => {
      child.kill('SIGINT');
      const late = setTimeout(() => child.kill('SIGQUIT'), STOP_MS);
      await gone;
      clearTimeout(late);
    },
  };
}
