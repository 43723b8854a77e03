import { type ConfigError, readConfig, readProxy } from '../../src/config';

const good = {
  DATABASE_URL: 'postgres://u:p@localhost/weir',
  LLM_BASE_URL: 'http://localhost:4000/v1/',
  WEIR_SECRET_KEY: Buffer.alloc(32).toString('base64'),
};
function problems(env: Record<string, string>): string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    return (error as ConfigError).problems;
  }
}

describe('readConfig', () => {
  it('reports all mistakes at once, each with the name of its variable and an example', () => {
    const found = problems({
      PORT: '99999',
      LOG_LEVEL: 'loud',
      DATABASE_URL: 'mysql://x',
      AUTH_JWKS_URL: 'https://idp.example/jwks',
      AUTH_ALGORITHMS: 'none',
      NODE_ENV: 'production',
      TRUSTED_PROXIES: 'banana',
      CORS_ORIGINS: 'not a url',
    });
    for (const name of [
      'PORT',
      'LOG_LEVEL',
      'DATABASE_URL',
      'AUTH_ISSUER',
      'AUTH_AUDIENCE',
      'AUTH_ALGORITHMS',
      'LLM_BASE_URL',
      'WEIR_SECRET_KEY',
      'TRUSTED_PROXIES',
      'CORS_ORIGINS',
    ]) {
      expect(found.filter((line) => line.startsWith(name))).toEqual([expect.stringMatching(/Example: /)]);
    }
  });

  it('never repeats a value that may hold a password', () => {
    expect(problems({ ...good, DATABASE_URL: 'mysql://u:hunter2@db/x' }).join()).not.toContain('hunter2');
  });

  it('takes the base URL for a LiteLLM only with its master key', () => {
    expect(readConfig(good).upstream).toEqual({
      kind: 'DIRECT',
      baseUrl: 'http://localhost:4000/v1',
      apiKey: null,
      provider: 'direct',
    });
    expect(readConfig({ ...good, LITELLM_MASTER_KEY: 'sk-m' }).upstream).toMatchObject({
      kind: 'LITELLM',
      baseUrl: 'http://localhost:4000',
      masterKey: 'sk-m',
    });
  });

  it('refuses algorithms that need no private key', () => {
    expect(problems({ ...good, AUTH_ALGORITHMS: 'RS256,HS256' })).toHaveLength(1);
  });

  it('compares with the proxy at three, at another hour, or never', () => {
    expect(
      [
        readConfig(good),
        readConfig({ ...good, RECONCILE_AT_HOUR: '0' }),
        readConfig({ ...good, RECONCILE_AT_HOUR: 'off' }),
      ].map(({ reconcileAtHour }) => reconcileAtHour),
    ).toEqual([3, 0, null]);
    for (const wrong of ['24', '-1', 'never']) expect(problems({ ...good, RECONCILE_AT_HOUR: wrong })).toHaveLength(1);
  });

  it("shows the proxy's records to whoever has its master key", () => {
    expect(readProxy({ LLM_BASE_URL: 'http://localhost:4000/v1', LITELLM_MASTER_KEY: 'sk-m' })).toEqual({
      baseUrl: 'http://localhost:4000',
      masterKey: 'sk-m',
    });
    expect(() => readProxy({ LLM_BASE_URL: 'http://localhost:4000' })).toThrow(/LITELLM_MASTER_KEY is not set/);
  });

  it('closes browsers out in production unless origins are named', () => {
    expect(readConfig({ ...good, NODE_ENV: 'production' })).toMatchObject({ corsOrigins: [], explorer: false });
    expect(readConfig(good)).toMatchObject({ corsOrigins: ['*'], explorer: true });
  });
});
