import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { earlierReleaseAt } from '../src/database/earlier-release';
import { canConnect } from './databases.store';
import { keepAside } from './earlier-data';
import { startPostgres, type RunningPostgres } from './postgres';
import type { Progress } from './progress';
import type { HomeSecrets } from './secrets';
import type { Shutdown } from './shutdown';

export interface LaunchDatabase {
  /** Weir's own database. */
  url: string;
  /** LiteLLM's database in the same Postgres; null: the Postgres is somebody else's. */
  litellmUrl: string | null;
}

export interface EmbeddedOptions {
  home: string;
  secrets: HomeSecrets;
  /** The passwords are new although the data may be older. */
  resetPassword: boolean;
  progress: Progress;
  shutdown: Shutdown;
}

/**
 * The Postgres under WEIR_HOME, with Weir's database and LiteLLM's. One with the data of an earlier release is kept
 * aside, and a new one begins.
 */
export async function openEmbedded({
  home,
  secrets,
  resetPassword,
  progress,
  shutdown,
}: EmbeddedOptions): Promise<LaunchDatabase> {
  const onNotice = (text: string): void => progress.line(`  - ${text}`);
  let running: RunningPostgres | null = null;
  const startOne = async (): Promise<RunningPostgres> =>
    (running = await startPostgres({
      folder: path.join(home, 'postgres'),
      password: secrets.postgresPassword,
      resetPassword,
      databases: [
        { name: 'weir', password: secrets.weirDatabasePassword, makesRoles: true },
        { name: 'litellm', password: secrets.litellmDatabasePassword },
      ],
      onNotice,
    }));
  const starting = progress.step('database', async () => {
    const found = await startOne();
    const earlier = await earlierReleaseAt(found.url('weir', secrets.weirDatabasePassword)).catch(
      async (error: unknown) => {
        await found.stop();
        throw error;
      },
    );
    if (!earlier) return found;
    await found.stop();
    keepAside(home, earlier).forEach(onNotice);
    return startOne();
  });
  shutdown.add('postgres', {
    title: 'the database',
    stop: async () => (await starting.catch(() => null))?.stop(),
    kill: () => running?.kill(),
  });
  const server = await starting;
  void server.exited.then(() => {
    if (shutdown.signal.aborted) return;
    progress.line(`The embedded Postgres ended by itself; ${path.join(home, 'postgres', 'postgres.log')} says why.`);
    void shutdown.stop(1);
  });
  return {
    url: server.url('weir', secrets.weirDatabasePassword),
    litellmUrl: server.url('litellm', secrets.litellmDatabasePassword),
  };
}

/** Milliseconds: a database that is being started beside us. */
const EXTERNAL_WAIT_MS = 60_000;

/** A Postgres of somebody else: waited for, with growing pauses. Throws when it does not answer. */
export async function waitForDatabase(url: string, progress: Progress): Promise<LaunchDatabase> {
  await progress.step('database (DATABASE_URL)', async (step) => {
    const giveUpAt = Date.now() + EXTERNAL_WAIT_MS;
    for (let pauseMs = 250; ; pauseMs = Math.min(pauseMs * 2, 5_000)) {
      const problem = await canConnect(url);
      if (problem === null) return;
      // A wrong password does not get better by waiting.
      if (!problem.temporary || Date.now() + pauseMs > giveUpAt)
        throw new Error(`The database of DATABASE_URL cannot be used: ${problem.message}`);
      step.note(`waiting: ${problem.message}`);
      await wait(pauseMs);
    }
  });
  return { url, litellmUrl: null };
}
