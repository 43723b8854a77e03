import { Client } from 'pg';
import { newId } from '../../../src/lib/ids';
import { PriceBook } from '../../../src/services/pricing/price-book';
import { PriceService } from '../../../src/services/pricing/price.service';
import { AsOf } from '../../../src/services/usage/as-of.store';
import { UsageService } from '../../../src/services/usage/usage.service';
import type { UsageQuery, UsageReport } from '../../../src/services/usage/usage.types';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { appendPrice } from '../../support/prices';
import { waitFor } from '../../support/wait';
import { correctUsage, insertUsage, usageRow, type UsageRow } from './usage-rows';

let database: TestDatabase;
let usage: UsageService;
let viewer: Viewer;
let prices: PriceService;
let other: Client;
beforeEach(async () => {
  database = await createTestDatabase();
  usage = new UsageService({ db: database.db });
  viewer = {
    userId: newId('user'),
    organizationId: newId('organization'),
    role: 'ANALYST',
    planId: 'pln',
    tokenId: null,
    sessionId: null,
    expiresAtMs: null,
  };
  const logger = memoryLogger();
  prices = new PriceService({
    db: database.db,
    book: new PriceBook({ db: database.db, logger }),
    people: { visibleOrganization: async () => null },
    logger,
  });
  other = new Client({ connectionString: database.url });
  await other.connect();
});
afterEach(async () => {
  await other.end();
  await database.close();
});

const report = (more: Partial<UsageQuery> = {}): Promise<UsageReport> =>
  usage.report(viewer, {
    filter: {},
    groupBy: [],
    interval: null,
    timeZone: 'UTC',
    orderBy: 'COST_DESC',
    limit: 10,
    ...more,
  });
const row = (at: string, more: Partial<UsageRow> & { settled_at?: string } = {}): UsageRow =>
  ({
    ...usageRow({
      organization_id: viewer.organizationId,
      user_id: viewer.userId,
      occurred_at: at,
      uncached_prompt_tokens: 1_000_000,
      output_tokens: 0,
      cost: '1',
      cost_input: '1',
      cost_output: '0',
    }),
    settled_at: at,
    ...more,
  }) as UsageRow;
const setPrice = (from: string, dollars: string): Promise<unknown> =>
  prices.setModelPrice(
    { ...viewer, role: 'OPERATOR' },
    { model: 'm', effectiveFrom: new Date(from), inputPerMillion: dollars, outputPerMillion: dollars },
    false,
  );
const sums = ({ totals, priceBook }: UsageReport): unknown[] => [totals.calls, totals.cost, priceBook];
const foldAll = (): Promise<unknown> => database.db.query('SELECT weir.fold(1000000)');

it("last month's invoice is printed again as it was, and as it is since a price was corrected and a call was settled late", async () => {
  await setClock(database.db, '2026-10-20T00:00:00Z');
  const calls = [row('2026-10-05T10:00:00Z'), row('2026-10-06T10:00:00Z')];
  await insertUsage(database.db, calls);
  await setClock(database.db, '2026-11-03T00:00:00Z');
  const october = { filter: { from: new Date('2026-10-01T00:00:00Z'), to: new Date('2026-11-01T00:00:00Z') } };
  const printed = await report(october);
  expect([sums(printed), printed.pricesAsOf.toISOString()]).toEqual([[2, '2', 0], '2026-11-03T00:00:00.001Z']);
  await setClock(database.db, '2026-11-04T00:00:00Z');
  await setPrice('2026-10-06T00:00:00Z', '3');
  await setClock(database.db, '2026-11-05T00:00:00Z');
  await insertUsage(database.db, [
    row('2026-10-07T10:00:00Z', { settled_at: '2026-11-05T00:00:00Z', book_number: 1, cost: '3' } as never),
  ]);
  await setClock(database.db, '2026-11-06T00:00:00Z');
  await correctUsage(database.db, { ...calls[0]!, book_number: undefined } as never, {
    uncached_prompt_tokens: 5_000_000,
    cost: '5',
    cost_input: '5',
  });
  await setClock(database.db, '2026-11-07T00:00:00Z');
  for (const fold of [
    async () => undefined,
    foldAll,
    () => database.db.query(`SELECT weir.fold_price_change(1, 'infinity')`),
  ]) {
    await fold();
    expect(sums(await report(october))).toEqual([3, '11', 1]);
    const asOf = async (at: string): Promise<unknown[]> => sums(await report({ ...october, pricesAsOf: new Date(at) }));
    expect(await asOf('2026-11-03T00:00:00Z')).toEqual([2, '2', 0]);
    expect(await asOf('2026-11-04T12:00:00Z')).toEqual([2, '4', 1]);
    expect(await asOf('2026-11-05T12:00:00Z')).toEqual([3, '7', 1]);
    expect(await asOf('2026-11-06T12:00:00Z')).toEqual([3, '11', 1]);
    expect(await asOf('2026-10-05T09:00:00Z')).toEqual([0, '0', 0]);
  }
});

it('the span is by default that of then: from the start of its month to its moment', async () => {
  await setClock(database.db, '2026-11-20T00:00:00Z');
  await insertUsage(database.db, [
    row('2026-10-31T23:30:00Z'),
    row('2026-10-10T00:00:00Z'),
    row('2026-11-02T00:00:00Z'),
  ]);
  const then = await report({ pricesAsOf: new Date('2026-10-15T12:00:00Z') });
  expect([then.from.toISOString(), then.to.toISOString(), then.pricesAsOf.toISOString(), then.totals.calls]).toEqual([
    '2026-10-01T00:00:00.000Z',
    '2026-10-15T12:00:00.000Z',
    '2026-10-15T12:00:00.000Z',
    1,
  ]);
  expect(
    (await report({ pricesAsOf: new Date('2026-11-01T02:00:00Z'), timeZone: 'America/New_York' })).from.toISOString(),
  ).toBe('2026-10-01T04:00:00.000Z');
});

