import { Client } from 'pg';
import type { Db } from '../../../src/database/pool';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { Partitions } from '../../../src/services/ledger/partitions';
import { readSnapshot } from '../../../src/services/usage/usage-where.store';
import { startTestApp } from '../../support/app';
import { callEnd } from '../../support/call-ends';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { startProvider } from '../../support/provider';
import { eventually, waitFor } from '../../support/wait';
import { wrongCells } from '../rollups/figure-scene';
import type { Settlement } from '../../../src/domain/call';

let database: TestDatabase;
let db: Db;
let store: LedgerStore;
const clients: Client[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  db = database.db;
  store = new LedgerStore(db);
  // The clock was turned back to before all partitions.
  await setClock(db, '2019-03-10T12:00:00Z');
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.end();
  await database.close();
});

async function connect(): Promise<Client> {
  const client = new Client({ connectionString: database.url, options: '-c TimeZone=UTC' });
  await client.connect();
  clients.push(client);
  return client;
}

const callsAt = (...times: string[]): Settlement[] => times.map((occurredAt) => callEnd({ occurredAt }));
/** Rows of this month, on whose partition the most depends, and of others. */
const MARCH = [
  '2019-03-01 00:00:00+00',
  '2019-03-05 10:00:00+00',
  '2019-03-05 10:00:00+00',
  '2019-03-31 23:59:59.999999+00',
];
const OTHERS = [
  '2019-01-31 23:59:59.999999+00',
  '2019-02-01 00:00:00+00',
  '2019-02-28 23:59:59.999999+00',
  '2019-04-01 00:00:00+00',
  '1999-12-31 23:59:59.999999+00',
];

const inDefault = async (): Promise<number> =>
  (await db.query<{ n: number }>('SELECT count(*)::int AS n FROM llm_usage_rest'))[0]!.n;
/** Everything that is in the table, wherever it is. */
const contents = async (): Promise<unknown[]> =>
  db.query('SELECT to_jsonb(u) AS row FROM llm_usage AS u ORDER BY occurred_at, id');
const places = async (): Promise<string[]> =>
  (
    await db.query<{ place: string }>(
      'SELECT tableoid::regclass::text AS place FROM llm_usage ORDER BY occurred_at, id',
    )
  ).map(({ place }) => place);
