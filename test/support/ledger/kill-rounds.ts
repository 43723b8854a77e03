import type { TestDatabase } from '../database';
import { startProvider, type FakeProvider } from '../provider';
import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import { closeBooks, openBooks, type Books } from './books';
import { Load } from './load';
import { Random } from './random';
import { ServerSlot } from './server-process';

export interface KillOptions {
  database: TestDatabase;
  rounds: number;
  seed: number;
  /** At each server. */ streams: number;
  chats: number;
  deadAfterMs: number;
}

/** Long enough for checkpoints: some 12 KB in 300 ms. */
export const PIECES = Array.from({ length: 24 }, (_, i) => `${i} ${'word '.repeat(100)}`);
const SERVERS = 3;

/**
 * Servers under load with chats and streams; in each round one of them is killed in the middle. The others live on and
 * end its calls; another one starts in its place while the next round runs.
 */
export async function killRounds({
  database,
  rounds,
  seed,
  streams,
  chats,
  deadAfterMs,
}: KillOptions): Promise<Books & { killed: number; refused: Record<string, number> }> {
  const random = new Random(seed);
  const provider = await startProvider();
  provider.always('test-chat', { pieces: PIECES, pieceMs: 10 });
  const { users } = await openBooks(database.db, 5);
  const slots = Array.from(
    { length: SERVERS },
    () => new ServerSlot({ databaseUrl: database.url, upstreamUrl: provider.url, deadAfterMs }),
  );
  const serving = (): ServerSlot[] => slots.filter(({ url }) => url !== null);
  const load = new Load(users, () => serving().map(({ url }) => url!), seed);
  const starts: Promise<void>[] = [];
  try {
    await Promise.all(slots.map((slot) => slot.start()));
    for (let round = 0; round < rounds; round += 1) {
      await waitFor(() => serving().length >= 2, { deadlineMs: SLOW_DEADLINE_MS, what: 'two servers to serve' });
      const now = serving();
      const victim = random.pick(now);
      let isDone = false;
      const work = now.flatMap(({ url }) => [
        load.streams(url!, streams),
        ...Array.from({ length: chats }, () => load.chats(url!, () => isDone)),
      ]);
      await progress(provider, random.int(1, now.length * streams * PIECES.length));
      await victim.kill();
      isDone = true;
      starts.push(victim.start());
      await Promise.all(work);
    }
    await Promise.all(starts);
    await load.finish();
    const books = await closeBooks(database.db, provider, load.tally);
    return { ...books, killed: rounds, refused: load.tally.refused };
  } finally {
    await Promise.allSettled(starts);
    await Promise.all(slots.map((slot) => slot.close()));
    await provider.close();
  }
}

/** Until the upstream has sent so many pieces more. */
async function progress(provider: FakeProvider, pieces: number): Promise<void> {
  const sent = (): number => provider.requests.reduce((sum, request) => sum + request.piecesSent, 0);
  const from = sent();
  await waitFor(() => sent() - from >= pieces, { deadlineMs: SLOW_DEADLINE_MS, what: `${pieces} pieces` });
}
