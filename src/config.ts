import { isIP } from 'node:net';

/** Everything that can be configured, read from environment variables in one place. */
export interface Config {
  env: 'development' | 'production' | 'test';
  host: string;
  port: number;
  /** Folder of what the product keeps outside the database. */
  home: string;
  databaseUrl: string;
  databasePoolSize: number;
  upstream: UpstreamConfig;
  /** LLM_MODEL_CHAT: the model of a call that names none. */
  defaultModel: string | null;
  /** Model ids that are listed while the upstream has never answered. */
  safeModeModels: string[];
  modelRefreshMs: number;
  timeouts: { connectMs: number; firstByteMs: number; idleMs: number; totalMs: number };
  auth: {
    jwksUrl: string | null;
    issuer: string | null;
    audience: string | null;
    algorithms: string[];
    defaultPlan: string | null;
    defaultOrganization: string | null;
    roleClaim: string | null;
    organizationClaim: string | null;
  };
  /** Base64 of 32 bytes: encrypts virtual keys at rest. */
  secretKey: string;
  /** Allowed browser origins; `*` for all; empty: none but our own. */
  corsOrigins: string[];
  trustedProxies: string[];
  /** Where clients reach this server, without a slash at the end; null: as the request says. */
  publicUrl: string | null;
  /** Bytes. */
  maxBodyBytes: number;
  logLevel: string;
  /** Address and port of `/metrics`, and the bearer token that a scraper has to send; null: metrics are not served. */
  metrics: { host: string; port: number; token: string | null } | null;
  explorer: boolean;
  /** File with the demonstration tokens, read by the explorer in development. */
  demoFile: string | null;
  /**
   * How often a process says that it lives, and how long another one must have seen nothing new of it before it ends
   * its calls; how often it looks for such calls. Milliseconds.
   */
  ledger: { renewMs: number; deadAfterMs: number; lookEveryMs: number };
  /** What a stream may do without viewers, and what is kept of it. Milliseconds, bytes. */
  streams: { graceMs: number; keptMs: number; keptBytes: number; joinMs?: number };
  /** What replicas share beside the database: the logs of streams. null: there is one process. */
  redisUrl: string | null;
  /** Whole months of usage rows that are kept beside the current one; null: all of them. Their figures stay. */
  usageRetentionMonths: number | null;
  /** The hour of the day (UTC) from which on our figures are compared with the proxy's every night; null: never. */
  reconcileAtHour: number | null;
  /**
   * Running calls may go on for so long; telling, booking and closing take a few seconds more, and orchestrators kill
   * after 30.
   */
  shutdownMs: number;
}

/** How the model provider side is reached. */
export type UpstreamConfig =
  /** `baseUrl` without `/v1`. */
  | {
      kind: 'LITELLM';
      baseUrl: string;
      masterKey: string;
      /** What to do when something else answers there. */ otherwise: DirectUpstream | null;
    }
  | DirectUpstream;
/** `baseUrl` as the OpenAI SDK takes it, with `/v1`. */
export interface DirectUpstream {
  kind: 'DIRECT';
  baseUrl: string;
  apiKey: string | null;
  provider: string;
}

/** All mistakes of a configuration at once, each with its variable's name and an example. */
export class ConfigError extends Error {
  constructor(readonly problems: string[]) {
    super(
      `The configuration has ${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`}:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
    this.name = 'ConfigError';
  }
}

type Env = Record<string, string | undefined>;

/** Reads variables one by one and remembers what was wrong with each. An empty value counts as not set. */
class Reader {
  readonly problems: string[] = [];

  constructor(private readonly env: Env) {}

  text(name: string): string | null {
    return this.env[name]?.trim() || null;
  }

  required(name: string, example: string, why: string): string {
    const value = this.text(name);
    if (value === null) this.problems.push(`${name} is not set: ${why}. Example: ${name}=${example}`);
    return value ?? '';
  }

  whole(name: string, fallback: number, min: number, max: number): number {
    const value = this.text(name);
    if (value === null) return fallback;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= min && number <= max) return number;
    this.problems.push(`${name}=${value} is not a whole number from ${min} to ${max}. Example: ${name}=${fallback}`);
    return fallback;
  }

  choice<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.text(name);
    if (value === null) return fallback;
    if (allowed.includes(value as T)) return value as T;
    this.problems.push(`${name}=${value} is none of ${allowed.join(', ')}. Example: ${name}=${fallback}`);
    return fallback;
  }

  list(name: string): string[] {
    return (this.text(name) ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean);
  }

  url(name: string, protocols: readonly string[], example: string): string | null {
    const value = this.text(name);
    if (value === null) return null;
    if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value.replace(/\/+$/, '');
    // The value may hold a password: it is not repeated.
    this.problems.push(
      `${name} is not a URL with ${protocols.map((p) => `${p}//`).join(' or ')}. Example: ${name}=${example}`,
    );
    return null;
  }
}