const counted = (sql = ''): string => `SELECT count(*)::int AS n FROM llm_usage ${sql}`;
const IN_MARCH = counted(`WHERE occurred_at >= '2019-03-01 00:00+00' AND occurred_at < '2019-04-01 00:00+00'`);
const IN_FEBRUARY = counted(`WHERE occurred_at >= '2019-02-01 00:00+00' AND occurred_at < '2019-03-01 00:00+00'`);
const AS_OF = `SELECT coalesce(sum(calls), 0)::int AS n FROM analytics.spend_as_of('2019-03-10 12:30+00', '2019-02-01', '2019-03-01')`;
/** Somebody waits for the table of usage rows or for a partition of it. */
const waitForWaiter = (mode: string): Promise<unknown> =>
  waitFor(
    async () =>
      (
        await db.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'llm_usage'::regclass AND mode = $1`, [
          mode,
        ])
      ).length > 0,
    { what: `somebody who waits for ${mode}` },
  );

describe('rows that came before the partition of their month', () => {
  it('do not stop a server from starting; they move into their partitions once, and no figure changes', async () => {
    await store.settle(callsAt(...MARCH, ...OTHERS));
    await db.query('SELECT weir.fold(3)');
    const before = await contents();
    expect(await inDefault()).toBe(9);
    const provider = await startProvider();
    const app = await startTestApp({ database, upstream: provider });
    try {
      await waitFor(async () => (await inDefault()) === 0, { what: 'the rows to move' });
      expect(await contents()).toEqual(before);
      expect(await places()).toEqual([
        'llm_usage_1999_12',
        'llm_usage_2019_01',
        'llm_usage_2019_02',
        'llm_usage_2019_02',
        ...MARCH.map(() => 'llm_usage_2019_03'),
        'llm_usage_2019_04',
      ]);
      expect(await wrongCells(db)).toEqual([]);
      expect(app.log.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
    } finally {
      await app.stop();
      await provider.close();
    }
  });

  it('move by the month that they belong to, to the microsecond, where only one instant of it is there', async () => {
    await store.settle(callsAt('2019-05-01 00:00:00+00', '2019-04-30 23:59:59.999999+00'));
    expect(await store.moveDefaultUsage()).toEqual(['llm_usage_2019_04', 'llm_usage_2019_05']);
    expect(await places()).toEqual(['llm_usage_2019_04', 'llm_usage_2019_05']);
  });

  it('leave a table behind that looks like any other partition, and the next ones move as well', async () => {
    const indexes = async (): Promise<unknown[]> =>
      db.query(
        `SELECT replace(c.relname, t.relname, '') AS name, pg_get_indexdef(c.oid) LIKE '%UNIQUE%' AS "unique", c.relispartition
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid WHERE t.relname = $1 ORDER BY 1`,
        ['llm_usage_2019_03'],
      );
    await store.ensurePartitions(0);
    const made = await indexes();
    await db.query('DROP TABLE llm_usage_2019_03');
    await store.settle(callsAt(...MARCH));
    expect(await store.moveDefaultUsage()).toEqual(['llm_usage_2019_03']);
    expect(await indexes()).toEqual(made);
    await store.settle(callsAt('2019-06-05 10:00:00+00'));
    expect(await store.moveDefaultUsage()).toEqual(['llm_usage_2019_06']);
    expect([await inDefault(), await store.moveDefaultUsage()]).toEqual([0, []]);
  });

  it('stay while their month is one that was removed', async () => {
    await db.query(`UPDATE usage_retention SET dropped_before = '2019-03-01 00:00:00+00'`);
    await store.settle(callsAt(...OTHERS, '2019-03-01 00:00:00+00'));
    expect(await store.moveDefaultUsage()).toEqual(['llm_usage_2019_03', 'llm_usage_2019_04']);
    expect(await places()).toEqual([
      ...OTHERS.slice(0, 4).map(() => 'llm_usage_rest'),
      'llm_usage_2019_03',
      'llm_usage_2019_04',
    ]);
  });

  it('move once when several processes move them', async () => {
    await store.settle(callsAt(...MARCH, ...OTHERS));
    const before = await contents();
    await Promise.all(
      [1, 2, 3].map(async () => {
        while ((await store.moveDefaultUsage()) === null);
      }),
    );
    expect([await contents(), await inDefault()]).toEqual([before, 0]);
  });
});

describe('while they move', () => {
  /** The move has been done, and is not committed. */
  async function moving(): Promise<Client> {
    const mover = await connect();
    await mover.query('BEGIN');
    await mover.query('SELECT weir.move_default_usage()');
    return mover;
  }

  it('reports that wait for it see each row once, be they in one snapshot, in one statement, prepared or as of a time', async () => {
    await store.settle(callsAt(...MARCH, ...OTHERS));
    const prepared = await connect();
    const ask = async (text: string): Promise<number> => (await prepared.query({ name: 'calls', text })).rows[0].n;
    // Often enough that Postgres has planned it once for all times.
    for (let i = 0; i < 7; i += 1) expect(await ask(IN_FEBRUARY)).toBe(2);
    await setClock(db, '2019-03-10T13:00:00Z');
    const mover = await moving();
    const answers = [
      connect().then(async (analyst) => (await analyst.query(AS_OF)).rows[0].n),
      readSnapshot(db, async (tx) => (await tx.query<{ n: number }>(IN_FEBRUARY))[0]!.n),
      readSnapshot(db, async (tx) => (await tx.query<{ n: number }>(IN_MARCH))[0]!.n),
      db.query<{ n: number }>(counted()).then(([row]) => row!.n),
      ask(IN_FEBRUARY),
    ];
    await waitFor(
      async () =>
        (await db.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'llm_usage'::regclass`)).length >= 5,
    );
    await mover.query('COMMIT');
    expect(await Promise.all(answers)).toEqual([2, 2, 4, 9, 2]);
    expect(await ask(IN_FEBRUARY)).toBe(2);
  });

  it('a report that began before keeps the table as it was until it ends: the move gives way and is tried again', async () => {
    await store.settle(callsAt(...MARCH, ...OTHERS));
    await readSnapshot(db, async (tx) => {
      const ask = async (): Promise<number[]> => [
        (await tx.query<{ n: number }>(IN_MARCH))[0]!.n,
        (await tx.query<{ n: number }>(IN_FEBRUARY))[0]!.n,
      ];
      expect(await store.moveDefaultUsage()).toBeNull();
      expect(await ask()).toEqual([4, 2]);
      expect(await store.moveDefaultUsage()).toBeNull();
      expect(await ask()).toEqual([4, 2]);
    });
    expect(await store.moveDefaultUsage()).toHaveLength(5);
  });

  it('even a snapshot that was taken without a lock sees the rows of the month with the most once', async () => {
    await store.settle(callsAt(...MARCH, ...OTHERS));
    const reader = await connect();
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await reader.query('SELECT FROM organizations');
    expect(await store.moveDefaultUsage()).toHaveLength(5);
    expect((await reader.query(IN_MARCH)).rows[0].n).toBe(4);
  });

  it('a settlement that is repeated waits, and is found to be booked, whether its row was copied or not', async () => {
    const march = callsAt(...MARCH);
    const others = callsAt(...OTHERS);
    await store.settle([...march, ...others]);
    const before = await contents();
    const mover = await moving();
    const replays = [store.settle(march), new LedgerStore(db).settle(others)];
    await waitForWaiter('RowExclusiveLock');
    await mover.query('COMMIT');
    expect(await Promise.all(replays)).toEqual([[], []]);
    expect(await contents()).toEqual(before);
    expect(await wrongCells(db)).toEqual([]);
  });

  it('a settlement that is repeated after a move that was rolled back is found to be booked', async () => {
    const ends = callsAt(...MARCH, ...OTHERS);
    await store.settle(ends);
    const before = await contents();
    const mover = await moving();
    const replay = store.settle(ends);
    await waitForWaiter('RowExclusiveLock');
    await mover.query('ROLLBACK');
    expect(await replay).toEqual([]);
    expect([await contents(), await inDefault()]).toEqual([before, 9]);
  });

  it('new calls of these months wait, and are in the new partitions; corrections find their calls', async () => {
    const [first] = callsAt(...MARCH);
    await store.settle([first!, ...callsAt(...OTHERS)]);
    const mover = await moving();
    const late = callsAt('2019-03-07 10:00:00+00', '2019-02-07 10:00:00+00', '2019-07-07 10:00:00+00');
    const settled = store.settle(late);
    const corrected = new LedgerStore(db).correct([{ ...first!, tokens: { ...first!.tokens, output: 9 } }], 'TEST');
    await waitForWaiter('RowExclusiveLock');
    await waitForWaiter('AccessShareLock');
    await mover.query('COMMIT');
    expect([(await settled).length, await corrected]).toEqual([3, [first!.id]]);
    expect([(await places()).filter((place) => place === 'llm_usage_2019_03').length, await inDefault()]).toEqual([
      4, 1,
    ]);
    expect(await wrongCells(db)).toEqual([]);
  });

  it('a settlement that has written and not committed is not passed over', async () => {
    await store.settle(callsAt(...OTHERS));
    const settling = await connect();
    await settling.query('BEGIN');
    const { id } = callEnd();
    const row = {
      organization_id: 'org_1',
      occurred_at: '2019-02-07 10:00:00+00',
      id,
      user_id: 'usr_1',
      scenario: 'DEFAULT',
      trace_id: 't',
      door: 'GRAPHQL',
      operation: 'CHAT',
      streamed: false,
      model: 'm',
      served_model: 'm',
      upstream: 'DIRECT',
      attempts: 1,
      status: 'COMPLETED',
      uncached_prompt_tokens: 1,
      cache_read_tokens: 0,
      cache_write_tokens: 0,
      cache_write_one_hour_tokens: 0,
      output_tokens: 1,
      reasoning_tokens: 0,
      usage_source: 'PROVIDER',
      omitted_messages: 0,
      budget_ids: [],
      budget_dates: [],
    };
    expect((await settling.query('SELECT settled FROM weir.settle($1::json)', [JSON.stringify([row])])).rows).toEqual([
      { settled: [id] },
    ]);
    expect([await store.moveDefaultUsage(), await inDefault()]).toEqual([null, 5]);
    await settling.query('COMMIT');
    expect(await store.moveDefaultUsage()).toHaveLength(4);
    expect([
      (await contents()).length,
      (await places()).filter((place) => place === 'llm_usage_2019_02').length,
      await inDefault(),
    ]).toEqual([6, 3, 0]);
  });
});

