import { createHash, randomBytes } from 'node:crypto';
import { SecretCipher } from '../../src/services/keys/cipher';
import { startTestApp, type TestApp, type TestAppOptions } from './app';
import { createTestDatabase, type TestDatabase } from './database';
import { createOrganization, createPlan, createUser, type TestUser } from './factories';
import { startTestLitellm, type TestLitellm } from './litellm';

export interface LitellmRig {
  litellm: TestLitellm;
  database: TestDatabase;
  /** Answers for `database`, with the proxy as its upstream. */
  app: TestApp;
  operator: TestUser;
  /** Every model that the proxy counts as OpenAI's. */
  planId: string;
  /** WEIR_SECRET_KEY of every product here. */
  secretKey: string;
  /** A new user, so one without a key. Default: on the plan with all of OpenAI's models. */
  user(planId?: string): Promise<TestUser>;
  plan(models: string[]): Promise<string>;
  /** Another product on the same database and the same proxy. */
  startApp(config?: TestAppOptions['config']): Promise<TestApp>;
  /** The user's virtual key, as the product keeps it. */
  keyOf(user: TestUser): Promise<{ secret: string; hash: string }>;
  stop(): Promise<void>;
}

/** The whole product in front of a real LiteLLM, in front of the fake provider. */
export async function startLitellmRig(): Promise<LitellmRig> {
  const closers: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const litellm = await startTestLitellm();
    closers.push(() => litellm.stop());
    const database = await createTestDatabase();
    closers.push(() => database.close());
    const secretKey = randomBytes(32).toString('base64');
    const { baseUrl, masterKey } = litellm;
    const startApp = (config: TestAppOptions['config'] = {}): Promise<TestApp> =>
      startTestApp({
        database,
        upstream: { url: `${baseUrl}/v1` },
        config: { secretKey, upstream: { kind: 'LITELLM', baseUrl, masterKey, otherwise: null }, ...config },
      });
    const { db } = database;
    const organizationId = await createOrganization(db);
    const planId = await createPlan(db, { models: ['openai/*'] });
    const operator = await createUser(db, { organizationId, planId, role: 'OPERATOR' });
    const app = await startApp();
    closers.push(() => app.stop());
    return {
      litellm,
      database,
      app,
      operator,
      planId,
      secretKey,
      startApp,
      stop,
      user: (plan = planId) => createUser(db, { organizationId, planId: plan }),
      plan: (models) => createPlan(db, { models }),
      keyOf: async (user) => {
        const [row] = await db.query<{ secret: Buffer }>('SELECT secret FROM virtual_keys WHERE user_id = $1', [
          user.id,
        ]);
        const secret = new SecretCipher(secretKey).decrypt(row!.secret, user.id);
        return { secret, hash: hashOf(secret) };
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** As the proxy names keys. */
export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');
