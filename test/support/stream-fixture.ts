import { startTestApp, type TestApp, type TestAppOptions } from './app';
import { createTestDatabase, type TestDatabase } from './database';
import { createWorld, type World } from './factories';
import { startProvider, type FakeProvider } from './provider';

export interface Fixture extends World {
  database: TestDatabase;
  provider: FakeProvider;
  app: TestApp;
  /** Stops the server and leaves its clients connected. */
  stopServer(): Promise<void>;
  close(): Promise<void>;
}

/** A database, an organisation, a fake provider and the whole product between them. */
export async function createFixture(
  options: Pick<TestAppOptions, 'config' | 'apiKey'> & { provider?: Parameters<typeof startProvider>[0] } = {},
): Promise<Fixture> {
  const database = await createTestDatabase();
  const provider = await startProvider(options.provider);
  const world = await createWorld(database.db);
  const app = await startTestApp({ database, upstream: provider, config: options.config, apiKey: options.apiKey });
  return {
    ...world,
    database,
    provider,
    app,
    stopServer: () => app.stopServer(),
    close: async () => {
      await app.stop();
      await provider.close();
      await database.close();
    },
  };
}

/** The input of a chat with one question. */
export const ask = (content: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  model: 'test-chat',
  messages: [{ role: 'USER', content }],
  ...more,
});
