import { Client } from 'pg';
import type { Db } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';
import { RollupLagStore } from '../../../src/services/rollups/rollup-lag.store';
import { cubesStatus } from '../../../src/services/rollups/rollup-status';
import { Folder } from '../../../src/services/rollups/folder';
import { FolderStore } from '../../../src/services/rollups/folder.store';
import { PriceFolder } from '../../../src/services/rollups/price-folder';
import { PriceFolderStore, type PriceSlice } from '../../../src/services/rollups/price-folder.store';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { waitFor } from '../../support/wait';
import { insertUsage, usageRow } from '../usage/usage-rows';
import { changePrice, openBatches, totalOf, wrongCells } from './figure-scene';

const DAY_MS = 86_400_000;

describe('the folding of price changes', () => {
  let database: TestDatabase;
  let db: Db;
  let store: PriceFolderStore;
  const logger = memoryLogger();
  beforeEach(async () => {
    database = await createTestDatabase();
    db = database.db;
    store = new PriceFolderStore(database.url);
    logger.lines.length = 0;
  });
  afterEach(async () => {
    store.close();
    await database.close();
  });

  const organization = newId('organization');
  /** Calls of 10 + 5 tokens that cost 0.001 each, so many days ago. */
  const callsOf = (model: string, ...daysAgo: number[]) =>
    daysAgo.map((days) =>
      usageRow({
        organization_id: organization,
        user_id: 'usr_1',
        model,
        served_model: model,
        occurred_at: new Date(Date.now() - days * DAY_MS).toISOString(),
      }),
    );
  const left = async (): Promise<number> =>
    (await db.query<{ n: number }>(`SELECT count(*)::int AS n FROM price_changes WHERE folded_before < 'infinity'`))[0]!
      .n;
  const folded = (): Promise<unknown> =>
    waitFor(async () => (await left()) === 0, { what: 'all price changes to be folded' });
  const detail = async (): Promise<string | null> => (await cubesStatus(new RollupLagStore(db))).detail;

  it('brings every difference into the cubes, oldest change first, in slices that end with a month at the latest; every figure is exact after each of them', async () => {
    await db.query(`DO $$ DECLARE month timestamptz; BEGIN
      FOR i IN 1..6 LOOP
        month := (date_trunc('month', weir.now() AT TIME ZONE 'UTC') - make_interval(months => i)) AT TIME ZONE 'UTC';
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF llm_usage FOR VALUES FROM (%L) TO (%L)', 'llm_usage_' || to_char(month, 'YYYY_MM'), month, month + interval '1 month');
      END LOOP; END $$`);
    await insertUsage(db, [...callsOf('a', 400, 200, 100, 65, 35, 30, 8, 3, 1, 0.01), ...callsOf('b', 100, 1)]);
    await db.query('SELECT weir.fold(100)');
    await changePrice(db, { book: 1, model: 'a', input: '0.0003' });
    await changePrice(db, {
      book: 2,
      model: 'a',
      input: '0.0005',
      previous: 1,
      from: new Date(Date.now() - 40 * DAY_MS).toISOString(),
      to: new Date(Date.now() - 5 * DAY_MS).toISOString(),
    });
    await changePrice(db, { book: 3, model: 'b', input: '0.0001' });
    const slices: PriceSlice[] = [];
    const observed: Pick<PriceFolderStore, 'next' | 'fold'> = {
      next: (sliceMs) => store.next(sliceMs),
      fold: async (slice) => {
        const done = await store.fold(slice);
        expect(await wrongCells(db)).toEqual([]);
        slices.push(slice);
        return done;
      },
    };
    const folder = new PriceFolder({ store: observed, logger, everyMs: 5 });
    folder.start();
    await folded();
    await folder.stop();
    expect(logger.lines.filter(({ level }) => level === 'warn')).toEqual([]);
    expect(await wrongCells(db)).toEqual([]);
    // 7 of "a" at 10 * 0.0003, 3 of its calls at 10 * 0.0005, 2 of "b" at 10 * 0.0001.
    expect(await totalOf(db)).toEqual({ calls: 12, cost: '0.0380' });
    expect(slices.map(({ book }) => book)).toEqual([...slices].map(({ book }) => book).sort());
    expect(new Set(slices.map(({ book }) => book))).toEqual(new Set(['1', '2', '3']));
    const ends = slices
      .filter(({ book, isLast }) => book === '1' && !isLast)
      .map(({ upTo }) => new Date(upTo).getTime());
    expect(ends.length).toBeGreaterThan(6);
    const monthOf = (time: number): string => new Date(time).toISOString().slice(0, 7);
    for (const [i, end] of ends.entries()) if (i > 0) expect(monthOf(end - 1)).toBe(monthOf(ends[i - 1]!));
    expect(slices.filter(({ isLast }) => isLast).map(({ upTo }) => upTo)).toEqual(['infinity', 'infinity', 'infinity']);
    expect(
      logger.lines
        .filter(({ message }) => message === 'a price change has been folded into the rollups')
        .map(({ fields }) => fields),
    ).toEqual([{ book: '1' }, { book: '2' }, { book: '3' }]);
  });

  it('tells how far it is, and does not hold up the folding of calls', async () => {
    await insertUsage(db, callsOf('a', 100, 2));
    await changePrice(db, { book: 12, model: 'a', input: '0.0003' });
    expect(await detail()).toBe('price change 12: not yet folded');
    expect(
      await store.fold({ book: '12', upTo: new Date(Date.now() - 50 * DAY_MS).toISOString(), isLast: false }),
    ).toBe(true);
    const upTo = new Date(Date.now() - 50 * DAY_MS).toISOString().slice(0, 10);
    expect(await detail()).toBe(`price change 12: folded up to ${upTo}`);
    // Another process is at it, and hangs.
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('SELECT pg_advisory_lock(5, 1)');
    const calls = { store: new FolderStore(database.url) };
    const folders = [
      new PriceFolder({ store, logger, everyMs: 5 }),
      new Folder({ store: calls.store, logger, everyMs: 5 }),
    ];
    for (const folder of folders) folder.start();
    await waitFor(async () => (await openBatches(db)) === 0);
    expect(await detail()).toBe(`price change 12: folded up to ${upTo}`);
    expect(await wrongCells(db)).toEqual([]);
    await holder.end();
    await folded();
    for (const folder of folders) await folder.stop();
    calls.store.close();
    expect(await detail()).toBeNull();
    expect(await wrongCells(db)).toEqual([]);
  });

  it('tries a slice that fails again, shorter', async () => {
    const asked: number[] = [];
    const failing: Pick<PriceFolderStore, 'next' | 'fold'> = {
      next: async (sliceMs) => {
        asked.push(sliceMs);
        return { book: '1', upTo: '2026-01-01', isLast: false };
      },
      fold: () => Promise.reject(new Error('canceling statement due to statement timeout')),
    };
    const folder = new PriceFolder({ store: failing, logger, everyMs: 1 });
    folder.start();
    await waitFor(() => asked.length >= 4);
    await folder.stop();
    expect(asked.slice(0, 4)).toEqual([DAY_MS, DAY_MS / 2, DAY_MS / 4, DAY_MS / 8]);
    expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });
});
