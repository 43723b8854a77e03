import type { Client } from 'pg';
import type { Tx } from '../../../src/database/pool';
import { PriceStore } from '../../../src/services/pricing/price.store';
import type { ObservedPrice } from '../../../src/services/pricing/pricing.types';
import { storableJson } from '../../../src/lib/storable';
import { PriceScene, replicaOf } from '../../support/price-scene';
import { waitFor } from '../../support/wait';
import type { Settlement } from '../../../src/domain/call';

let scene: PriceScene;
let count = 0;
/** Nothing of one test reaches the next. */
let model: string;
beforeAll(async () => {
  scene = await PriceScene.open();
});
beforeEach(() => {
  count += 1;
  model = `model-${count}`;
});
afterAll(() => scene.close());

const NOVEMBER = { effectiveFrom: new Date('2026-11-01T00:00:00Z') };
const end = (prompt: number, by = scene.a): Settlement =>
  scene.end(
    {
      model,
      servedModel: model,
      occurredAt: '2026-11-10 12:00:00+00',
      tokens: { uncachedPrompt: prompt, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 },
    },
    by,
  );
/** As the store writes it, in a transaction that stays open. */
async function settleIn(client: Client, one: Settlement): Promise<void> {
  const row = {
    organization_id: one.organizationId,
    occurred_at: one.occurredAt,
    id: one.id,
    user_id: one.userId,
    scenario: one.scenario,
    trace_id: one.traceId,
    door: 'GRAPHQL',
    operation: 'CHAT',
    streamed: one.streamed,
    model: one.model,
    served_model: one.servedModel,
    upstream: one.upstream,
    attempts: 1,
    status: one.status,
    uncached_prompt_tokens: one.tokens.uncachedPrompt,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    cache_write_one_hour_tokens: 0,
    output_tokens: 0,
    reasoning_tokens: 0,
    usage_source: one.usageSource,
    price_number: one.priceNumber,
    book_number: one.priceBook,
    cost: one.cost?.total,
    latency_ms: 1,
    omitted_messages: 0,
  };
  const { rows } = await client.query('SELECT settled, stale FROM weir.settle($1::json)', [storableJson([row])]);
  expect(rows).toEqual([{ settled: [one.id], stale: null }]);
}
const booked = async (id: string): Promise<{ cost: string; book_number: string }> =>
  (
    await scene.db.query<{ cost: string; book_number: string }>(
      'SELECT cost, book_number FROM llm_usage WHERE id = $1',
      [id],
    )
  )[0]!;

describe('a price change beside settlements', () => {
  it('waits for a settlement that is under way, and has its call in what it changes and in what it says', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    await scene.a.calls.settle([end(1)]);
    await scene.session(async (client) => {
      // Through the gate of prices, with its row still to come.
      await client.query('BEGIN');
      await client.query('SELECT weir.share_prices($1)', [[model]]);
      const change = scene.setPrice({ model, ...NOVEMBER, inputPerMillion: '3000000' });
      await scene.waiting('weir.lock_prices');
      const number = scene.a.book.number;
      await settleIn(client, end(10));
      await client.query('COMMIT');
      const result = await change;
      expect(result).toMatchObject({ affectedCalls: 2, costBefore: '11', costAfter: '33' });
      expect(result.price.number).toBe(number + 1);
    });
    expect(await scene.figures(model)).toEqual({ cost: '33', unpriced: 0, priced: 2 });
  });

  it('turns settlements away that were priced by the old book: they come again, and are booked at the new price', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    const store = new PriceStore(scene.db);
    const late = end(10, scene.a);
    await scene.b.book.reload();
    const elsewhere = end(100, scene.b);
    let settled: Promise<unknown> = Promise.resolve();
    const tries = [scene.a, scene.b].map(({ db }) => jest.spyOn(db, 'hot'));
    const number = await scene.db.transaction(async (tx) => {
      await store.lock(tx);
      await store.lockPrices(tx, [model]);
      settled = Promise.all([scene.a.calls.settle([late]), scene.b.calls.settle([elsewhere])]);
      await waitFor(() => tries.every(({ mock }) => mock.calls.length >= 2), { what: 'both to have been turned away' });
      const [added] = await store.append(tx, [
        {
          model,
          deployment: null,
          organizationId: null,
          source: 'ADMIN',
          ...NOVEMBER,
          effectiveTo: null,
          serviceTier: null,
          rates: { input: '3', output: '1' },
          note: null,
        },
      ]);
      return added!.number;
    });
    await settled;
    for (const spy of tries) spy.mockRestore();
    expect(
      [await booked(late.id), await booked(elsewhere.id)].map((row) => [Number(row.cost), Number(row.book_number)]),
    ).toEqual([
      [30, number],
      [300, number],
    ]);
    expect([late.priceNumber, late.cost!.total]).toEqual([number, '30']);
    expect(await scene.figures(model)).toEqual({ cost: '330', unpriced: 0, priced: 2 });
  });

  it('gives way to a settlement that takes long, so that others can settle meanwhile', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    await scene.session(async (client) => {
      await client.query('BEGIN');
      await client.query('SELECT weir.share_prices($1)', [[model]]);
      const change = scene.setPrice({ model, ...NOVEMBER, inputPerMillion: '3000000' });
      await scene.waiting('weir.lock_prices');
      // This one queues behind the change, and is through although the settlement before that has not ended.
      await scene.b.book.reload();
      await scene.b.calls.settle([end(10, scene.b)]);
      await client.query('COMMIT');
      expect(await change).toMatchObject({ affectedCalls: 1, costBefore: '10', costAfter: '30' });
    });
  });
});

