import { readFileSync } from 'node:fs';
import path from 'node:path';
import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import {
  NightlyReconciliation,
  type NightlyReconciliationDeps,
} from '../../../src/services/reconciliation/nightly-reconciliation';
import { ReconciliationRunStore } from '../../../src/services/reconciliation/reconciliation-run.store';
import { setClock } from '../../support/database';
import { gate } from '../../support/provider-script';
import { waitFor } from '../../support/wait';
import { ReconciliationScene } from './scene';

let scene: ReconciliationScene;
beforeEach(async () => {
  scene = await ReconciliationScene.open();
});
afterEach(() => scene.close());

const nightly = (more: Partial<NightlyReconciliationDeps> = {}): NightlyReconciliation =>
  new NightlyReconciliation({
    reconciler: scene.reconciler,
    corrector: scene.corrector,
    store: new ReconciliationRunStore(scene.database.db),
    hour: 3,
    owner: 'me',
    logger: scene.logger,
    ...more,
  });
const runs = (): Promise<any[]> =>
  scene.database.db.query('SELECT r.*, r.run_on::text AS run_on FROM reconciliations AS r ORDER BY r.run_on');
const estimate = {
  usage_source: 'ESTIMATED',
  status: 'FAILED',
  streamed: true,
  uncached_prompt_tokens: 8,
  output_tokens: 2,
  cost: '0.000028',
};

it('compares yesterday and the two days before from its hour on, corrects, and says once what it found', async () => {
  for (const day of ['17T23:59:59.9', '18T00:00:00', '19T12:00:00', '20T23:59:59.9', '21T00:00:00'])
    scene.record(await scene.call({ occurred_at: `2026-11-${day}Z` }));
  scene.record(await scene.call({ ...estimate, occurred_at: '2026-11-19T13:00:00Z' }));
  await scene.call({ occurred_at: '2026-11-20T13:00:00Z' });
  await setClock(scene.database.db, '2026-11-21T02:59:59Z');
  await nightly().look();
  expect(await runs()).toEqual([]);

  await setClock(scene.database.db, '2026-11-21T03:00:00Z');
  await nightly().look();
  const found = {
    compared_calls: '5',
    missing_at_proxy: '1',
    missing_here: '0',
    tokens_differ: '1',
    cost_differs: '0',
    corrected: '1',
    not_corrected: '0',
    our_cost: '0.000268',
    proxy_cost: '0.00024',
  };
  expect(await runs()).toMatchObject([
    {
      run_on: '2026-11-21',
      from_at: new Date('2026-11-18'),
      to_at: new Date('2026-11-21'),
      compared_up_to: new Date('2026-11-21'),
      ended_at: expect.any(Date),
      ...found,
    },
  ]);
  const told = {
    level: 'info',
    message: 'usage was reconciled with the proxy',
    fields: {
      from: '2026-11-18T00:00:00.000Z',
      to: '2026-11-21T00:00:00.000Z',
      comparedCalls: 5,
      missingAtProxy: 1,
      missingHere: 0,
      tokensDiffer: 1,
      costDiffers: 0,
      corrected: 1,
      notCorrected: 0,
      ourCost: '0.000268',
      proxyCost: '0.00024',
    },
  };
  expect(scene.logger.lines).toEqual([told]);

  // Done for today, for every replica; tomorrow is another day.
  for (const owner of ['me', 'other']) await nightly({ owner }).look();
  expect([await runs(), scene.logger.lines]).toEqual([[expect.objectContaining(found)], [told]]);
  await setClock(scene.database.db, '2026-11-22T05:00:00Z');
  await nightly().look();
  expect(await runs()).toMatchObject([
    found,
    {
      run_on: '2026-11-22',
      from_at: new Date('2026-11-19'),
      corrected: '0',
      tokens_differ: '0',
      ended_at: expect.any(Date),
    },
  ]);
});

it('is done by one replica at a time: who comes while another is at it does nothing', async () => {
  scene.record(await scene.call());
  const held = gate();
  scene.proxy.before = () => held.opened;
  const first = nightly({ owner: 'first' });
  const looked = first.look();
  await waitFor(() => scene.proxy.requests.length > 0);
  const asked = scene.proxy.requests.length;
  await nightly({ owner: 'second' }).look();
  expect([scene.proxy.requests.length, scene.logger.lines]).toEqual([asked, []]);
  held.open();
  await looked;
  expect(await runs()).toMatchObject([{ owner: 'first', compared_calls: '1', ended_at: expect.any(Date) }]);
});

it('renews its lease with every question, also within a window: nobody takes over from who is at it', async () => {
  const { db } = scene.database;
  for (const day of [18, 19, 20]) scene.record(await scene.call({ occurred_at: `2026-11-${day}T12:00:00Z` }));
  const held: boolean[] = [];
  scene.proxy.before = async () => {
    held.push(
      (await db.query<{ held: boolean }>('SELECT leased_until > weir.clock() AS held FROM reconciliations'))[0]!.held,
    );
    // As when the answer takes minutes.
    await db.query(`UPDATE reconciliations SET leased_until = weir.clock() - interval '1 second'`);
  };
  await nightly().look();
  expect(held.length).toBeGreaterThan(10);
  expect(held.every(Boolean)).toBe(true);
  expect(await runs()).toMatchObject([{ owner: 'me', compared_calls: '3' }]);
});

it('that was taken over in the middle of a window ends there, says nothing, and leaves the other its turn', async () => {
  const { db } = scene.database;
  scene.record(await scene.call());
  scene.proxy.before = async () =>
    void (await db.query(
      `UPDATE reconciliations SET owner = 'other', leased_until = weir.clock() + interval '5 minutes'`,
    ));
  await nightly().look();
  expect([scene.proxy.requests.length, scene.logger.lines]).toEqual([1, []]);
  expect(await runs()).toMatchObject([{ owner: 'other', compared_calls: '0', ended_at: null }]);
  expect(await new ReconciliationRunStore(db).claim('me', 3)).toBeNull();
});

