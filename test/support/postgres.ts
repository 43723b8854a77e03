import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startPostgres as startInFolder } from '../../launch/postgres';

export interface PostgresServer {
  /** Connection string of a database of this server, as its superuser. */
  url(database: string): string;
  pid: number;
  stop(): Promise<void>;
}

/** What a power cut would lose is of no interest to tests: their databases live for a minute. */
const QUICK = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];

/**
 * A Postgres of our own (the one that `npm start` uses) on a free port, its data in a temporary folder that goes away
 * with it.
 * `durable` keeps every promise of a commit (fsync), as in production.
 */
export async function startPostgres(options: {
  durable: boolean;
  maxConnections?: number;
  settings?: readonly string[];
}): Promise<PostgresServer> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-postgres-'));
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const server = await startInFolder({
      folder,
      password: 'weir',
      settings: [
        `max_connections=${options.maxConnections ?? 300}`,
        ...(options.durable ? [] : QUICK),
        ...(options.settings ?? []),
      ],
    });
    // The server is a process group of its own and would outlive us.
    const stopNow = (signal: NodeJS.Signals): void => {
      void server.stop().then(() => {
        removeFolder();
        process.kill(process.pid, signal);
      });
    };
    process.once('SIGINT', stopNow).once('SIGTERM', stopNow);
    return {
      url: (database) => {
        const url = new URL(server.adminUrl);
        url.pathname = `/${database}`;
        return url.toString();
      },
      pid: server.pid,
      stop: async () => {
        process.off('SIGINT', stopNow).off('SIGTERM', stopNow);
        await server.stop();
        removeFolder();
      },
    };
  } catch (error) {
    removeFolder();
    throw error;
  }
}
