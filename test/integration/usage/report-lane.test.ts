import { Client } from 'pg';
import { readSnapshot } from '../../../src/services/usage/usage-where.store';
import { UsageService } from '../../../src/services/usage/usage.service';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld } from '../../support/factories';
import { within } from '../../support/wait';

/** For a statement that waits for nobody; one that waits for a report waits for the ten seconds that reports have. */
const OTHERS_MS = 5_000;

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

it('reports that take long leave connections for everything else, and those of another user are not refused', async () => {
  const { member, analyst } = await createWorld(database.db);
  const usage = new UsageService({ db: database.db });
  const slow = new Client({ connectionString: database.url });
  await slow.connect();
  await slow.query('BEGIN; LOCK TABLE llm_usage');
  const ask = (viewer: typeof member.viewer) =>
    usage.report(viewer, {
      filter: { from: new Date(Date.now() - 3_600_000) },
      groupBy: ['MODEL'],
      interval: 'HOUR',
      timeZone: 'UTC',
      orderBy: 'COST_DESC',
      limit: 10,
    });
  const ofMember = [
    ...Array.from({ length: 60 }, () => ask(member.viewer)),
    ...Array.from({ length: 20 }, () => usage.calls(member.viewer, {}, { first: 10, after: null })),
    ...Array.from({ length: 20 }, () => usage.today(member.viewer)),
  ].map((work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: { code: string }) => error.code,
    ),
  );
  const ofLists = Array.from({ length: 20 }, () => usage.ofConversations({ organizationId: 'org_x' }, ['conv_x']));
  const ofAnalyst = ask(analyst.viewer);
  try {
    for (let round = 0; round < 20; round += 1)
      await within(database.db.query('SELECT 1'), OTHERS_MS, 'another statement');
  } finally {
    await slow.query('ROLLBACK');
    await slow.end();
  }
  await expect(ofAnalyst).resolves.toMatchObject({ rows: [] });
  await Promise.all(ofLists);
  const answers = await Promise.all(ofMember);
  expect(new Set(answers)).toEqual(new Set(['done', 'RATE_LIMITED']));
  expect(answers.filter((answer) => answer === 'done')).toHaveLength(23);
});

it('a statement of a report has ten seconds, and cannot write', async () => {
  expect(await readSnapshot(database.db, (tx) => tx.query('SHOW statement_timeout'))).toEqual([
    { statement_timeout: '10s' },
  ]);
  await expect(readSnapshot(database.db, (tx) => tx.query('DELETE FROM llm_usage'))).rejects.toThrow('read-only');
});