it('is gone on with where a replica left it that died', async () => {
  const { db } = scene.database;
  for (const day of [18, 19, 20]) scene.record(await scene.call({ occurred_at: `2026-11-${day}T12:00:00Z` }));
  const store = new ReconciliationRunStore(db);
  expect(await store.claim('dead', 3)).toMatchObject({ runOn: '2026-11-21' });
  await db.query(
    `UPDATE reconciliations SET compared_up_to = '2026-11-19T00:00:00Z', compared_calls = 1, our_cost = 0.00006`,
  );
  await nightly().look();
  expect(await runs()).toMatchObject([{ owner: 'dead', ended_at: null }]);
  await db.query(`UPDATE reconciliations SET leased_until = weir.clock() - interval '1 second'`);
  await nightly().look();
  expect(await runs()).toMatchObject([
    { owner: 'me', compared_calls: '3', our_cost: '0.00018', proxy_cost: '0.00012', ended_at: expect.any(Date) },
  ]);
  // The dead one wakes up.
  const step = {
    upToMs: Date.parse('2026-11-20'),
    comparedCalls: 1,
    differences: [],
    corrected: 0,
    notCorrected: 0,
    ourCost: null,
    proxyCost: null,
  };
  expect(await store.add('2026-11-21', 'dead', step, { byKind: {}, ourCost: null, proxyCost: null } as never)).toBe(
    false,
  );
  expect(await store.end('2026-11-21', 'dead')).toBeNull();
});

it('that was stopped leaves the rest to others, at once', async () => {
  for (const day of [18, 19, 20]) scene.record(await scene.call({ occurred_at: `2026-11-${day}T12:00:00Z` }));
  const first = nightly({ owner: 'first' });
  let stopped: Promise<void> | null = null;
  // While it asks for the first window.
  scene.proxy.before = () => void (stopped ??= first.stop());
  await first.look();
  await stopped;
  scene.proxy.before = () => {};
  const [left] = await runs();
  expect(left).toMatchObject({ owner: 'first', ended_at: null });
  expect(left.compared_up_to.getTime()).toBeLessThan(Date.parse('2026-11-21'));
  await nightly({ owner: 'second' }).look();
  expect(await runs()).toMatchObject([{ owner: 'second', compared_calls: '3', ended_at: expect.any(Date) }]);
});

it('while the proxy is away it says so, and goes on later from where it was', async () => {
  scene.record(await scene.call());
  scene.proxy.away = true;
  const run = nightly();
  await run.look();
  expect(scene.logger.lines).toMatchObject([
    { level: 'warn', message: expect.stringContaining('could not be reconciled') },
  ]);
  expect(await runs()).toMatchObject([{ ended_at: null }]);
  scene.proxy.away = false;
  await nightly({ owner: 'other' }).look();
  expect(await runs()).toMatchObject([{ owner: 'other', compared_calls: '1', ended_at: expect.any(Date) }]);
});

it('lets the proxy rest as long as each question took', async () => {
  scene.record(await scene.call());
  const slow = new LitellmAdmin({ baseUrl: scene.proxy.baseUrl, masterKey: scene.proxy.masterKey });
  const paused: number[] = [];
  const reconciler = scene.reconcilerOf(slow);
  for await (const _ of reconciler.walk({
    fromMs: Date.parse('2026-11-20T09:59:00Z'),
    toMs: Date.parse('2026-11-20T10:01:00Z'),
    organizationId: null,
    planned: () => '',
    corrector: null,
    pace: async (ms) => void paused.push(ms),
  }));
  await slow.close();
  expect(paused.length).toBe(scene.proxy.requests.length);
  expect(paused.every((ms) => ms > 0)).toBe(true);
});

it('looks by itself when it was started', async () => {
  scene.record(await scene.call());
  const run = nightly({ lookEveryMs: 20 });
  run.start();
  await waitFor(async () => (await runs())[0]?.ended_at, { what: 'the end of the run' });
  await run.stop();
  expect(await runs()).toMatchObject([{ compared_calls: '1' }]);
});

it('does not compare calls that are not kept any more', async () => {
  await scene.database.db.query(`UPDATE usage_retention SET dropped_before = '2026-11-20T00:00:00Z'`);
  await nightly().look();
  expect(await runs()).toMatchObject([{ from_at: new Date('2026-11-20'), ended_at: expect.any(Date) }]);
});

it('every statement of docs/reconciliation.md runs, and tells what a night has done', async () => {
  scene.record(await scene.call({ ...estimate, occurred_at: '2026-11-20T13:00:00Z' }));
  await nightly().look();
  const text = readFileSync(path.join(__dirname, '..', '..', '..', 'docs', 'reconciliation.md'), 'utf8');
  const [nights, corrected, ...others] = text
    .match(/```sql\n([\s\S]*?)```/)![1]!
    .split(/;\n/)
    .filter((statement) => statement.trim());
  expect(others).toHaveLength(2);
  expect(await scene.database.db.query(nights!)).toMatchObject([
    { compared_calls: '1', apart: '-0.000032', corrected: '1' },
  ]);
  expect(await scene.database.db.query(corrected!.replace('now()', 'weir.now()'))).toMatchObject([
    { tokens_before: 10, total_tokens: 15, cost_before: '0.000028', cost: '0.00006' },
  ]);
  for (const statement of others) await scene.database.db.query(statement);
});
