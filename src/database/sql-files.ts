import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const SERVICES = path.join(__dirname, '..', 'services');

const LEDGER = [
  'now',
  'clock',
  'period_start',
  'period_end',
  'local_midnight',
  'new_id',
  'share_budgets',
  'lock_budgets',
  'share_prices',
  'lock_prices',
  'make_alerts',
  'check_alerts',
  'fill_budgets',
  'lock_periods',
  'book',
  'cost_as_of',
  'append_price',
  'admit',
  'settle',
  'correct',
  'usage_month',
  'ensure_usage_partitions',
  'move_default_usage',
  'fit_plan_budget',
  'fit_plan_budgets',
  'put_plan',
  'put_user',
  'change_user',
  'erase_user',
  'put_token',
];
const ROLLUPS = [
  'histogram',
  'row_entries',
  'cost_of_tokens',
  'price_entries',
  'cube_statement',
  'fold',
  'fold_price_change',
];
const ANALYTICS = [
  'reader',
  'reader_group',
  'row_security',
  'percentile',
  'reader_rows',
  'reader_price_entries',
  'reader_open_rows',
  'reader_cost',
  'check_as_of',
  'usage_daily',
  'usage_as_of',
  'spend',
  'spend_as_of',
  'spend_by_user',
  'usage_quarter_hourly',
  'adjustments',
  'calls',
  'llm_calls',
  'budgets',
  'prices',
  'reconciliations',
  'grant_readers',
];

/** Functions and views, one a file, below `src/services`. A file comes behind what it needs. */
export const SQL_FILES: readonly string[] = [
  ...LEDGER.map((name) => `ledger/sql/${name}.sql`),
  ...ROLLUPS.map((name) => `rollups/sql/${name}.sql`),
  ...ANALYTICS.map((name) => `analytics/sql/${name}.sql`),
];

export const readSqlFile = (file: string): string => fs.readFileSync(path.join(SERVICES, file), 'utf8');

export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');
