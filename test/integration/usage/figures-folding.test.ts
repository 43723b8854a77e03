import { Client } from 'pg';
import { newId } from '../../../src/lib/ids';
import { UsageService } from '../../../src/services/usage/usage.service';
import type { UsageDimension, UsageQuery } from '../../../src/services/usage/usage.types';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { appendPrice, changeAllCalls } from '../../support/prices';
import { insertUsage, usageRow } from './usage-rows';

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.close());

it('while a folder runs, a report has every batch once, and every price change whole', async () => {
  const { db, url } = database;
  const usage = new UsageService({ db });
  const viewer: Viewer = {
    userId: newId('user'),
    organizationId: newId('organization'),
    role: 'ANALYST',
    planId: 'pln',
    tokenId: null,
    sessionId: null,
    expiresAtMs: null,
  };
  const now = Date.now();
  const BATCHES = 150;
  const ROWS = 4;
  for (let batch = 0; batch < BATCHES; batch += 1) {
    await insertUsage(
      db,
      Array.from({ length: ROWS }, (_, nr) => ({
        ...usageRow({
          organization_id: viewer.organizationId,
          user_id: viewer.userId,
          occurred_at: new Date(now - (batch % 30) * 86_400_000 - nr * 1_000_000).toISOString(),
          uncached_prompt_tokens: 1_000_000,
          output_tokens: 0,
          cost: '1',
          cost_input: '1',
          cost_output: '0',
        }),
        settled_at: new Date(now - 40_000_000).toISOString(),
      })),
    );
  }
  const from = new Date(now - 90 * 86_400_000).toISOString();
  await appendPrice(db, { number: 1, model: 'm', effectiveFrom: from, rates: { input: '0.000003', output: '0' } });
  await changeAllCalls(db, { book: 1, model: 'm', from });

  const folder = new Client({ connectionString: url, options: '-c TimeZone=UTC' });
  await folder.connect();
  let folded = 0;
  const folding = (async () => {
    for (let day = 40; ;) {
      const { rows } = await folder.query<{ batches: number }>(`SELECT batches FROM weir.fold(${ROWS * 3})`);
      folded += rows[0]!.batches;
      if (day >= 0)
        await folder.query(
          `SELECT weir.fold_price_change(1, CASE WHEN $1 = 0 THEN 'infinity' ELSE weir.now() - make_interval(days => $1) END)`,
          [day],
        );
      day -= 1;
      if (folded === BATCHES && day < 0) return;
    }
  })();
  const asked = (groupBy: UsageDimension[], more: Partial<UsageQuery> = {}): UsageQuery => ({
    filter: { from: new Date(now - 60 * 86_400_000) },
    groupBy,
    interval: null,
    timeZone: 'UTC',
    orderBy: 'COST_DESC',
    limit: 10,
    ...more,
  });
  const questions = [
    asked([]),
    asked(['MODEL']),
    asked(['USER']),
    asked(['PROJECT']),
    asked(['AGENT']),
    asked(['MODEL'], { interval: 'DAY', timeZone: 'Asia/Kathmandu' }),
  ];
  const seenAt: number[] = [];
  let ended = false;
  void folding.finally(() => (ended = true));
  for (let nr = 0; !ended || nr < questions.length; nr += 1) {
    const { totals, rows } = await usage.report(viewer, questions[nr % questions.length]!);
    seenAt.push(folded);
    expect([totals.calls, totals.cost, totals.averageLatencyMs]).toEqual([
      BATCHES * ROWS,
      String(BATCHES * ROWS * 3),
      100,
    ]);
    expect(rows.reduce((sum, row) => sum + row.figures.calls, 0)).toBe(BATCHES * ROWS);
  }
  await folding;
  await folder.end();
  // It was asked in the midst of it, not only before and behind.
  expect(seenAt.filter((count) => count > 0 && count < BATCHES).length).toBeGreaterThan(5);
  expect(await db.query('SELECT count(*)::int AS left FROM usage_batches')).toEqual([{ left: 0 }]);
});
