import { openDatabase } from '../../../src/database/pool';
import { Settler } from '../../../src/services/recovery/settler';
import { memoryLogger } from '../../support/log';
import { PriceScene, replicaOf } from '../../support/price-scene';
import { waitFor } from '../../support/wait';
import type { Settlement } from '../../../src/domain/call';

// What happens to the ends of calls when prices change between what is told of them.
let scene: PriceScene;
let count = 0;
let model: string;
beforeAll(async () => {
  scene = await PriceScene.open();
});
afterAll(() => scene.close());
beforeEach(() => {
  model = `model-${(count += 1)}`;
});

const PAST = { effectiveFrom: new Date('2026-01-01T00:00:00Z') };
const tokens = (uncachedPrompt: number): Settlement['tokens'] => ({
  uncachedPrompt,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWriteOneHour: 0,
  output: 0,
  reasoning: 0,
});
const call = (): Partial<Settlement> => ({
  model,
  servedModel: model,
  occurredAt: new Date(Date.now() - 60_000).toISOString().replace('T', ' ').replace('Z', '+00'),
  tokens: tokens(1),
});
const rows = (): Promise<{ kind: string; cost: string; budget_cost: string | null; usage_source: string }[]> =>
  scene.db.query(
    'SELECT kind, trim_scale(cost)::text AS cost, trim_scale(budget_cost)::text AS budget_cost, usage_source FROM llm_usage WHERE served_model = $1 ORDER BY correction, kind DESC',
    [model],
  );

it('a budget that is made after a price change and a correction begins with what it would have been told', async () => {
  await scene.setPrice({ model, ...PAST, inputPerMillion: '1000000' });
  const end = await scene.settle(call());
  await scene.setPrice({ model, ...PAST, inputPerMillion: '10000000' });
  await scene.a.calls.correct([scene.end({ ...end, tokens: tokens(0), usageSource: 'NONE' })], 'test');
  expect(await rows()).toMatchObject([
    { cost: '1' },
    { kind: 'REVERSAL', cost: '-10', budget_cost: '-1' },
    { cost: '0' },
  ]);
  await scene.db.query(
    `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ('bud_x', $1, 'ORGANIZATION', $1, 'MONTH', 100)`,
    [scene.ours.organizationId],
  );
  await scene.db.query(`SELECT weir.fill_budgets($1, ARRAY['bud_x'])`, [scene.ours.organizationId]);
  expect(
    await scene.db.query(`SELECT trim_scale(spent)::text AS spent FROM budget_periods WHERE budget_id = 'bud_x'`),
  ).toEqual([{ spent: '0' }]);
});

it('a price that is long in being recorded keeps no call of another model, and no admission, from its end', async () => {
  const other = `${model}-other`;
  for (const name of [model, other]) await scene.setPrice({ model: name, ...PAST, inputPerMillion: '1' });
  await scene.session(async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT weir.lock_prices($1)', [[model]]);
    const hot = jest.spyOn(scene.a.db, 'hot');
    const held = scene.a.calls.settle([scene.end(call())]);
    const free = scene.a.calls.settle([scene.end({ ...call(), model: other, servedModel: other })]);
    expect(await free).toHaveLength(1);
    const tries = hot.mock.calls.length;
    await waitFor(() => hot.mock.calls.length > tries, { what: 'the held call to be tried again' });
    hot.mockRestore();
    // Nothing of a call that is turned away stays locked.
    const locked = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    await waitFor(async () => (await scene.db.query(locked)).length === 0, { what: 'nothing to be locked' });
    await client.query('ROLLBACK');
    expect(await held).toHaveLength(1);
  });
});

it('a call that was priced by the model that was asked for keeps its cost when its end is told twice', async () => {
  const asked = `${model}-asked`;
  await scene.setPrice({ model: asked, ...PAST, inputPerMillion: '1000000' });
  const end = await scene.settle({ ...call(), model: asked, heldOn: [{ budgetId: 'b', startsOn: '2026-11-01' }] });
  await scene.setPrice({ model: asked, ...PAST, inputPerMillion: '9000000' });
  const settler = new Settler({
    store: scene.a.calls,
    journal: { setAside: () => Promise.reject(new Error('not refused')) },
    logger: memoryLogger(),
  });
  expect(await settler.settle({ ...end }, 'OWNER')).toBe('KNOWN');
  expect(await rows()).toMatchObject([{ kind: 'CALL', cost: '1' }]);
});

it('an end that does not say which prices it knew, as from the journal of an earlier version, is priced by the book as it is', async () => {
  await scene.setPrice({ model, ...PAST, inputPerMillion: '1000000' });
  const { priceBook: _priceBook, ...end } = scene.end(call());
  await scene.setPrice({ model, ...PAST, inputPerMillion: '9000000' });
  await scene.a.calls.settle([end as Settlement]);
  expect(await scene.figures(model)).toMatchObject({ cost: '9' });
});

it.each([
  ['RECONCILIATION', 'PROVIDER', 5],
  ['SPEND_RECORD', 'PROVIDER', 5],
  ['RECONCILIATION', 'CACHE', 0],
] as const)(
  'for the reason %s it does not replace what was said meanwhile by the %s',
  async (reason, usageSource, n) => {
    await scene.setPrice({ model, ...PAST, inputPerMillion: '1000000' });
    const end = await scene.settle({ ...call(), usageSource: 'ESTIMATED', status: 'LOST' });
    await scene.a.calls.correct(
      [scene.end({ ...end, status: 'COMPLETED', usageSource, tokens: tokens(n) })],
      'JOURNAL',
    );
    expect(
      await scene.a.calls.correct([scene.end({ ...end, usageSource: 'RECONCILED', tokens: tokens(3) })], reason),
    ).toEqual([]);
    expect((await rows()).at(-1)).toMatchObject({ cost: String(n), usage_source: usageSource });
  },
);

it('a call is priced again while every connection of reports is taken', async () => {
  const db = await openDatabase({ url: scene.database.url, poolSize: 1, applicationName: 'reports' }, () => {});
  const replica = await replicaOf(db);
  await scene.setPrice({ model, ...PAST, inputPerMillion: '1000000' });
  await replica.book.reload();
  const end = scene.end(call(), replica);
  await scene.setPrice({ model, ...PAST, inputPerMillion: '9000000' });
  await scene.session(async (client) => {
    await client.query('SELECT pg_advisory_lock(77)');
    const report = db.query('SELECT pg_advisory_lock(77)');
    expect(await replica.calls.settle([end])).toHaveLength(1);
    await client.query('SELECT pg_advisory_unlock(77)');
    await report;
  });
  await db.close();
});
