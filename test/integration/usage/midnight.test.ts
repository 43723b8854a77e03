import { UsageService } from '../../../src/services/usage/usage.service';
import type { UsageQuery } from '../../../src/services/usage/usage.types';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { insertUsage, usageRow } from './usage-rows';

let database: TestDatabase;
let usage: UsageService;
let world: World;
beforeAll(async () => {
  database = await createTestDatabase();
  usage = new UsageService({ db: database.db });
  world = await createWorld(database.db);
});
afterAll(() => database.close());
afterEach(() => setClock(database.db, null));

const query = (fields: Partial<UsageQuery>): UsageQuery => ({
  filter: {},
  groupBy: [],
  interval: null,
  timeZone: 'UTC',
  orderBy: 'COST_DESC',
  limit: 10,
  ...fields,
});
const call = (occurred_at: string): ReturnType<typeof usageRow> =>
  usageRow({ organization_id: world.organizationId, user_id: world.member.id, occurred_at });

it('where a clock is set back over midnight, a day and a month begin with the first of the two', async () => {
  // In Havana the first of November has 00:00 to 01:00 twice: from 04:00 and from 05:00 UTC.
  await setClock(database.db, '2026-11-01T12:00:00Z');
  await insertUsage(database.db, ['2026-11-01T03:30:00Z', '2026-11-01T04:30:00Z', '2026-11-01T05:30:00Z'].map(call));
  const days = await usage.report(
    world.analyst.viewer,
    query({ filter: { from: new Date('2026-10-31T04:00:00Z') }, interval: 'DAY', timeZone: 'America/Havana' }),
  );
  expect(days.rows.map(({ at, figures }) => [at?.toISOString(), figures.calls])).toEqual([
    ['2026-10-31T04:00:00.000Z', 1],
    ['2026-11-01T04:00:00.000Z', 2],
  ]);
  const month = await usage.report(world.analyst.viewer, query({ timeZone: 'America/Havana' }));
  expect([month.from.toISOString(), month.totals.calls]).toEqual(['2026-11-01T04:00:00.000Z', 2]);
});

it('as of midnight of the first, a report is of the month that ended then', async () => {
  const report = await usage.report(world.analyst.viewer, query({ pricesAsOf: new Date('2026-11-01T00:00:00Z') }));
  expect([report.from, report.to].map((time) => time.toISOString())).toEqual([
    '2026-10-01T00:00:00.000Z',
    '2026-11-01T00:00:00.000Z',
  ]);
});