describe('a change that hangs', () => {
  it('keeps calls from being settled for two seconds, and is ended by Postgres', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    const store = new PriceStore(scene.b.db);
    const hung = scene.b.db.transaction(async (tx) => {
      await store.lock(tx);
      await store.lockPrices(tx, [model]);
      await scene.a.calls.settle([end(10)]);
      await store.append(tx, [
        {
          model,
          deployment: null,
          organizationId: null,
          source: 'ADMIN',
          ...NOVEMBER,
          effectiveTo: null,
          serviceTier: null,
          rates: { input: '3', output: '1' },
          note: null,
        },
      ]);
    });
    await expect(hung).rejects.toThrow();
    expect(await scene.figures(model)).toEqual({ cost: '10', unpriced: 0, priced: 1 });
    expect(await scene.setPrice({ model, ...NOVEMBER, inputPerMillion: '3000000' })).toMatchObject({
      affectedCalls: 1,
      costAfter: '30',
    });
  });
});

describe('prices that the upstream tells', () => {
  const told = (names: readonly string[]): ObservedPrice[] =>
    names.map((name) => ({ model: name, deployment: null, rates: { input: '1', output: '1' }, knownAs: [] }));
  const locks = (): jest.SpyInstance<Promise<number>, [Tx, readonly string[]]> =>
    jest.spyOn(PriceStore.prototype, 'lockPrices');
  let spy: ReturnType<typeof locks>;
  beforeEach(() => {
    spy = locks();
  });
  afterEach(() => spy.mockRestore());

  it('are recorded for a few models at a time: calls of the others go on', async () => {
    await scene.a.book.record(told(Array.from({ length: 45 }, (_, i) => `${model}-${i}`)));
    expect(spy.mock.calls.map(([, models]) => models.length)).toEqual([20, 20, 5]);
    expect(scene.a.book.forCall(`${model}-44`, null, scene.ours.organizationId)?.rates.input).toBe('1');
  });

  it('are recorded when a settlement that was under way has ended', async () => {
    await scene.session(async (client) => {
      await client.query('BEGIN');
      await client.query('SELECT weir.share_prices($1)', [[model]]);
      const recorded = scene.a.book.record(told([model]));
      await waitFor(() => spy.mock.calls.length >= 2, { what: 'the change to have given way' });
      await client.query('COMMIT');
      await recorded;
    });
    expect(scene.a.book.forCall(model, null, scene.ours.organizationId)?.rates.input).toBe('1');
  });

  it('of other models are recorded although one model is being settled without end, and that one the next time', async () => {
    const [all, stuck] = [Array.from({ length: 21 }, (_, i) => `${model}-${i}`), `${model}-3`];
    spy.mockRestore();
    const real = PriceStore.prototype.lockPrices;
    spy = locks().mockImplementation(async function (this: PriceStore, tx, models) {
      if (models.includes(stuck))
        throw Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' });
      return real.call(this, tx, models);
    });
    await scene.a.book.record(told(all));
    const priced = (): number =>
      all.filter((name) => scene.a.book.forCall(name, null, scene.ours.organizationId)).length;
    expect(priced()).toBe(1);
    spy.mockRestore();
    await scene.a.book.record(told(all));
    expect(priced()).toBe(21);
  });
});

