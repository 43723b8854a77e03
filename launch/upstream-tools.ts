import { createHash } from 'node:crypto';
import type { LaunchDatabase } from './database';
import { ensureDatabases } from './databases.store';
import { startDemo, type RunningDemo } from './demo-provider';
import { KeepRunning } from './keep-running';
import { probeLitellm, startLitellm, stopStaleLitellm, type RunningLitellm } from './litellm';
import { demoModels, litellmConfig, providersWithKey, writeLitellmConfig } from './litellm-config';
import { installLitellm, type LitellmInstall } from './litellm-install';
import { litellmPaths } from './litellm-paths';
import type { Progress } from './progress';
import type { HomeSecrets } from './secrets';
import type { Shutdown } from './shutdown';
import { StoppedMeanwhile, type Env, type UpstreamTools } from './upstream';

export interface ToolsOptions {
  env: Env;
  root: string;
  home: string;
  secrets: HomeSecrets;
  /** Not waited for before it is needed: packages are installed beside its start. */
  database: Promise<LaunchDatabase>;
  progress: Progress;
  shutdown: Shutdown;
}

/** The real parts of the search for an upstream. */
export function upstreamTools(options: ToolsOptions): UpstreamTools {
  return {
    probe: probeLitellm,
    startDemoProvider: async () => ({ baseUrl: `${await demoProvider(options)}/v1` }),
    startOwnLitellm: async () => {
      try {
        return await ownLitellm(options);
      } catch (error) {
        if (options.shutdown.signal.aborted) throw new StoppedMeanwhile();
        throw error;
      }
    },
  };
}

async function ownLitellm(options: ToolsOptions): Promise<{ baseUrl: string; masterKey: string; detail: string }> {
  const { env, root, home, secrets, database, progress, shutdown } = options;
  const { signal } = shutdown;
  await stopStaleLitellm(home);
  const installed = await progress.step('LiteLLM: packages', (step) =>
    installLitellm({ home: env.LITELLM_HOME?.trim() || home, repositoryRoot: root, env, report: step.note, signal }),
  );
  // Several folders may share one installation; what runs belongs to this folder.
  const { folder, log, pidFile, config: configFile } = litellmPaths(home, root);
  const install: LitellmInstall = {
    ...installed,
    paths: { ...installed.paths, folder, log, pidFile, config: configFile },
  };
  const providers = providersWithKey(env);
  const demo = providers.length > 0 ? [] : demoModels(root, await demoProvider(options));
  writeLitellmConfig(configFile, litellmConfig({ env, demo }));
  const databaseUrl = await litellmDatabase(await database, options);
  const masterKey = env.LITELLM_MASTER_KEY?.trim() || secrets.litellmMasterKey;
  const running = await startOwn(options, install, { configFile, databaseUrl, masterKey });
  const detail =
    providers.length > 0
      ? `with ${providers.map((key) => key.replace(/_API_KEY$/, '')).join(', ')}`
      : "with the demonstration provider behind it (set OPENAI_API_KEY or another provider's key for real models)";
  return { baseUrl: running.baseUrl, masterKey, detail };
}

async function startOwn(
  { env, secrets, progress, shutdown }: ToolsOptions,
  install: LitellmInstall,
  parts: { configFile: string; databaseUrl: string; masterKey: string },
): Promise<RunningLitellm> {
  const { signal } = shutdown;
  const kept = new KeepRunning<RunningLitellm>({
    title: 'LiteLLM',
    start: (before) =>
      progress.step(before ? 'LiteLLM: start again' : 'LiteLLM: start', (step) =>
        startLitellm({
          ...parts,
          install,
          port: portOf(before?.baseUrl),
          env,
          saltKey: secrets.litellmSaltKey,
          report: step.note,
          signal,
        }),
      ),
    say: progress.line,
    hint: ({ log }) => `its log is ${log}; calls are refused`,
    signal,
  });
  shutdown.add('litellm', { title: 'LiteLLM', stop: () => kept.stop(), kill: () => kept.kill() });
  return kept.first;
}

async function demoProvider({ env, root, home, progress, shutdown }: ToolsOptions): Promise<string> {
  const { signal } = shutdown;
  if (signal.aborted) throw new StoppedMeanwhile();
  const kept = new KeepRunning<RunningDemo>({
    title: 'The demonstration provider',
    start: (before) =>
      progress.step(before ? 'demonstration provider: start again' : 'demonstration provider', () =>
        startDemo({ home, repositoryRoot: root, port: portOf(before?.url), env, signal }),
      ),
    say: progress.line,
    hint: ({ log }) => `its log is ${log}; calls of its models fail`,
    signal,
  });
  shutdown.add('demo', { title: 'the demonstration provider', stop: () => kept.stop(), kill: () => kept.kill() });
  return (await kept.first).url;
}

/** The same again for a program that others know by its address; 0: any. */
const portOf = (url: string | undefined): number => (url === undefined ? 0 : Number(new URL(url).port));

/** In the same Postgres, under a role of its own; in somebody else's Postgres only where that may be made. */
async function litellmDatabase({ url, litellmUrl }: LaunchDatabase, { env, secrets }: ToolsOptions): Promise<string> {
  const given = litellmUrl ?? env.LITELLM_DATABASE_URL?.trim();
  if (given) return given;
  const password = secrets.litellmDatabasePassword;
  // Two folders may share one Postgres, and must not change each other's passwords.
  const name = `weir_litellm_${createHash('sha256').update(password).digest('hex').slice(0, 6)}`;
  try {
    await ensureDatabases(url, [{ name, password }]);
  } catch (error) {
    throw new Error(
      `LiteLLM needs a database of its own, and the role of DATABASE_URL may not make one (${(error as Error).message}). Set LITELLM_DATABASE_URL to an empty database.`,
    );
  }
  const own = new URL(url);
  own.username = name;
  own.password = password;
  own.pathname = `/${name}`;
  return own.toString();
}