describe('a table that is in use', () => {
  it('holds nobody else up: who settles behind a move that waits gets through while the reader goes on', async () => {
    await store.settle(callsAt(...MARCH));
    const reader = await connect();
    await reader.query('BEGIN');
    await reader.query(counted());
    let tries = 0;
    let done = false;
    const trying = (async () => {
      while (!done) {
        expect(await store.moveDefaultUsage()).toBeNull();
        tries += 1;
      }
    })();
    await waitForWaiter('AccessExclusiveLock');
    // The reader ends behind it: a settlement that the move kept waiting would never come.
    await eventually(store.settle(callsAt('2019-03-08 10:00:00+00')), 'a settlement');
    done = true;
    await trying;
    expect(tries).toBeGreaterThan(0);
    await reader.query('COMMIT');
  });

  it('does not keep a server from starting without the partition of its month; the server makes it and moves the rows when the table is free', async () => {
    await store.settle(callsAt(...OTHERS));
    const logger = memoryLogger();
    const reader = await connect();
    await reader.query('BEGIN');
    await reader.query(counted());
    const tries: unknown[] = [];
    const counting = {
      ensurePartitions: async (months: number) => note(await store.ensurePartitions(months)),
      moveDefaultUsage: async () => note(await store.moveDefaultUsage()),
    };
    const note = <T>(result: T): T => {
      tries.push(result);
      return result;
    };
    const partitions = new Partitions({ store: counting, logger, retryMs: 1, lookEveryMs: 3_600_000 });
    await eventually(partitions.start(), 'the start');
    try {
      await waitFor(() => tries.length > 6);
      expect([new Set(tries), await inDefault(), logger.lines]).toEqual([new Set([null]), 5, []]);
      // A call of now is settled meanwhile.
      await store.settle(callsAt('2019-03-10 12:00:00+00'));
      await reader.query('COMMIT');
      await waitFor(async () => (await inDefault()) === 0 && tries.includes(2) && logger.lines.length > 0, {
        what: 'the move and the coming months',
      });
      expect(await places()).toEqual([
        'llm_usage_1999_12',
        'llm_usage_2019_01',
        'llm_usage_2019_02',
        'llm_usage_2019_02',
        'llm_usage_2019_03',
        'llm_usage_2019_04',
      ]);
      expect(logger.lines.map(({ level, fields }) => [level, fields])).toEqual([
        [
          'info',
          {
            partitions: [
              'llm_usage_2019_02',
              'llm_usage_1999_12',
              'llm_usage_2019_01',
              'llm_usage_2019_03',
              'llm_usage_2019_04',
            ],
          },
        ],
      ]);
    } finally {
      await partitions.stop();
    }
  });

  it('is asked for less and less often when a move fails', async () => {
    const logger = memoryLogger();
    const failing = { ensurePartitions: async () => 0, moveDefaultUsage: () => Promise.reject(new Error('too long')) };
    const partitions = new Partitions({ store: failing, logger, lookEveryMs: 1 });
    await partitions.start();
    await waitFor(() => logger.lines.length >= 5);
    await partitions.stop();
    expect(logger.lines.slice(0, 5).map(({ fields }) => (fields as { nextMs: number }).nextMs)).toEqual([
      1, 2, 4, 8, 16,
    ]);
  });
});