it('a call that was made before and settled after is not in it, whichever it is read from', async () => {
  await setClock(database.db, '2026-11-20T12:00:00Z');
  await insertUsage(database.db, [
    row('2026-11-19T11:10:00Z', { settled_at: '2026-11-19T11:20:00Z' } as never),
    row('2026-11-19T11:11:00Z', { settled_at: '2026-11-19T12:05:00Z' } as never),
    row('2026-11-19T08:00:00Z', { settled_at: '2026-11-19T12:05:00Z' } as never),
  ]);
  for (const fold of [async () => undefined, foldAll]) {
    await fold();
    for (const groupBy of [[], ['MODEL'], ['PROVIDER'], ['AGENT']] as const) {
      const calls = async (at: string): Promise<number> =>
        (await report({ groupBy: [...groupBy], pricesAsOf: new Date(at) })).totals.calls;
      expect([
        await calls('2026-11-19T11:19:59.999Z'),
        await calls('2026-11-19T11:20:00Z'),
        await calls('2026-11-19T12:04:59.999Z'),
        await calls('2026-11-19T12:05:00Z'),
      ]).toEqual([0, 1, 1, 3]);
    }
  }
});

it('the future is refused', async () => {
  await expect(report({ pricesAsOf: new Date(Date.now() + 60_000) })).rejects.toMatchObject({
    code: 'BAD_USER_INPUT',
    argument: 'pricesAsOf',
  });
  await expect(report({ pricesAsOf: new Date(Number.NaN) })).rejects.toMatchObject({
    code: 'BAD_USER_INPUT',
    argument: 'pricesAsOf',
  });
});

describe('a moment that has just passed', () => {
  const MOMENT = 'SELECT weir.clock() AS at';
  const settle = `WITH batch AS (INSERT INTO usage_batches (organization_id, id, from_at, to_at, rows, settled_at)
      SELECT $1::text, nextval('weir.usage_batch_ids'), weir.clock(), weir.clock(), 1, weir.clock() RETURNING id, settled_at)
    INSERT INTO llm_usage (door, operation, organization_id, occurred_at, id, user_id, scenario, trace_id, streamed, model, served_model, upstream, attempts, status, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens,
      cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, batch_id, settled_at)
    SELECT 'GRAPHQL', 'CHAT', $1, settled_at, 'call_x', 'usr_x', 'DEFAULT', 't', false, 'm', 'm', 'DIRECT', 1, 'COMPLETED', 1, 0, 0, 0, 1, 0, 'PROVIDER', id, settled_at FROM batch`;
  /** Until a session waits: for those whom it saw writing, or for the lock of the book. */
  const waits = (sign: string): Promise<unknown> =>
    waitFor(async () => (await database.db.query(sign)).length > 0, { what: 'the question to wait' });

  it('waits for a settlement that has its time already, and then has it', async () => {
    await other.query('BEGIN');
    await other.query(settle, [viewer.organizationId]);
    const [{ at }] = (await database.db.query<{ at: Date }>(MOMENT)) as [{ at: Date }];
    // One that begins later is not waited for.
    const later = new Client({ connectionString: database.url });
    await later.connect();
    const answer = report({
      pricesAsOf: at,
      filter: { from: new Date(at.getTime() - 3_600_000), to: new Date(at.getTime() + 3_600_000) },
    });
    await waits(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%virtualtransaction = ANY%' AND pid <> pg_backend_pid()`,
    );
    await later.query('BEGIN');
    await later.query(settle, [newId('organization')]);
    await other.query('COMMIT');
    expect((await answer).totals.calls).toBe(1);
    await later.query('ROLLBACK');
    await later.end();
  });

  it('waits for a price that is being recorded', async () => {
    await other.query('BEGIN');
    await other.query(`SELECT pg_advisory_xact_lock(hashtext('weir.model_prices'))`);
    const tx = {
      query: async <R>(sql: string, values: readonly unknown[] = []) =>
        (await other.query(sql, [...values])).rows as R[],
    };
    await appendPrice(tx, { number: 1, model: 'm', rates: { input: '1', output: '1' } });
    const [{ at }] = (await database.db.query<{ at: Date }>(MOMENT)) as [{ at: Date }];
    const checked = new AsOf(database.db).check(at);
    await waits(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`);
    await other.query('COMMIT');
    expect(await checked).toEqual({ book: 1 });
  });

  it('is not waited for once it is long ago', async () => {
    await other.query('BEGIN');
    await other.query(settle, [viewer.organizationId]);
    expect(
      (await report({ pricesAsOf: new Date(Date.now() - 30_000), filter: { from: new Date(Date.now() - 3_600_000) } }))
        .totals.calls,
    ).toBe(0);
    await other.query('ROLLBACK');
  });

  it('is given up where something does not end', async () => {
    await other.query('BEGIN');
    await other.query(settle, [viewer.organizationId]);
    await expect(report({ pricesAsOf: new Date() })).rejects.toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      retryAfterMs: 1_000,
    });
    await other.query('ROLLBACK');
    await waitFor(async () => (await report({ pricesAsOf: new Date(Date.now() - 1) })).totals.calls === 0, {
      what: 'reports again',
    });
  });
});
