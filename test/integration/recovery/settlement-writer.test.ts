import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openDatabase, type Db } from '../../../src/database/pool';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { Journal } from '../../../src/services/recovery/journal';
import { SettlementWriter } from '../../../src/services/recovery/settlement-writer';
import type { SettlementStore } from '../../../src/services/recovery/settler';
import { admit, budgetBench, budgetOf } from '../../support/budgets';
import { callEnd } from '../../support/call-ends';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createUser, createWorld, type TestUser, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';
import { TcpFront } from '../../support/tcp-front';
import { eventually, waitFor, within } from '../../support/wait';
import type { Settlement } from '../../../src/domain/call';

/** Milliseconds that the product gives a settlement: see there. */
const DATABASE_MS = 3_000;
/** Tests in which it is away need not wait that long. */
const TIMING = { database: 1_000, replayFirst: 20, replayLast: 200 };
const REAL = { ...TIMING, database: DATABASE_MS };
/** For tests in which it answers: however slow this machine is, the journal is not asked. */
const PATIENT = { ...TIMING, database: 60_000 };

let database: TestDatabase;
let world: World;
let front: TcpFront;
let db: Db;
let home: string;
let logger: ReturnType<typeof memoryLogger>;
let writers: SettlementWriter[];
beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db);
});
afterAll(() => database.close());
beforeEach(async () => {
  front = await TcpFront.start(database.url);
  db = await openDatabase({ url: front.url, poolSize: 4 }, () => {});
  home = mkdtempSync(path.join(tmpdir(), 'weir-ledger-'));
  logger = memoryLogger();
  writers = [];
});
afterEach(async () => {
  front.away = false;
  front.newConnectionsToo = false;
  await Promise.all(writers.map((writer) => writer.stop()));
  await db.close();
  await front.stop();
  rmSync(home, { recursive: true, force: true });
  // A test that failed leaves calls behind.
  await database.db.query('DELETE FROM calls_in_flight');
});

const startWriter = async (
  store: SettlementStore = new LedgerStore(db),
  timing = TIMING,
): Promise<SettlementWriter> => {
  const writer = new SettlementWriter({
    store,
    journal: new Journal({ home, database: 'test', logger }),
    logger,
    timing,
  });
  writers.push(writer);
  await writer.start();
  return writer;
};
const files = (): string[] => readdirSync(path.join(home, 'journal', 'test')).sort();

/**
 * A user with a budget of 100 dollars, and calls that were admitted on it: each holds one dollar and has cost a tenth
 * of that.
 */
async function callsOf(count: number): Promise<{ user: TestUser; budgetId: string; ends: Settlement[] }> {
  const user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
  const budget = await budgetBench(database).budgets.set(
    world.admin.viewer,
    budgetOf({ scope: 'USER', subjectId: user.id, limit: '100' }),
  );
  const admitted = await Promise.all(Array.from({ length: count }, () => admit(database.db, user, '1')));
  const cost = {
    input: '0.1',
    cacheRead: '0',
    cacheWrite: '0',
    output: '0',
    reasoning: '0',
    request: '0',
    total: '0.1',
  };
  const ends = admitted.map(({ id, occurredAt, heldOn }) =>
    callEnd({
      id,
      occurredAt,
      heldOn,
      organizationId: user.organizationId,
      userId: user.id,
      tokenId: user.tokenId,
      cost,
    }),
  );
  return { user, budgetId: budget.id, ends };
}
/** What the ledger says: rows of each kind, their costs, and the budget. */
async function ledger({ user, budgetId }: { user: TestUser; budgetId: string }): Promise<Record<string, unknown>> {
  const [rows] = await database.db.query(
    `SELECT count(*) FILTER (WHERE kind = 'CALL')::int AS calls, count(*) FILTER (WHERE kind <> 'CALL')::int AS corrections, coalesce(sum(cost), 0)::float8 AS cost,
       (SELECT count(*)::int FROM calls_in_flight WHERE user_id = $1) AS "inFlight", (SELECT spent::float8 FROM budget_periods WHERE budget_id = $2) AS spent,
       (SELECT held::float8 FROM budget_periods WHERE budget_id = $2) AS held FROM llm_usage WHERE user_id = $1`,
    [user.id, budgetId],
  );
  return rows!;
}
const booked = (calls: number, corrections = 0): Record<string, unknown> => ({
  calls,
  corrections,
  cost: expect.closeTo(calls / 10),
  inFlight: 0,
  spent: expect.closeTo(calls / 10),
  held: 0,
});
const notBooked = (calls: number): Record<string, unknown> => ({
  calls: 0,
  corrections: 0,
  cost: 0,
  inFlight: calls,
  spent: 0,
  held: calls,
});

