import { Client } from 'pg';
import type { Db } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { Retention } from '../../../src/services/rollups/retention';
import { RetentionStore } from '../../../src/services/rollups/retention.store';
import { callEnd } from '../../support/call-ends';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { appendPrice, changeAllCalls } from '../../support/prices';
import { eventually, waitFor } from '../../support/wait';
import { insertUsage, usageRow } from '../usage/usage-rows';
import { changePrice, totalOf } from './figure-scene';

const MONTHS = ['2020-01', '2020-02', '2020-03', '2020-04', '2020-05', '2020-06'];
const partitionOf = (month: string): string => `llm_usage_${month.replace('-', '_')}`;

/** It is the tenth of June 2020; every month since January has two calls, and one of them is reversed and corrected. */
describe('retention', () => {
  let database: TestDatabase;
  let db: Db;
  let store: RetentionStore;
  const logger = memoryLogger();
  const organization = newId('organization');
  const rowOf = (month: string, more = {}) =>
    usageRow({ organization_id: organization, user_id: 'usr_1', occurred_at: `${month}-09T10:00:00Z`, ...more });

  beforeEach(async () => {
    database = await createTestDatabase();
    db = database.db;
    store = new RetentionStore(database.url);
    logger.lines.length = 0;
    await setClock(db, '2020-06-10T12:00:00Z');
    for (const [i, month] of MONTHS.entries()) {
      const end = MONTHS[i + 1] ?? '2020-07';
      await db.query(
        `CREATE TABLE ${partitionOf(month)} PARTITION OF llm_usage FOR VALUES FROM ('${month}-01 00:00:00+00') TO ('${end}-01 00:00:00+00')`,
      );
      await insertUsage(db, [rowOf(month), rowOf(month, { occurred_at: `${month}-01T00:00:00Z` })]);
    }
  });
  afterEach(async () => {
    store.close();
    await database.close();
  });

  const fold = (): Promise<unknown> => db.query('SELECT weir.fold(1000)');
  const round = (months: number | null): Promise<void> =>
    new Retention({ store, months, logger, tryEveryMs: 5 }).round();
  const droppedBefore = async (): Promise<string> =>
    (await db.query<{ at: string }>('SELECT dropped_before::text AS at FROM usage_retention'))[0]!.at;
  const monthsLeft = async (): Promise<string[]> =>
    (
      await db.query<{ name: string }>(
        `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'llm_usage'::regclass AND inhrelid::regclass::text LIKE 'llm_usage_2020%' ORDER BY 1`,
      )
    ).map(({ name }) => name);
  const from = (month: string): string[] => MONTHS.slice(MONTHS.indexOf(month)).map(partitionOf);
  const logged = (level: string): string[] =>
    logger.lines.filter((line) => line.level === level).map(({ message }) => message);

  it('removes whole months that are older than those to keep, and says from when on rows are there; their figures stay', async () => {
    await fold();
    const before = await totalOf(db);
    await round(2);
    expect(await monthsLeft()).toEqual(from('2020-04'));
    expect(await droppedBefore()).toBe('2020-04-01 00:00:00+00');
    expect(await totalOf(db)).toEqual(before);
    expect(before.calls).toBe(12);
    expect((await db.query<{ n: number }>('SELECT count(*)::int AS n FROM llm_usage'))[0]!.n).toBe(6);
    expect(
      logger.lines
        .filter(({ level }) => level === 'info')
        .map(({ fields }) => (fields as { partition: string }).partition),
    ).toEqual(['2020-01', '2020-02', '2020-03'].map(partitionOf));
    await round(2);
    expect(await monthsLeft()).toEqual(from('2020-04'));
    await round(1);
    expect(await monthsLeft()).toEqual(from('2020-05'));
    expect(await droppedBefore()).toBe('2020-05-01 00:00:00+00');
  });

  it('keeps everything where nothing is configured', async () => {
    await fold();
    await round(null);
    expect([await monthsLeft(), await droppedBefore()]).toEqual([from('2020-01'), '-infinity']);
  });

  it('keeps a month, and those after it, while calls of it wait to be folded', async () => {
    await fold();
    await insertUsage(db, [rowOf('2020-02')]);
    await round(2);
    expect([await monthsLeft(), await droppedBefore()]).toEqual([from('2020-02'), '2020-02-01 00:00:00+00']);
    expect(logger.lines.at(-1)!.fields).toEqual({
      partition: 'llm_usage_2020_02',
      why: 'settled calls wait to be folded',
    });
    await fold();
    await round(2);
    expect(await monthsLeft()).toEqual(from('2020-04'));
  });

  it('keeps a month while a price change is not folded beyond it', async () => {
    await fold();
    await changePrice(db, { book: 1, model: 'm', input: '0.0003' });
    await db.query(`SELECT weir.fold_price_change(1, '2020-02-20')`);
    await round(2);
    expect([await monthsLeft(), logger.lines.at(-1)!.fields]).toEqual([
      from('2020-02'),
      { partition: 'llm_usage_2020_02', why: 'a price change waits to be folded' },
    ]);
    await db.query(`SELECT weir.fold_price_change(1, '2020-03-01')`);
    await round(2);
    expect(await monthsLeft()).toEqual(from('2020-03'));
    // One that is of later calls only keeps nothing.
    await db.query(`SELECT weir.fold_price_change(1, 'infinity')`);
    await changePrice(db, { book: 2, model: 'm', input: '0.0004', from: '2020-04-01T00:00:00Z', previous: 1 });
    const before = await totalOf(db);
    await round(2);
    expect([await monthsLeft(), await totalOf(db)]).toEqual([from('2020-04'), before]);
  });

  it.each([
    [
      'a cell has a call too many',
      `UPDATE usage_daily SET calls = calls + 1 WHERE day = '2020-02-09'`,
      { organizationId: organization, day: '2020-02-09', rows: '1/10/5', cubes: '2/10/5' },
    ],
    [
      'a cell has lost tokens',
      `UPDATE usage_daily SET completion_tokens = 4 WHERE day = '2020-02-09'`,
      { organizationId: organization, day: '2020-02-09', rows: '1/10/5', cubes: '1/10/4' },
    ],
    [
      'a day is in no cube',
      `DELETE FROM usage_daily WHERE day = '2020-02-09'`,
      { organizationId: organization, day: '2020-02-09', rows: '1/10/5', cubes: 'none' },
    ],
    [
      'a row has gone',
      `DELETE FROM llm_usage WHERE occurred_at = '2020-02-09T10:00:00Z'`,
      { organizationId: organization, day: '2020-02-09', rows: 'none', cubes: '1/10/5' },
    ],
  ])(
    'removes nothing of a month, nor of those after it, where %s: that is an error',
    async (_what, plant, difference) => {
      await fold();
      await db.query(plant);
      await round(2);
      expect([await monthsLeft(), await droppedBefore()]).toEqual([from('2020-02'), '2020-02-01 00:00:00+00']);
      expect(logger.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)).toEqual([
        { partition: 'llm_usage_2020_02', differences: [difference] },
      ]);
    },
  );

  it('counts corrections and rows without a partition: what is true is proved, whatever it was before', async () => {
    const late = callEnd({ organizationId: organization, occurredAt: '2020-01-20 10:00:00+00' });
    await new LedgerStore(db).settle([
      late,
      callEnd({ organizationId: organization, occurredAt: '2019-12-20 10:00:00+00' }),
    ]);
    await new LedgerStore(db).correct([{ ...late, status: 'FAILED', tokens: { ...late.tokens, output: 1 } }], 'TEST');
    await fold();
    const before = await totalOf(db);
    await round(2);
    expect([logged('error'), await monthsLeft(), await totalOf(db)]).toEqual([[], from('2020-04'), before]);
    expect(await db.query('SELECT id FROM llm_usage_rest')).toEqual([]);
  });

  it('a call that is settled for a month which has gone is in the figures, and its row goes once they have it', async () => {
    await fold();
    await round(2);
    await new LedgerStore(db).settle([callEnd({ organizationId: organization, occurredAt: '2020-02-20 10:00:00+00' })]);
    const rest = (): Promise<unknown[]> => db.query('SELECT id FROM llm_usage_rest');
    await round(2);
    expect(await rest()).toHaveLength(1);
    await fold();
    expect((await totalOf(db)).calls).toBe(13);
    await round(2);
    expect([await rest(), await droppedBefore(), (await totalOf(db)).calls, logged('error')]).toEqual([
      [],
      '2020-04-01 00:00:00+00',
      13,
      [],
    ]);
  });

  it('waits for the table only for a moment at a time: whoever settles meanwhile is not held up, and the month goes when nobody uses the table', async () => {
    await fold();
    const reader = new Client({ connectionString: database.url });
    await reader.connect();
    await reader.query('BEGIN');
    await reader.query('SELECT count(*) FROM llm_usage');
    const done = round(4);
    const retrying = async (): Promise<boolean> =>
      (
        await db.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'weir-retention' AND wait_event_type = 'Lock'`,
        )
      ).length > 0;
    await waitFor(retrying);
    // The reader ends behind it: a settlement that queued behind the removal would never come.
    await eventually(
      new LedgerStore(db).settle([callEnd({ organizationId: organization, occurredAt: '2020-06-10 10:00:00+00' })]),
      'a settlement',
    );
    expect(await monthsLeft()).toEqual(from('2020-01'));
    await reader.query('COMMIT');
    await reader.end();
    await done;
    expect(await monthsLeft()).toEqual(from('2020-02'));
  });

  it('gives up after some tries, and leaves everything as it was', async () => {
    await fold();
    const reader = new Client({ connectionString: database.url });
    await reader.connect();
    await reader.query('BEGIN');
    await reader.query('SELECT count(*) FROM llm_usage');
    await round(2);
    expect([await monthsLeft(), await droppedBefore(), logger.lines.at(-1)!.fields]).toEqual([
      from('2020-01'),
      '-infinity',
      { partition: 'llm_usage_2020_01', why: 'the table is in use' },
    ]);
    await reader.query('COMMIT');
    await reader.end();
  });

  it('what comes between the check and the removal is not lost', async () => {
    await fold();
    const month = (await store.oldestMonth(2))!;
    expect(await store.check(month)).toEqual({ why: null, differences: [] });
    await new LedgerStore(db).settle([callEnd({ organizationId: organization, occurredAt: '2020-01-20 10:00:00+00' })]);
    expect(await store.drop(month)).toEqual({ why: 'settled calls wait to be folded', isBusy: false });
    await fold();
    expect(await store.drop(month)).toBeNull();
    expect((await totalOf(db)).calls).toBe(13);
  });

  it('does not remove what a price that is being recorded at that moment needs', async () => {
    await fold();
    const month = (await store.oldestMonth(2))!;
    const pricing = new Client({ connectionString: database.url });
    await pricing.connect();
    await pricing.query('BEGIN');
    await pricing.query('SELECT dropped_before FROM usage_retention FOR SHARE');
    expect(await store.drop(month)).toEqual({ why: 'the table is in use', isBusy: true });
    const tx = {
      query: async <R>(sql: string, values: readonly unknown[] = []) =>
        (await pricing.query(sql, [...values])).rows as R[],
    };
    await appendPrice(tx, { number: 1, model: 'm', rates: { input: '1', output: '1' } });
    await changeAllCalls(tx, { book: 1, model: 'm' });
    await pricing.query('COMMIT');
    await pricing.end();
    expect(await store.drop(month)).toEqual({ why: 'a price change waits to be folded', isBusy: false });
  });

  it('is done by one process at a time', async () => {
    await fold();
    const other = new RetentionStore(database.url);
    let inside = false;
    await store.alone(async () => {
      inside = true;
      expect(await other.alone(async () => expect(inside).toBe(false))).toBe(false);
    });
    expect(await other.alone(async () => undefined)).toBe(true);
    other.close();
  });

  it('removes quarters of an hour that are older than 60 whole days (UTC), and no others', async () => {
    await setClock(db, '2020-06-10T23:59:00Z');
    await insertUsage(
      db,
      ['2020-04-10T23:59:59Z', '2020-04-11T00:00:00Z', '2020-04-12T00:00:00Z'].map((occurred_at) =>
        rowOf('2020-04', { occurred_at }),
      ),
    );
    await setClock(db, '2020-05-01T00:00:00Z');
    await fold();
    await setClock(db, '2020-06-10T23:59:00Z');
    await round(null);
    const [first] = await db.query<{ at: Date }>('SELECT min(at) AS at FROM usage_quarter_hourly');
    expect(first!.at.toISOString()).toBe('2020-04-11T00:00:00.000Z');
    expect((await totalOf(db)).calls).toBe(15);
  });
});
