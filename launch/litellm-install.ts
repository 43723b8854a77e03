import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { stopStaleGroup } from './child-group';
import { prismaEnv, pythonEnv, type Env } from './litellm-env';
import { LitellmUnavailable, tail } from './litellm-errors';
import { litellmPaths, type LitellmPaths } from './litellm-paths';
import { FolderInUse, takeLock, type Lock } from './lock';
import { findPython } from './python';
import { runProgram } from './run-program';
import { readObject, writePrivate } from './secrets';

export interface InstallOptions {
  /** The folder of what the product keeps; LiteLLM goes into `litellm` in it. */
  home: string;
  repositoryRoot: string;
  env: Env;
  /** What it is doing right now. */
  report: (text: string) => void;
  signal?: AbortSignal;
}
export interface LitellmInstall {
  paths: LitellmPaths;
  /** LiteLLM's own SQL migrations. */
  migrations: string;
  /** False: everything was there. */
  installedNow: boolean;
}

/** Answered by the engine's stand-in without starting Node; the client only wants to hear something. */
const ENGINE_VERSION = '393aa359c9ad4a4bb28630fb5613f9c281cde053';
const LOCK_CHECK_MS = 250;

/**
 * A LiteLLM in a virtual environment, exactly the packages of requirements.lock. About a minute the first time, nothing
 * after it.
 * An installation that was interrupted is made anew. Throws LitellmUnavailable (NO_PYTHON, INSTALL_FAILED).
 */
export async function installLitellm({
  home,
  repositoryRoot,
  env,
  report,
  signal,
}: InstallOptions): Promise<LitellmInstall> {
  const paths = litellmPaths(home, repositoryRoot);
  const whole = readInstall(paths);
  if (whole) return { ...whole, installedNow: false };
  const lock = await waitForLock(paths.folder, report, signal);
  try {
    const meanwhile = readInstall(paths);
    if (meanwhile) return { ...meanwhile, installedNow: false };
    const migrations = await install(paths, env, report, signal);
    return { paths, migrations, installedNow: true };
  } finally {
    lock.release();
  }
}

/** Everything that the result depends on. The folder too: a virtual environment cannot be moved. */
function fingerprint(paths: LitellmPaths): string {
  const hash = createHash('sha256').update(JSON.stringify([paths.venv, process.arch]));
  for (const name of ['requirements.lock', 'prisma/package-lock.json'])
    hash.update(fs.readFileSync(path.join(paths.source, name)));
  return hash.digest('hex');
}

function readInstall(paths: LitellmPaths): Omit<LitellmInstall, 'installedNow'> | null {
  const { fingerprint: of, migrations } = readObject(paths.stamp);
  if (
    of !== fingerprint(paths) ||
    typeof migrations !== 'string' ||
    !fs.existsSync(migrations) ||
    !fs.existsSync(paths.python)
  )
    return null;
  // Made anew each time: Node may have moved, and so may the repository.
  writeEngineScript(paths);
  return { paths, migrations };
}