describe('a Postgres that goes away', () => {
  it('for less than a settlement has delays settlements, and that is all', async () => {
    const calls = await callsOf(20);
    const store = new LedgerStore(db);
    let refused = 0;
    const settle: SettlementStore['settle'] = (ends) =>
      store.settle(ends).catch((error: unknown) => {
        refused += 1;
        throw error;
      });
    const writer = await startWriter({ settle, correct: (ends, reason) => store.correct(ends, reason) }, PATIENT);
    front.away = true;
    const written = Promise.all(calls.ends.map((end) => writer.write(end)));
    // Each of them is tried again more than once.
    await waitFor(() => refused > 2 * calls.ends.length, { what: 'settlements that fail' });
    front.away = false;
    await written;
    expect([await ledger(calls), files()]).toEqual([booked(20), []]);
  });

  it('for longer leaves every end in the journal, and each is settled exactly once when it is back', async () => {
    const calls = await callsOf(60);
    const writer = await startWriter(new LedgerStore(db), REAL);
    front.away = true;
    await eventually(Promise.all(calls.ends.map((end) => writer.write(end))), 'writing the ends');
    expect(writer.pendingIds()).toEqual(new Set(calls.ends.map(({ id }) => id)));
    expect([await ledger(calls), writer.inMemory]).toEqual([notBooked(60), 0]);
    front.away = false;
    await waitFor(() => writer.pendingIds().size === 0);
    expect([await ledger(calls), files()]).toEqual([booked(60), []]);
  });

  it('and takes the process with it: the next one settles what it finds before anything else', async () => {
    const calls = await callsOf(5);
    const writer = await startWriter();
    front.away = true;
    await Promise.all(calls.ends.map((end) => writer.write(end)));
    await writer.stop();
    front.away = false;
    const next = await startWriter();
    expect([await ledger(calls), files(), next.pendingIds().size]).toEqual([booked(5), [], 0]);
  });

  it('goes away again in the middle of a replay: nothing is lost and nothing is twice', async () => {
    const calls = await callsOf(90);
    const store = new LedgerStore(db);
    let settled = 0;
    const writer = await startWriter({
      settle: async (ends) => {
        const ids = await store.settle(ends);
        settled += 1;
        if (settled === 30) {
          front.away = true;
          setTimeout(() => (front.away = false), 50);
        }
        return ids;
      },
      correct: (ends, reason) => store.correct(ends, reason),
    });
    front.away = true;
    await Promise.all(calls.ends.map((end) => writer.write(end)));
    front.away = false;
    await waitFor(() => writer.pendingIds().size === 0);
    expect(settled).toBeGreaterThan(30);
    expect([await ledger(calls), files()]).toEqual([booked(90), []]);
  });
});

describe('a Postgres that is silent', () => {
  it('lets callers go after three seconds, and has every end once when it speaks again', async () => {
    const calls = await callsOf(20);
    const writer = await startWriter(new LedgerStore(db), REAL);
    await Promise.all(Array.from({ length: 4 }, () => db.hot('weir_test_one', 'SELECT 1', [])));
    front.newConnectionsToo = true;
    front.freeze();
    await within(Promise.all(calls.ends.map((end) => writer.write(end))), DATABASE_MS + 2_000, 'writing the ends');
    expect(await ledger(calls)).toEqual(notBooked(20));
    expect(files().length).toBeGreaterThan(0);
    front.newConnectionsToo = false;
    await waitFor(() => writer.pendingIds().size === 0);
    expect([await ledger(calls), files()]).toEqual([booked(20), []]);
  });
});

