-- What members of the readers' group may do; nothing, while there is none. Called again whenever files were loaded.
-- What the views of analytics read, and not a column of single calls more: of people no e-mail address; of secrets,
-- messages and running calls nothing. Functions too, in case that the database gives nobody the right to execute them.
CREATE OR REPLACE FUNCTION weir.grant_readers() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  readers text := weir.reader_group();
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = readers) THEN RETURN; END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), readers);
  EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', readers);
  EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO %I', readers);
  EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO %I', readers);

  EXECUTE format('GRANT SELECT (id, name) ON organizations TO %I', readers);
  EXECUTE format('GRANT SELECT (id, organization_id, name) ON users TO %I', readers);
  EXECUTE format('GRANT SELECT (id, organization_id, name) ON projects TO %I', readers);
  EXECUTE format('GRANT SELECT (organization_id, occurred_at, id, kind, sign, corrects_id, correction,
      correction_reason, user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed, model,
      served_model, provider, deployment, service_tier, upstream, attempts, status, error_code, finish_reason,
      uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens,
      reasoning_tokens, prompt_tokens, completion_tokens, total_tokens, usage_source, price_number, book_number, cost,
      cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost, latency_ms,
      time_to_first_token_ms, settled_at, door, operation, plan_id, session_id, tags, cache_use, budget_left,
      budget_left_percent, max_tokens, route_rule, reasoning_effort)
    ON llm_usage TO %I', readers);
  EXECUTE format('GRANT SELECT ON usage_daily, usage_daily_by_project, usage_daily_by_user, usage_quarter_hourly,
      budgets, budget_periods, model_prices, price_rates, price_changes, reconciliations,
      weir.reader_rows, weir.reader_open_rows, weir.reader_price_entries
    TO %I', readers);

  EXECUTE format('GRANT EXECUTE ON FUNCTION weir.reader(), weir.now(), weir.histogram(integer),
      weir.cost_of_tokens(text, smallint, integer, integer, integer, integer, integer, integer, price_rates),
      weir.reader_cost(weir.priced_call), weir.check_as_of(timestamptz, date, date),
      weir.period_start(text, timestamp), weir.period_end(text, date), weir.local_midnight(date, text)
    TO %I', readers);
END $$;
