import { Client } from 'pg';
import { openDatabase, type Db } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { Folder } from '../../../src/services/rollups/folder';
import { FolderStore } from '../../../src/services/rollups/folder.store';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { Random } from '../../support/ledger/random';
import { memoryLogger } from '../../support/log';
import { AT_ONCE_MS, SLOW_DEADLINE_MS, waitFor, within } from '../../support/wait';
import { anyEnd, look, openBatches, totalOf, wrongCells } from './figure-scene';
import type { Settlement } from '../../../src/domain/call';

/** How often the figures are proved while there is writing. */
const LOOKS = 12;

describe('the folder', () => {
  let database: TestDatabase;
  let db: Db;
  let logger: ReturnType<typeof memoryLogger>;
  const running: { folder: Folder; store: FolderStore }[] = [];

  beforeEach(async () => {
    database = await createTestDatabase();
    db = database.db;
    logger = memoryLogger();
  });
  afterEach(async () => {
    await stopFolders();
    await database.close();
  });

  function startFolder(options: { everyMs?: number; maxRows?: number } = {}): Folder {
    const store = new FolderStore(database.url);
    const folder = new Folder({ store, logger, everyMs: 5, ...options });
    running.push({ folder, store });
    folder.start();
    return folder;
  }
  async function stopFolders(): Promise<void> {
    for (const { folder, store } of running.splice(0)) {
      await folder.stop();
      store.close();
    }
  }
  const folders = (state = 'true'): Promise<{ pid: number }[]> =>
    db.query(
      `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'weir-folder' AND ${state}`,
    );

  it('takes fewer rows at a time while so many cannot be done, and all again when they can', async () => {
    const asked: number[] = [];
    const fold = async (rows: number): Promise<{ batches: number; rows: number }> => {
      asked.push(rows);
      if (rows > 250 && asked.length < 6) throw new Error('took too long');
      return { batches: 1, rows: asked.length < 12 ? rows : 0 };
    };
    const folder = new Folder({ store: { fold }, logger, everyMs: 1, maxRows: 1_000 });
    folder.start();
    await waitFor(() => asked.length > 12, { what: 'enough rounds' });
    await folder.stop();
    expect(asked.slice(0, 4)).toEqual([1_000, 500, 250, 500]);
    expect(asked.slice(8, 12)).toContain(1_000);
  });

  it('leaves cubes and what is not yet folded equal to all rows at every instant, while two processes settle and correct and two fold', async () => {
    const random = new Random(7);
    const other = await openDatabase({ url: database.url, poolSize: 4 }, () => {});
    try {
      for (let i = 0; i < 2; i += 1) startFolder({ everyMs: 3, maxRows: 9 });
      const waiting: number[] = [];
      const write = async (store: LedgerStore): Promise<void> => {
        const settled: Settlement[] = [];
        for (let round = 0; waiting.length < LOOKS; round += 1) {
          // A look takes long where there is much to prove.
          await waitFor(() => round <= 20 * (waiting.length + 1), { deadlineMs: SLOW_DEADLINE_MS });
          const ends = Array.from({ length: random.int(1, 12) }, () => anyEnd(random));
          await store.settle(ends);
          settled.push(...ends);
          if (round % 4 === 3) {
            const end = random.pick(settled);
            await store.correct(
              [{ ...end, tokens: { ...end.tokens, output: end.tokens.output + 1 }, latencyMs: 77 }],
              'TEST',
            );
          }
        }
      };
      const writers = Promise.all([write(new LedgerStore(db)), write(new LedgerStore(other))]);
      try {
        while (waiting.length < LOOKS) {
          const { wrong, open } = await look(db);
          expect(wrong).toEqual([]);
          waiting.push(open);
        }
      } finally {
        waiting.push(...Array<number>(LOOKS).fill(0));
        await writers;
      }
      await waitFor(async () => (await openBatches(db)) === 0, { what: 'everything to be folded' });
      expect(await wrongCells(db)).toEqual([]);
      // It was looked at in the midst of it.
      expect(waiting.filter((count) => count > 0).length).toBeGreaterThan(3);
      expect((await totalOf(db)).calls).toBe(
        (await db.query<{ n: number }>(`SELECT count(*)::int AS n FROM llm_usage WHERE kind = 'CALL'`))[0]!.n,
      );
      expect(logger.lines).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('that is killed in the midst of a transaction leaves nothing folded twice or never, and the next one goes on', async () => {
    const random = new Random(11);
    const ends = Array.from({ length: 50 }, () => anyEnd(random));
    await new LedgerStore(db).settle(ends);
    startFolder();
    await waitFor(async () => (await openBatches(db)) === 0);
    // Somebody holds the cells of one cube: the folder has written others, and waits.
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM usage_quarter_hourly FOR UPDATE');
    await new LedgerStore(db).settle(ends.map((end) => ({ ...end, id: newId('call') })));
    const [victim] = await waitFor(async () => {
      const stuck = await folders(`wait_event_type = 'Lock' AND backend_xid IS NOT NULL`);
      return stuck.length > 0 ? stuck : null;
    });
    expect(await wrongCells(db)).toEqual([]);
    expect(await db.query('SELECT pg_terminate_backend($1) AS killed', [victim!.pid])).toEqual([{ killed: true }]);
    await waitFor(() => logger.lines.some(({ level }) => level === 'warn'));
    await holder.query('COMMIT');
    await holder.end();
    await waitFor(async () => (await openBatches(db)) === 0, { what: 'the batch to be folded by another connection' });
    expect(await wrongCells(db)).toEqual([]);
    expect((await totalOf(db)).calls).toBe(100);
    await waitFor(() => logger.lines.some(({ message }) => message === 'background work succeeded again'));
    expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('folds the oldest first, whole batches, and at once again while there is more', async () => {
    const random = new Random(3);
    for (let i = 0; i < 6; i += 1) await new LedgerStore(db).settle([anyEnd(random)]);
    const fold = async (maxRows: number): Promise<unknown> =>
      (await db.query('SELECT batches, rows::int FROM weir.fold($1)', [maxRows]))[0];
    const ids = await db.query<{ id: string }>('SELECT id FROM usage_batches ORDER BY id');
    const left = async (): Promise<unknown> => db.query('SELECT id FROM usage_batches ORDER BY id');
    expect(await fold(2)).toEqual({ batches: 2, rows: 2 });
    expect(await left()).toEqual(ids.slice(2));
    expect(await fold(1)).toEqual({ batches: 1, rows: 1 });
    expect(await left()).toEqual(ids.slice(3));
    // An hour between rounds: the rest goes in one.
    startFolder({ everyMs: 3_600_000, maxRows: 1 });
    await waitFor(async () => (await openBatches(db)) === 0);
  });

  it('lets another one that is folding finish, and does nothing meanwhile', async () => {
    await new LedgerStore(db).settle([anyEnd(new Random(1))]);
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('SELECT pg_advisory_lock(5, 0)');
    expect(await db.query('SELECT batches, rows::int FROM weir.fold(10)')).toEqual([{ batches: 0, rows: 0 }]);
    await holder.end();
    startFolder();
    await waitFor(async () => (await openBatches(db)) === 0);
  });

  it('stops at once also while its statement hangs', async () => {
    const random = new Random(5);
    await new LedgerStore(db).settle([anyEnd(random)]);
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE usage_daily IN ACCESS EXCLUSIVE MODE');
    const folder = startFolder();
    await waitFor(async () => (await folders(`wait_event_type = 'Lock'`)).length > 0);
    const { store } = running[0]!;
    const stopped = folder.stop();
    store.close();
    await within(stopped, AT_ONCE_MS, 'stopping');
    expect(logger.lines).toEqual([]);
    await holder.query('ROLLBACK');
    await holder.end();
  });
});
