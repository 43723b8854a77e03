-- What members of the readers' group may do; nothing, while there is none. Later migrations that add views call it again.
CREATE OR REPLACE FUNCTION weir.grant_readers() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  readers text := weir.reader_group();
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = readers) THEN RETURN; END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), readers);
  EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', readers);
  EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO %I', readers);
  EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO %I', readers);
  EXECUTE format('GRANT SELECT ON llm_usage, usage_daily, usage_daily_by_project, usage_daily_by_user, usage_quarter_hourly, budgets, budget_periods, model_prices, price_rates, price_changes, reconciliations, weir.reader_rows, weir.reader_open_rows, weir.reader_price_entries TO %I', readers);
  EXECUTE format('GRANT EXECUTE ON FUNCTION weir.reader(), weir.now(), weir.histogram(integer), weir.reader_cost(weir.priced_call), weir.check_as_of(timestamptz, date, date), weir.period_start(text, timestamp), weir.period_end(text, date), weir.local_midnight(date, text) TO %I', readers);
  EXECUTE format('GRANT SELECT (id, name) ON organizations TO %I', readers);
  EXECUTE format('GRANT SELECT (id, organization_id, name) ON users TO %I', readers);
  EXECUTE format('GRANT SELECT (id, organization_id, name) ON projects TO %I', readers);
END $$;
