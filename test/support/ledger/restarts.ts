import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { once } from 'node:events';
import os from 'node:os';
import path from 'node:path';
import { openDatabase } from '../../../src/database/pool';
import { migrate } from '../../../src/database/migrate';
import { startPostgres, type RunningPostgres } from '../../../launch/postgres';
import { startProvider } from '../provider';
import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import { closeBooks, openBooks, type Books } from './books';
import { PIECES } from './kill-rounds';
import { Load } from './load';
import { ServerSlot } from './server-process';

/** FAST: what is open is rolled back, and the server ends in order. IMMEDIATE: it ends, and recovers when it starts. */
export type Restart = 'FAST' | 'IMMEDIATE';
export interface RestartOptions {
  restarts: readonly Restart[];
  /** At each of two servers. */ streams: number;
  chats: number;
  seed: number;
}

const PASSWORD = 'weir';

/** A Postgres of its own, with every promise of a commit kept, behind an address that stays the same. */
class RestartablePostgres {
  private readonly folder = mkdtempSync(path.join(os.tmpdir(), 'weir-restarts-'));
  private running: RunningPostgres | null = null;
  private readonly sockets = new Set<net.Socket>();
  private readonly front = net.createServer((inner) => this.accept(inner));

  async start(): Promise<void> {
    this.running = await startPostgres({
      folder: this.folder,
      password: PASSWORD,
      databases: [{ name: 'weir', password: PASSWORD }],
      settings: ['max_connections=200'],
    });
    if (!this.front.listening) await once(this.front.listen(0, '127.0.0.1'), 'listening');
  }

  get url(): string {
    return `postgresql://weir:${PASSWORD}@127.0.0.1:${(this.front.address() as net.AddressInfo).port}/weir`;
  }

  async restart(how: Restart): Promise<void> {
    const { running } = this;
    this.running = null;
    if (how === 'FAST') await running!.stop();
    else running!.kill();
    await running!.exited;
    await this.start();
  }

  async close(): Promise<void> {
    await this.running?.stop();
    for (const socket of this.sockets) socket.destroy();
    this.front.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private accept(inner: net.Socket): void {
    if (!this.running) return void inner.on('error', () => {}).destroy();
    const outer = net.connect(this.running.port, '127.0.0.1');
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      this.sockets.add(from);
      from
        .on('error', () => {})
        .on('close', () => {
          this.sockets.delete(from);
          to.destroy();
        });
      from.pipe(to);
    }
  }
}

/** Two servers under load with chats and streams, whose Postgres is restarted again and again. */
export async function restartRounds({
  restarts,
  streams,
  chats,
  seed,
}: RestartOptions): Promise<Books & { restarts: number; refused: Record<string, number> }> {
  const postgres = new RestartablePostgres();
  const provider = await startProvider();
  const slots: ServerSlot[] = [];
  try {
    await postgres.start();
    await migrate({ url: postgres.url });
    // Connections that a restart cuts are what this is about.
    const db = await openDatabase({ url: postgres.url, poolSize: 2 }, () => {});
    provider.always('test-chat', { pieces: PIECES, pieceMs: 10 });
    const { users } = await openBooks(db, 5);
    slots.push(
      ...[1, 2].map(
        () => new ServerSlot({ databaseUrl: postgres.url, upstreamUrl: provider.url, deadAfterMs: 30_000 }),
      ),
    );
    await Promise.all(slots.map((slot) => slot.start()));
    const urls = slots.map(({ url }) => url!);
    const load = new Load(users, () => urls, seed);
    let isDone = false;
    const until = async (work: () => Promise<void>): Promise<void> => {
      while (!isDone) await work();
    };
    const work = urls.flatMap((url) => [
      until(() => load.streams(url, streams)),
      ...Array.from({ length: chats }, () => load.chats(url, () => isDone)),
    ]);
    for (const how of restarts) {
      await busy(load, 4 * streams);
      await postgres.restart(how);
    }
    await busy(load, 4 * streams);
    isDone = true;
    await Promise.all(work);
    await load.finish();
    const books = await closeBooks(db, provider, load.tally);
    await db.close();
    return { ...books, restarts: restarts.length, refused: load.tally.refused };
  } finally {
    await Promise.all(slots.map((slot) => slot.close()));
    await provider.close();
    await postgres.close();
  }
}

/** Until so many more calls were answered: all is well again, and much is under way. */
async function busy(load: Load, replies: number): Promise<void> {
  const from = load.tally.replies.size;
  await waitFor(() => load.tally.replies.size - from >= replies, {
    deadlineMs: SLOW_DEADLINE_MS,
    what: `${replies} replies`,
  });
}
