import { startTestApp, type TestApp } from './app';
import { createTestDatabase, type TestDatabase } from './database';
import { createWorld, type World } from './factories';
import { startProvider, type FakeProvider } from './provider';
import { startRedis, type TestRedis } from './redis';
import type { StreamEvent } from './ws-client';
import type { Config } from '../../src/config';

export interface Replicas extends World {
  database: TestDatabase;
  provider: FakeProvider;
  redis: TestRedis;
  /** Two of the same product on one database and one Redis. */
  first: TestApp;
  second: TestApp;
  close(): Promise<void>;
}

export async function createReplicas(config: Partial<Omit<Config, 'timeouts'>> = {}): Promise<Replicas> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const redis = await startRedis();
    closers.push(() => redis.stop());
    const database = await createTestDatabase();
    closers.push(() => database.close());
    const provider = await startProvider();
    closers.push(() => provider.close());
    const world = await createWorld(database.db);
    const start = async (): Promise<TestApp> => {
      const app = await startTestApp({ database, upstream: provider, config: { redisUrl: redis.url, ...config } });
      closers.push(() => app.stop());
      return app;
    };
    const first = await start();
    return { ...world, database, provider, redis, first, second: await start(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Numbers without a gap or a repetition, from behind `after` on. */
export function numbersOf(events: readonly StreamEvent[], after = 0): number {
  let last = after;
  for (const { fromSeq, seq } of events) {
    if (fromSeq !== last + 1 || seq < fromSeq) throw new Error(`${fromSeq}–${seq} follows ${last}`);
    last = seq;
  }
  return last;
}