const WEB = ['http:', 'https:'] as const;
/**
 * Signature algorithms with a public key: an HMAC or "none" would let anybody sign who knows the public key or nothing
 * at all.
 */
const JWT_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

/**
 * The whole configuration from environment variables (`.env.example` lists them). Throws ConfigError with every
 * mistake.
 */
export function readConfig(env: Env = process.env): Config {
  const reader = new Reader(env);
  const mode = reader.choice('NODE_ENV', ['development', 'production', 'test'], 'development');
  const production = mode === 'production';
  const deadAfterMs = reader.whole('OWNER_DEAD_AFTER_MS', 30_000, 1_000, 600_000);

  reader.required(
    'DATABASE_URL',
    'postgres://weir:secret@localhost:5432/weir',
    'the Postgres database that keeps users, conversations and usage',
  );
  const databaseUrl =
    reader.url('DATABASE_URL', ['postgres:', 'postgresql:'], 'postgres://weir:secret@localhost:5432/weir') ?? '';

  const secretKey = production
    ? reader.required('WEIR_SECRET_KEY', '$(openssl rand -base64 32)', 'it encrypts the virtual keys at rest')
    : (reader.text('WEIR_SECRET_KEY') ?? '');
  if (secretKey && Buffer.from(secretKey, 'base64').length !== 32)
    reader.problems.push(
      'WEIR_SECRET_KEY is not the base64 of 32 bytes. Example: WEIR_SECRET_KEY=$(openssl rand -base64 32)',
    );
  if (!secretKey && !production)
    reader.problems.push(
      'WEIR_SECRET_KEY is not set: it encrypts the virtual keys at rest (`npm start` makes one). Example: WEIR_SECRET_KEY=$(openssl rand -base64 32)',
    );

  const jwksUrl = reader.url('AUTH_JWKS_URL', WEB, 'https://login.example.com/.well-known/jwks.json');
  if (jwksUrl) {
    reader.required('AUTH_ISSUER', 'https://login.example.com/', 'tokens of any issuer would be taken');
    reader.required('AUTH_AUDIENCE', 'weir', 'tokens for any other service would be taken');
  }
  const algorithms = reader.list('AUTH_ALGORITHMS');
  for (const name of algorithms)
    if (!JWT_ALGORITHMS.includes(name))
      reader.problems.push(
        `AUTH_ALGORITHMS has ${name}, which is none of ${JWT_ALGORITHMS.join(', ')}. Example: AUTH_ALGORITHMS=RS256,ES256`,
      );

  const config: Config = {
    env: mode,
    host: reader.text('HOST') ?? '127.0.0.1',
    port: reader.whole('PORT', 4100, 0, 65_535),
    home: reader.text('WEIR_HOME') ?? '.weir',
    databaseUrl,
    databasePoolSize: reader.whole('DATABASE_POOL_SIZE', 10, 2, 200),
    upstream: readUpstream(reader),
    defaultModel: reader.text('LLM_MODEL_CHAT'),
    safeModeModels: reader.list('LLM_SAFE_MODELS'),
    modelRefreshMs: reader.whole('MODEL_REFRESH_SECONDS', 60, 1, 86_400) * 1_000,
    timeouts: {
      connectMs: reader.whole('LLM_CONNECT_TIMEOUT_MS', 5_000, 1, 600_000),
      firstByteMs: reader.whole('LLM_FIRST_BYTE_TIMEOUT_MS', 120_000, 1, 3_600_000),
      idleMs: reader.whole('LLM_IDLE_TIMEOUT_MS', 60_000, 1, 3_600_000),
      totalMs: reader.whole('LLM_TOTAL_TIMEOUT_MS', 600_000, 1, 3_600_000),
    },
    auth: {
      jwksUrl,
      issuer: reader.text('AUTH_ISSUER'),
      audience: reader.text('AUTH_AUDIENCE'),
      algorithms: algorithms.length ? algorithms : ['RS256', 'ES256', 'EdDSA'],
      defaultPlan: reader.text('AUTH_DEFAULT_PLAN'),
      defaultOrganization: reader.text('AUTH_DEFAULT_ORGANIZATION'),
      roleClaim: reader.text('AUTH_ROLE_CLAIM'),
      organizationClaim: reader.text('AUTH_ORGANIZATION_CLAIM'),
    },
    secretKey,
    corsOrigins: readOrigins(reader, production),
    trustedProxies: readProxies(reader),
    publicUrl: reader.url('PUBLIC_URL', WEB, 'https://weir.example.com'),
    maxBodyBytes: reader.whole('MAX_BODY_BYTES', 8 * 1024 * 1024, 1_024, 256 * 1024 * 1024),
    logLevel: reader.choice('LOG_LEVEL', ['debug', 'info', 'warn', 'error', 'silent'], 'info'),
    metrics:
      reader.text('METRICS_PORT') === null
        ? null
        : {
            host: reader.text('METRICS_HOST') ?? '127.0.0.1',
            port: reader.whole('METRICS_PORT', 9464, 0, 65_535),
            token: reader.text('METRICS_TOKEN'),
          },
    explorer: reader.choice('EXPLORER', ['true', 'false'], production ? 'false' : 'true') === 'true',
    demoFile: null,
    // Six renewals: a process that is only slow is not taken for dead.
    ledger: { renewMs: Math.floor(deadAfterMs / 6), deadAfterMs, lookEveryMs: 60_000 },
    streams: {
      graceMs: reader.whole('STREAM_GRACE_MS', 30_000, 0, 600_000),
      keptMs: reader.whole('STREAM_KEPT_MS', 600_000, 0, 86_400_000),
      keptBytes: reader.whole('STREAM_KEPT_BYTES', 64 * 1024 * 1024, 0, 2 ** 40),
      joinMs: reader.whole('STREAM_JOIN_MS', 20, 0, 1_000),
    },
    redisUrl: reader.url('REDIS_URL', ['redis:', 'rediss:'], 'redis://localhost:6379'),
    usageRetentionMonths:
      reader.text('USAGE_RETENTION_MONTHS') === null ? null : reader.whole('USAGE_RETENTION_MONTHS', 24, 1, 1_200),
    reconcileAtHour: reader.text('RECONCILE_AT_HOUR') === 'off' ? null : reader.whole('RECONCILE_AT_HOUR', 3, 0, 23),
    shutdownMs: reader.whole('SHUTDOWN_TIMEOUT_MS', 20_000, 0, 600_000),
  };
  if (reader.problems.length) throw new ConfigError(reader.problems);
  return config;
}