describe('settling twice', () => {
  it('after a commit whose answer was lost books nothing twice', async () => {
    const calls = await callsOf(3);
    const store = new LedgerStore(db);
    let lost = 0;
    const writer = await startWriter(
      {
        settle: async (ends) => {
          const ids = await store.settle(ends);
          if ((lost += 1) <= 3) throw new Error('Connection terminated unexpectedly');
          return ids;
        },
        correct: (ends, reason) => store.correct(ends, reason),
      },
      PATIENT,
    );
    await Promise.all(calls.ends.map((end) => writer.write(end)));
    expect(lost).toBeGreaterThan(3);
    expect(await ledger(calls)).toEqual(booked(3));
  });

  it('from a file that could not be removed in time books nothing twice', async () => {
    const calls = await callsOf(4);
    const first = new Journal({ home, database: 'test', logger });
    await first.open();
    await first.write(calls.ends);
    const kept = files().map((name) => ({ name, content: readFileSync(path.join(home, 'journal', 'test', name)) }));
    await startWriter();
    expect([await ledger(calls), files()]).toEqual([booked(4), []]);
    // Killed between the commit and the removal: the file is still there.
    for (const { name, content } of kept) writeFileSync(path.join(home, 'journal', 'test', name), content);
    await startWriter();
    expect([await ledger(calls), files()]).toEqual([booked(4), []]);
  });

  it('from the journals of two replicas at once books nothing twice', async () => {
    const calls = await callsOf(50);
    const journal = new Journal({ home, database: 'test', logger });
    await journal.open();
    await journal.write(calls.ends);
    const replicas = await Promise.all([db, database.db].map((each) => startWriter(new LedgerStore(each))));
    await waitFor(() => replicas.every((writer) => writer.pendingIds().size === 0));
    expect([await ledger(calls), files()]).toEqual([booked(50), []]);
  });

  it('behind somebody who had taken the call for lost becomes a correction: what was used is booked, once', async () => {
    const calls = await callsOf(3);
    const writer = await startWriter();
    front.away = true;
    await Promise.all(calls.ends.map((end) => writer.write(end)));
    const none = { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 };
    await new LedgerStore(database.db).settle(
      calls.ends.slice(0, 2).map((end) => ({
        ...end,
        status: 'LOST' as const,
        usageSource: 'NONE' as const,
        tokens: none,
        cost: null,
        rawUsage: null,
      })),
    );
    front.away = false;
    await waitFor(() => writer.pendingIds().size === 0);
    expect([await ledger(calls), files()]).toEqual([booked(3, 4), []]);
    expect(
      await database.db.query(
        `SELECT DISTINCT correction_reason FROM llm_usage WHERE user_id = $1 AND kind <> 'CALL'`,
        [calls.user.id],
      ),
    ).toEqual([{ correction_reason: 'JOURNAL' }]);
  });
});

describe('what Postgres refuses', () => {
  it('costs no more than what others wrote: the usage is booked', async () => {
    const calls = await callsOf(2);
    const writer = await startWriter(new LedgerStore(db), PATIENT);
    // A NUL in a name is nothing that jsonb can hold.
    const [bad, good] = calls.ends as [Settlement, Settlement];
    await Promise.all([writer.write({ ...bad, rawUsage: { 'a\0b': 1 } }), writer.write(good)]);
    expect([await ledger(calls), files()]).toEqual([booked(2), []]);
  });

  it('is put aside, and the rest of the journal is settled', async () => {
    const calls = await callsOf(5);
    const journal = new Journal({ home, database: 'test', logger });
    await journal.open();
    // No part of the product writes that; the table would not have it.
    const impossible = callEnd({
      organizationId: world.organizationId,
      userId: calls.user.id,
      tokens: { ...calls.ends[0]!.tokens, output: -1 },
    });
    await journal.write([impossible, ...calls.ends]);
    const writer = await startWriter();
    await waitFor(() => writer.pendingIds().size === 0);
    expect([await ledger(calls), files()]).toEqual([booked(5), [expect.stringMatching(/\.journal\.damaged$/)]]);
  });
});
