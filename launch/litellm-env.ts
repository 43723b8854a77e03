import path from 'node:path';
import type { LitellmPaths } from './litellm-paths';

export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Would change which packages Python sees or where pip puts them, or keep it from storing compiled modules, without
 * which a start takes minutes.
 */
const PYTHON_TROUBLE = [
  'PYTHONDONTWRITEBYTECODE',
  'PYTHONHOME',
  'PYTHONPATH',
  'PYTHONSTARTUP',
  'PIP_REQUIRE_VIRTUALENV',
  'PIP_USER',
  'PIP_TARGET',
  'PIP_PREFIX',
  'PIP_NO_COMPILE',
  'VIRTUAL_ENV',
];
/** Ours, not LiteLLM's; or read by LiteLLM with another meaning than the caller's. */
const NOT_FOR_LITELLM = [
  'WEIR_SECRET_KEY',
  'NODE_OPTIONS',
  'DEBUG',
  'DETAILED_DEBUG',
  'DIRECT_URL',
  'DATABASE_URL_READ_REPLICA',
  'WORKER_CONFIG',
  'NUM_WORKERS',
  'PORT',
  'HOST',
  'REDIS_URL',
];
const LOCAL = 'localhost,127.0.0.1,::1';

/** For Python's own tools. The virtual environment's programs and this Node go first on the PATH. */
export function pythonEnv(env: Env, paths: LitellmPaths): Env {
  const found = [path.dirname(paths.python), path.dirname(process.execPath), env.PATH]
    .filter(Boolean)
    .join(path.delimiter);
  return { ...without(env, PYTHON_TROUBLE), PATH: found, PYTHONUNBUFFERED: '1', PIP_DISABLE_PIP_VERSION_CHECK: '1' };
}

/** For whatever loads LiteLLM's database client. */
export function prismaEnv(env: Env, paths: LitellmPaths): Env {
  return {
    ...pythonEnv(env, paths),
    PRISMA_QUERY_ENGINE_BINARY: paths.engine,
    // Never run: our own migration takes its place. Without a file here it would be downloaded.
    PRISMA_SCHEMA_ENGINE_BINARY: paths.engine,
    PRISMA_BINARY_CACHE_DIR: paths.prismaCli,
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
    CHECKPOINT_DISABLE: '1',
  };
}

export interface ServeSecrets {
  databaseUrl: string;
  masterKey: string;
  saltKey: string;
}

/** For the proxy itself. `env` brings the providers' keys. */
export function serveEnv(
  env: Env,
  paths: LitellmPaths,
  configFile: string,
  { databaseUrl, masterKey, saltKey }: ServeSecrets,
): Env {
  return {
    ...without(prismaEnv(env, paths), NOT_FOR_LITELLM),
    CONFIG_FILE_PATH: configFile,
    DATABASE_URL: databaseUrl,
    LITELLM_MASTER_KEY: masterKey,
    LITELLM_SALT_KEY: saltKey,
    // Or it reads every .env file above its folder.
    LITELLM_MODE: 'PRODUCTION',
    // Or each start waits for a download of prices.
    LITELLM_LOCAL_MODEL_COST_MAP: 'True',
    LITELLM_TELEMETRY_DISABLED: 'true',
    DISABLE_SCHEMA_UPDATE: 'true',
    STORE_MODEL_IN_DB: 'True',
    // Only our server talks to it.
    DISABLE_ADMIN_UI: 'True',
    NO_DOCS: 'True',
    NO_REDOC: 'True',
    // A company's HTTP proxy must not be asked for what runs on this machine.
    NO_PROXY: [env.NO_PROXY ?? env.no_proxy, LOCAL].filter(Boolean).join(','),
    no_proxy: [env.no_proxy ?? env.NO_PROXY, LOCAL].filter(Boolean).join(','),
  };
}

const without = (env: Env, names: readonly string[]): Env =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