async function install(
  paths: LitellmPaths,
  env: Env,
  report: (text: string) => void,
  signal?: AbortSignal,
): Promise<string> {
  report('looking for Python');
  const python = await findPython(env, signal);
  fs.rmSync(paths.stamp, { force: true });
  // A pip whose start was killed goes on writing.
  const pidFile = path.join(paths.folder, 'install.pid');
  await stopStaleGroup(pidFile);
  fs.rmSync(paths.venv, { recursive: true, force: true });
  report(`virtual environment with Python ${python.version}`);
  const run = async (
    what: string,
    file: string,
    args: string[],
    programEnv: Env,
    onLine?: (line: string) => void,
    onFailure?: () => void,
  ): Promise<void> => {
    const once = (): ReturnType<typeof runProgram> =>
      runProgram(file, args, { env: programEnv, cwd: paths.folder, signal, onLine, pidFile: onLine && pidFile });
    let { code, output } = await once();
    if (code !== 0 && onFailure) {
      onFailure();
      ({ code, output } = await once());
    }
    // pip lists what the lock has for other systems, at length.
    if (code !== 0)
      throw new LitellmUnavailable(
        'INSTALL_FAILED',
        `${what} failed.`,
        REMEDY,
        tail(output.replace(/^Ignoring .*\n/gm, ''), []),
      );
  };
  await run('python -m venv', python.file, ['-m', 'venv', paths.venv], pythonEnv(env, paths));

  const prismaCli = installPrismaCli(paths, env, run);
  // Looked at below, when pip is ready: until then a failure must not count as unhandled.
  prismaCli.catch(() => undefined);
  const total = fs.readFileSync(paths.lockFile, 'utf8').match(/^[\w.-]+(\[.*\])?==/gm)?.length ?? 0;
  let collected = 0;
  // pip asks again for what it cannot reach, but not for a file that breaks off in the middle. What has come is in its
  // cache.
  const onFailure = (): void => {
    collected = 0;
    report('Python packages: once more');
  };
  const onLine = (line: string): void => {
    if (line.startsWith('Collecting ')) report(`Python packages: ${Math.min(++collected, total)} of about ${total}`);
    if (line.startsWith('Installing collected')) report('Python packages: unpacking');
  };
  const pip = [
    '-m',
    'pip',
    'install',
    '--no-input',
    '--progress-bar',
    'off',
    '--no-deps',
    '--require-hashes',
    '-r',
    paths.lockFile,
  ];
  await run('pip install', paths.python, pip, pythonEnv(env, paths), onLine, onFailure);
  await prismaCli;

  report('database client');
  writeEngineScript(paths);
  const extras = await packageFolder(paths, env, 'litellm_proxy_extras', signal);
  // Prisma makes folders for its engines at home.
  const generateEnv = { ...prismaEnv(env, paths), HOME: paths.folder };
  await run(
    'prisma generate',
    paths.python,
    ['-m', 'prisma', 'generate', '--schema', path.join(extras, 'schema.prisma')],
    generateEnv,
  );
  const migrations = path.join(extras, 'migrations');
  writePrivate(
    paths.stamp,
    `${JSON.stringify({ fingerprint: fingerprint(paths), migrations, python: python.version }, null, 2)}\n`,
  );
  return migrations;
}

const REMEDY =
  'Look at the lines above (network, proxy, disk space); to use an index of your own set PIP_INDEX_URL, then start again.';

/** Beside pip, with hashes, and without its scripts: they would download the engines. */
async function installPrismaCli(
  paths: LitellmPaths,
  env: Env,
  run: (what: string, file: string, args: string[], env: Env) => Promise<void>,
): Promise<void> {
  fs.rmSync(paths.prismaCli, { recursive: true, force: true });
  fs.mkdirSync(paths.prismaCli, { recursive: true });
  for (const name of ['package.json', 'package-lock.json'])
    fs.copyFileSync(path.join(paths.source, 'prisma', name), path.join(paths.prismaCli, name));
  const npm = ['ci', '--prefix', paths.prismaCli, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'];
  const script = env.npm_execpath;
  const [file, args] = script?.endsWith('npm-cli.js') ? [process.execPath, [script, ...npm]] : ['npm', npm];
  await run('npm ci (Prisma)', file, args, pythonEnv(env, paths));
}

async function packageFolder(paths: LitellmPaths, env: Env, name: string, signal?: AbortSignal): Promise<string> {
  const program = `import importlib.util as u; print(u.find_spec("${name}").submodule_search_locations[0])`;
  const { code, output } = await runProgram(paths.python, ['-c', program], { env: pythonEnv(env, paths), signal });
  if (code !== 0)
    throw new LitellmUnavailable('INSTALL_FAILED', `The package ${name} is missing.`, REMEDY, tail(output, []));
  return output.trim().split('\n').at(-1)!;
}

/** The client runs one file and knows no arguments for it; this one names Node and ours by their full paths. */
function writeEngineScript(paths: LitellmPaths): void {
  const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  const script = `#!/bin/sh
if [ "$1" = --version ]; then echo 'query-engine ${ENGINE_VERSION}'; exit 0; fi
exec ${quoted(process.execPath)} ${quoted(path.join(paths.source, 'query-engine.mjs'))} "$@"
`;
  const next = `${paths.engine}.${process.pid}`;
  fs.writeFileSync(next, script, { mode: 0o755 });
  fs.renameSync(next, paths.engine);
}

/** One installation at a time: another one that runs is waited for, the lock of one that died is taken over. */
async function waitForLock(folder: string, report: (text: string) => void, signal?: AbortSignal): Promise<Lock> {
  for (;;) {
    try {
      return await takeLock(folder);
    } catch (error) {
      if (!(error instanceof FolderInUse)) throw error;
      report(`process ${error.holder.pid} is installing it`);
      await wait(LOCK_CHECK_MS, undefined, { signal });
    }
  }
}
