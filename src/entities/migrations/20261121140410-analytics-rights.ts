import type { MigrationInterface, QueryRunner } from 'typeorm';
import { column, commentedView } from './commented-view';

/** What the nightly comparison with the proxy has found, for those who read everything; and the rights of all who read with SQL. */
export class AnalyticsRights20261121140410 implements MigrationInterface {
  name = 'AnalyticsRights20261121140410';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE reconciliations ENABLE ROW LEVEL SECURITY;
      CREATE POLICY reconciliations_readers ON reconciliations FOR SELECT USING (weir.reader() = '*');`);
    await runner.query(commentedView('reconciliations', "What the nightly comparison with the proxy's records has found; all organisations together, for operators.", RECONCILIATION, 'reconciliations AS r'));
    await runner.query(GRANTS);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const RECONCILIATION = [
  column('run_on', 'date', 'Day (UTC) of the run.', 'r.run_on'),
  column('from_at', 'timestamptz', 'It compares calls that were made from here on.', 'r.from_at'),
  column('to_at', 'timestamptz', 'It compares calls that were made before.', 'r.to_at'),
  column('compared_up_to', 'timestamptz', 'How far it came.', 'r.compared_up_to'),
  column('ended_at', 'timestamptz', 'When it was through; NULL: it is still at it, or was given up.', 'r.ended_at'),
  column('compared_calls', 'bigint', 'Calls that were compared.', 'r.compared_calls'),
  column('our_cost', 'numeric', 'US dollars of these calls here, before their correction; NULL: none has a cost.', 'r.our_cost'),
  column('proxy_cost', 'numeric', 'US dollars of these calls at the proxy; NULL: none has a cost.', 'r.proxy_cost'),
  column('missing_here', 'bigint', 'Records of the proxy without a call here.', 'r.missing_here'),
  column('missing_at_proxy', 'bigint', 'Calls without a record at the proxy.', 'r.missing_at_proxy'),
  column('tokens_differ', 'bigint', 'Calls with other tokens at the proxy.', 'r.tokens_differ'),
  column('cost_differs', 'bigint', 'Calls with the same tokens and another cost at the proxy.', 'r.cost_differs'),
  column('corrected', 'bigint', 'Estimates that were replaced by what the proxy knew.', 'r.corrected'),
  column('not_corrected', 'bigint', 'Estimates that could not be replaced.', 'r.not_corrected'),
];

/** Tables that the views read. Of people no e-mail address; of secrets, messages and running calls nothing. */
const READ = ['organizations (id, name)', 'users (id, organization_id, name)', 'projects (id, organization_id, name)'];
const READ_WHOLLY = ['llm_usage', 'usage_daily', 'usage_daily_by_project', 'usage_daily_by_user', 'usage_quarter_hourly', 'budgets', 'budget_periods', 'model_prices', 'price_rates', 'price_changes', 'reconciliations',
  'weir.reader_rows', 'weir.reader_open_rows', 'weir.reader_price_entries'];
// In case that the database gives nobody the right to execute functions.
const CALLED = ['weir.reader()', 'weir.now()', 'weir.histogram(integer)', 'weir.reader_cost(llm_usage)', 'weir.check_as_of(timestamptz, date, date)', 'weir.period_start(text, timestamp)',
  'weir.period_end(text, date)', 'weir.local_midnight(date, text)'];

const GRANTS = `
  -- What members of the readers' group may do; nothing, while there is none. Later migrations that add views call it again.
  CREATE FUNCTION weir.grant_readers() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    readers text := weir.reader_group();
  BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = readers) THEN RETURN; END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), readers);
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', readers);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO %I', readers);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO %I', readers);
    EXECUTE format('GRANT SELECT ON ${READ_WHOLLY.join(', ')} TO %I', readers);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ${CALLED.join(', ')} TO %I', readers);
    ${READ.map((columns) => `EXECUTE format('GRANT SELECT ${columns.slice(columns.indexOf('('))} ON ${columns.split(' ')[0]} TO %I', readers);`).join('\n    ')}
  END $$;
`;
