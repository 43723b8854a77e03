import { Client } from 'pg';
import { ask, createFixture, type Fixture } from '../../support/stream-fixture';
import { operation } from '../../support/operations';
import { settledRows } from '../../support/usage-rows';
import { waitFor } from '../../support/wait';
import { openBatches, totalOf, wrongCells } from './figure-scene';

describe('service.cubes', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  const cubes = async (): Promise<{ state: string; detail: string | null }> => {
    const { state, detail } = (await fixture.app.graphql(fixture.operator.token, operation('service'))).data.service
      .cubes;
    return { state, detail };
  };
  const chat = async (): Promise<void> => {
    await fixture.app.chat(fixture.member.token, ask('Hi', { maxTokens: 5 }));
    await settledRows(fixture.database.db);
  };
  const reported = async (): Promise<number> =>
    (await fixture.app.graphql(fixture.admin.token, `query { usage { totals { calls } } }`)).data.usage.totals.calls;
  const folded = (): Promise<unknown> =>
    waitFor(async () => (await openBatches(fixture.database.db)) === 0, { what: 'everything to be folded' });

  it('is UP while calls are folded within seconds, DEGRADED while nobody folds; reports are exact all the time', async () => {
    const { db, url } = fixture.database;
    await chat();
    await folded();
    expect([await cubes(), (await totalOf(db)).calls, await reported()]).toEqual([{ state: 'UP', detail: null }, 1, 1]);
    // As if the folder of every process were dead.
    const holder = new Client({ connectionString: url });
    await holder.connect();
    await holder.query('SELECT pg_advisory_lock(5, 0)');
    for (let i = 0; i < 3; i += 1) await chat();
    expect([(await totalOf(db)).calls, await reported(), await wrongCells(db)]).toEqual([1, 4, []]);
    await db.query(`UPDATE usage_batches SET settled_at = settled_at - interval '12 s'`);
    const late = await waitFor(async () => {
      const status = await cubes();
      return status.state === 'DEGRADED' ? status : null;
    });
    expect(late.detail).toMatch(/^1[2-7] s behind: 3 calls wait to be folded; reports stay exact and are slower$/);
    await holder.end();
    await folded();
    expect([(await totalOf(db)).calls, await reported(), await wrongCells(db)]).toEqual([4, 4, []]);
    await waitFor(async () => (await cubes()).state === 'UP');
    expect((await fixture.app.services.status.status()).cubes.detail).toBeNull();
  });

  it('does not keep the server from being ready', async () => {
    const holder = new Client({ connectionString: fixture.database.url });
    await holder.connect();
    await holder.query('SELECT pg_advisory_lock(5, 0)');
    await chat();
    await fixture.database.db.query(`UPDATE usage_batches SET settled_at = settled_at - interval '1 hour'`);
    await waitFor(async () => (await cubes()).state === 'DEGRADED');
    expect((await fetch(new URL('/health/ready', fixture.app.url))).status).toBe(200);
    await holder.end();
    await folded();
  });
});
