import type { Db } from '../../src/database/pool';
import { INSERT_BATCHES, INSERT_DAY, ROWS_PER_BATCH } from './dashboard-rows';
import { END, HOURS, LAST_CALL_BEFORE_MS } from './dashboard-shape';
import { LOAD_MODEL, loadOrganizations } from './dashboard-traffic';

const LAST_CALL = new Date(END.getTime() - LAST_CALL_BEFORE_MS);
/**
 * Calls of the last minutes, which a report reads beside the cubes: what the busiest installation has at any moment.
 */
const TAIL_ROWS = 1_000;
const TAIL_MINUTES = 12;
const CUBES = ['usage_daily', 'usage_daily_by_project', 'usage_daily_by_user', 'usage_quarter_hourly'];

/** Settles some more calls, and does not fold them. */
export async function layTail(db: Db, rows: number): Promise<void> {
  const [last] = await db.query<{ batch: string }>('SELECT last_value AS batch FROM weir.usage_batch_ids');
  const first = Number(last!.batch) + 1;
  const batches = Math.ceil(TAIL_ROWS / ROWS_PER_BATCH);
  // As the first minutes of a day that begins with the last call.
  await db.query(INSERT_DAY, [LAST_CALL, TAIL_ROWS, rows, HOURS[1]! * (TAIL_MINUTES / 60), first]);
  await db.query(INSERT_BATCHES, [first, first + batches - 1, LAST_CALL, END]);
  await db.query(`SELECT setval('weir.usage_batch_ids', $1)`, [first + batches]);
}

/**
 * Takes out what measurements have put in, whether they came to their end or not: everything that was made after the
 * last of the generated calls, and the organisations that made it. Gives whether there was anything.
 */
export async function clean(db: Db): Promise<boolean> {
  const [before] = await db.query<{ rows: boolean; prices: boolean }>(
    'SELECT EXISTS (SELECT FROM llm_usage WHERE occurred_at >= $1) AS rows, EXISTS (SELECT FROM model_prices WHERE recorded_at >= $1) AS prices',
    [LAST_CALL],
  );
  if (!before!.rows && !before!.prices) return false;
  await db.query('DELETE FROM llm_usage WHERE occurred_at >= $1', [LAST_CALL]);
  for (const table of ['usage_batches', 'calls_in_flight', 'idempotency_keys']) await db.query(`TRUNCATE ${table}`);
  for (const cube of CUBES) await db.query(`DELETE FROM ${cube} WHERE organization_id = ANY ($1)`, [loadOrganizations]);
  await db.query(`DELETE FROM usage_daily_overall WHERE model LIKE $1`, [`${LOAD_MODEL}%`]);
  if (before!.prices) {
    // What is later knowledge than the generated past can only be the measured price changes.
    for (const cube of [...CUBES, 'usage_daily_overall'])
      await db.query(`DELETE FROM ${cube} WHERE entry_at >= $1`, [LAST_CALL]);
    const books = 'SELECT number FROM model_prices WHERE recorded_at >= $1';
    for (const table of ['price_change_parts', 'price_changes'])
      await db.query(`DELETE FROM ${table} WHERE book IN (${books})`, [LAST_CALL]);
    await db.query(`DELETE FROM price_rates WHERE number IN (${books})`, [LAST_CALL]);
    await db.query('DELETE FROM model_prices WHERE recorded_at >= $1', [LAST_CALL]);
    await db.query(
      'UPDATE price_versions AS v SET number = (SELECT max(number) FROM model_prices AS p WHERE p.model = v.model)',
    );
  }
  await db.query(
    'DELETE FROM budget_periods WHERE budget_id IN (SELECT id FROM budgets WHERE organization_id = ANY ($1))',
    [loadOrganizations],
  );
  await db.query('DELETE FROM budgets WHERE organization_id = ANY ($1)', [loadOrganizations]);
  await db.query(before!.prices ? 'VACUUM ANALYZE' : 'VACUUM ANALYZE usage_batches');
  return true;
}