describe('the book as of a time', () => {
  it('is that of the answer, also right behind many other records: no time is told before it has come', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    const one = end(1);
    await scene.a.calls.settle([one]);
    await scene.a.book.record(
      Array.from({ length: 1_000 }, (_, i) => ({
        model: `${model}-${i}`,
        deployment: null,
        rates: { input: '1', output: '1' },
        knownAs: [],
      })),
    );
    const { price } = await scene.setPrice({ model, ...NOVEMBER, inputPerMillion: '10000000' });
    const [{ ahead } = { ahead: true }] = await scene.db.query<{ ahead: boolean }>(
      'SELECT max(recorded_at) > weir.clock() AS ahead FROM model_prices',
    );
    expect(ahead).toBe(false);
    // Taken back at once, the call counts nothing from then on.
    await scene.a.calls.correct(
      [scene.end({ ...one, tokens: { ...one.tokens, uncachedPrompt: 0 }, usageSource: 'NONE' })],
      'TEST',
    );
    const [{ at } = { at: new Date(0) }] = await scene.db.query<{ at: Date }>(
      'SELECT max(settled_at) AS at FROM llm_usage WHERE served_model = $1',
      [model],
    );
    expect(at.getTime()).toBeGreaterThanOrEqual(price.recordedAt.getTime());
    expect((await scene.figures(model, new Date(at.getTime() + 1))).cost).toBe('0');
  });

  it('is not told while a record of that time may yet be committed: as of a time there is one answer', async () => {
    const asked = (asOf: Date, by = scene.b): Promise<string[]> =>
      by.prices
        .prices(scene.ours.operator.viewer, { model, asOf })
        .then((records) => records.map((record) => record.rates.input));
    const store = new PriceStore(scene.db);
    let answer: Promise<string[]> = Promise.resolve([]);
    const recordedAt = await scene.db.transaction(async (tx) => {
      await store.lock(tx);
      await store.lockPrices(tx, [model]);
      const [added] = await store.append(tx, [
        {
          model,
          deployment: null,
          organizationId: null,
          source: 'ADMIN',
          ...NOVEMBER,
          effectiveTo: null,
          serviceTier: null,
          rates: { input: '3', output: '1' },
          note: null,
        },
      ]);
      await waitFor(async () => (await store.nowMs()) > added!.recordedAt.getTime(), {
        what: 'the time of the record to pass',
      });
      answer = asked(added!.recordedAt);
      await scene.waiting('pg_advisory_xact_lock_shared');
      return added!.recordedAt;
    });
    expect(await answer).toEqual(['3']);
    expect(await asked(new Date(recordedAt.getTime() - 1))).toEqual([]);
    await scene.setPrice({ model, ...NOVEMBER, inputPerMillion: '9' });
    expect([await asked(recordedAt), await asked(recordedAt, scene.a)]).toEqual([['3'], ['3']]);
  });

  it('is refused for the future', async () => {
    await expect(
      scene.a.prices.prices(scene.ours.operator.viewer, { asOf: new Date(Date.now() + 60_000) }),
    ).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'asOf' });
  });
});

describe('several writers of the book at once', () => {
  it('are all recorded, one after the other, each with exactly what it changed', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    for (const prompt of [1, 10, 100]) await scene.a.calls.settle([end(prompt)]);
    await scene.b.book.reload();
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        scene.setPrice({ model, ...NOVEMBER, inputPerMillion: `${i + 2}000000` }, false, i % 2 ? scene.a : scene.b),
      ),
    );
    const inOrder = results.sort((a, b) => a.price.number - b.price.number);
    let before = '111';
    for (const { price, ...rest } of inOrder) {
      const after = String(111 * Number(price.rates.input));
      expect(rest).toMatchObject({ affectedCalls: 3, costBefore: before, costAfter: after });
      expect((await scene.figures(model, price.recordedAt)).cost).toBe(after);
      before = after;
    }
    expect((await scene.figures(model)).cost).toBe(before);
  });

  it('number their records without a gap, with times that go forward from one transaction to the next, in whole milliseconds', async () => {
    const replicas = await Promise.all([replicaOf(scene.db), replicaOf(scene.b.db), replicaOf(scene.db)]);
    await Promise.all(
      replicas.flatMap((replica, i) => [
        ...Array.from({ length: 5 }, (_, j) =>
          replica.prices.setModelPrice(
            scene.ours.operator.viewer,
            { model: `${model}-${j}`, ...NOVEMBER, inputPerMillion: String(i), outputPerMillion: '1' },
            false,
          ),
        ),
        replica.book.record(
          Array.from({ length: 5 }, (_, j) => ({
            model: `${model}-${i}-${j}`,
            deployment: null,
            rates: { input: '1', output: '1' },
            knownAs: [],
          })),
        ),
      ]),
    );
    const rows = await scene.db.query<{ number: string; transaction: string; micros: string }>(
      'SELECT number, xmin::text AS transaction, (extract(epoch FROM recorded_at) * 1000000)::bigint AS micros FROM model_prices ORDER BY number',
    );
    expect(rows.map((row) => Number(row.number))).toEqual(rows.map((_row, i) => i + 1));
    rows.forEach((row, i) => {
      const before = rows[i - 1];
      if (before?.transaction === row.transaction) expect(row.micros).toBe(before.micros);
      else if (before) expect(BigInt(row.micros)).toBeGreaterThan(BigInt(before.micros));
      expect(BigInt(row.micros) % 1000n).toBe(0n);
    });
  });
});
