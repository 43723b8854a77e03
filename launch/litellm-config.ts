import fs from 'node:fs';
import path from 'node:path';
import { PROVIDERS } from './litellm-providers';
import { writePrivate } from './secrets';
import { toYaml, type YamlValue } from './yaml';

/**
 * One deployment. `model_info.id` is ours, so that it stays the same when the demonstration provider's port changes.
 */
export interface LitellmModel {
  model_name: string;
  litellm_params: { [name: string]: YamlValue };
  model_info: { id: string; [name: string]: YamlValue };
}
export interface LitellmConfig {
  model_list: LitellmModel[];
  [section: string]: YamlValue | LitellmModel[];
}
export interface ConfigOptions {
  /** Name of a provider's variable to its key. */
  env: Readonly<Record<string, string | undefined>>;
  /** The demonstration provider's models; used when no provider has a key. */
  demo: LitellmModel[];
  /** Seconds between writes of spend rows. LiteLLM adds a few of its own. */
  spendWriteSeconds?: number;
  /**
   * A Redis (REDIS_HOST, REDIS_PORT, REDIS_PASSWORD) for what several proxies have to know of each other: keys and
   * limits.
   */
  redis?: boolean;
}

/** LiteLLM waits between tries, and as long as a provider asks: with two, a refusal took up to 22 s to come. */
const RETRIES = 1;
/** Longer than Weir's own deadline for a whole call, which is the one that counts. */
const REQUEST_TIMEOUT_SECONDS = 900;

const REDIS = { host: 'os.environ/REDIS_HOST', port: 'os.environ/REDIS_PORT', password: 'os.environ/REDIS_PASSWORD' };

/** The variables of providers that have a key. */
export const providersWithKey = (env: ConfigOptions['env']): string[] =>
  PROVIDERS.filter(({ key }) => env[key]?.trim()).map(({ key }) => key);

export function litellmConfig({ env, demo, spendWriteSeconds = 10, redis = false }: ConfigOptions): LitellmConfig {
  const keys = new Set(providersWithKey(env));
  return {
    model_list: keys.size > 0 ? providerModels(keys) : demo,
    litellm_settings: {
      // A parameter that a model does not take is left out instead of refused: one API for all models.
      drop_params: true,
      num_retries: RETRIES,
      request_timeout: REQUEST_TIMEOUT_SECONDS,
      turn_off_message_logging: true,
      // Answers are never taken from a cache: the same question twice is two calls.
      ...(redis && { cache: true, cache_params: { type: 'redis', mode: 'default_off', ...REDIS } }),
    },
    router_settings: {
      num_retries: RETRIES,
      // With one deployment per model, a cooldown after a single failure would refuse everybody's calls for seconds.
      disable_cooldowns: true,
      ...(redis && { redis_host: REDIS.host, redis_port: REDIS.port, redis_password: REDIS.password }),
    },
    general_settings: {
      master_key: 'os.environ/LITELLM_MASTER_KEY',
      database_url: 'os.environ/DATABASE_URL',
      database_connection_pool_limit: 10,
      store_model_in_db: true,
      proxy_batch_write_at: spendWriteSeconds,
      // Without it a call that is ended before its first byte keeps the provider working, and leaves no spend row.
      cancel_on_disconnect: true,
    },
  };
}

function providerModels(keys: ReadonlySet<string>): LitellmModel[] {
  const used = PROVIDERS.filter(({ key }) => keys.has(key));
  return used.flatMap(({ key, name, models }) =>
    models.map((model) => ({
      model_name: model,
      litellm_params: { model: `${name}/${model}`, api_key: `os.environ/${key}` },
      model_info: { id: `${name}/${model}` },
    })),
  );
}

/** The demonstration provider's models at `url` (without /v1), with their prices in dollars per token. */
export function demoModels(repositoryRoot: string, url: string): LitellmModel[] {
  const file = path.join(repositoryRoot, 'litellm', 'demo', 'models.json');
  const models = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, Record<string, YamlValue>>;
  return Object.entries(models).map(([id, info]) => ({
    model_name: id,
    litellm_params: {
      model: `openai/${id}`,
      api_base: `${url}/v1`,
      api_key: 'demonstration',
      // LiteLLM does not know these models and would drop the parameter.
      ...(info.supports_reasoning === true && { allowed_openai_params: ['reasoning_effort'] }),
    },
    model_info: { id, ...info },
  }));
}

/** Writes the file that `startLitellm` takes; readable by its owner only, though keys are named in it, not written. */
export function writeLitellmConfig(file: string, config: LitellmConfig): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  writePrivate(file, `# Made at each start of Weir; changes are lost.\n${toYaml(config as unknown as YamlValue)}`);
}