function readOrigins(reader: Reader, production: boolean): string[] {
  if (reader.text('CORS_ORIGINS') === null) return production ? [] : ['*'];
  const origins = reader.list('CORS_ORIGINS');
  for (const origin of origins) {
    if (origin !== '*' && !(URL.canParse(origin) && new URL(origin).origin === origin))
      reader.problems.push(
        `CORS_ORIGINS has ${origin}, which is no origin (scheme, host, port, no path) and not *. Example: CORS_ORIGINS=https://app.example.com`,
      );
  }
  return origins;
}

function readProxies(reader: Reader): string[] {
  const proxies = reader.list('TRUSTED_PROXIES');
  for (const proxy of proxies) {
    const [address = '', bits, ...more] = proxy.split('/');
    const version = isIP(address);
    const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 6 ? 128 : 32));
    if (!version || !fits || more.length > 0)
      reader.problems.push(
        `TRUSTED_PROXIES has ${proxy}, which is neither an address nor a range. Example: TRUSTED_PROXIES=10.0.0.0/8,127.0.0.1`,
      );
  }
  return proxies;
}

/**
 * With LITELLM_MASTER_KEY the base URL is taken for a LiteLLM (start-up asks it, and goes direct when something else
 * answers there);
 * without it, for any OpenAI-compatible server.
 */
function readUpstream(reader: Reader): UpstreamConfig {
  reader.required('LLM_BASE_URL', 'http://localhost:4000', 'the LiteLLM proxy, or any OpenAI-compatible server');
  const baseUrl = reader.url('LLM_BASE_URL', WEB, 'http://localhost:4000') ?? '';
  const masterKey = reader.text('LITELLM_MASTER_KEY');
  const direct: DirectUpstream = {
    kind: 'DIRECT',
    baseUrl,
    apiKey: reader.text('LLM_API_KEY'),
    provider: reader.text('LLM_PROVIDER') ?? 'direct',
  };
  return masterKey ? { kind: 'LITELLM', baseUrl: baseUrl.replace(/\/v1$/, ''), masterKey, otherwise: direct } : direct;
}

/** For commands that need nothing but the database (migrate, admin). Throws ConfigError. */
export function readDatabaseUrl(env: Env = process.env): string {
  const reader = new Reader(env);
  reader.required('DATABASE_URL', 'postgres://weir:secret@localhost:5432/weir', 'the Postgres database to work on');
  const url =
    reader.url('DATABASE_URL', ['postgres:', 'postgresql:'], 'postgres://weir:secret@localhost:5432/weir') ?? '';
  if (reader.problems.length) throw new ConfigError(reader.problems);
  return url;
}

/** For commands that ask the proxy as its administrator. Throws ConfigError. */
export function readProxy(env: Env = process.env): { baseUrl: string; masterKey: string } {
  const reader = new Reader(env);
  reader.required('LITELLM_MASTER_KEY', 'sk-…', 'the proxy shows its records to its administrator only');
  const upstream = readUpstream(reader);
  if (reader.problems.length || upstream.kind !== 'LITELLM') throw new ConfigError(reader.problems);
  return { baseUrl: upstream.baseUrl, masterKey: upstream.masterKey };
}
