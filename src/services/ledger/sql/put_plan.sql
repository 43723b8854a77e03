-- Makes or replaces a plan; what its monthly budget means for its users is done here too, organisation by organisation.
--
-- Gives whether there are new alerts. Raises unique_violation (plans_name_key) where another plan has the name.
--
-- Locks, and waits for them: the row of the plan; then, where the monthly budget changes, the advisory lock of all
-- budgets, (2, 0), alone.
CREATE OR REPLACE FUNCTION weir.put_plan(
    v_id text, v_name text, v_models text[], v_default_model text,
    v_requests_per_minute integer, v_tokens_per_minute integer, v_parallel_calls integer, v_max_output_tokens integer,
    v_monthly_budget numeric)
  RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_at timestamptz := weir.now();
  -- the monthly budget so far
  before numeric;
  organization text;
  is_alerted boolean := false;
BEGIN
  SELECT p.monthly_budget INTO before FROM plans AS p WHERE p.id = v_id FOR UPDATE;
  INSERT INTO plans (
      id, name, models, default_model,
      requests_per_minute, tokens_per_minute, parallel_calls, max_output_tokens,
      monthly_budget)
    VALUES (
      v_id, v_name, v_models, v_default_model,
      v_requests_per_minute, v_tokens_per_minute, v_parallel_calls, v_max_output_tokens,
      v_monthly_budget)
    ON CONFLICT (id) DO UPDATE SET
      name = excluded.name,
      models = excluded.models,
      default_model = excluded.default_model,
      requests_per_minute = excluded.requests_per_minute,
      tokens_per_minute = excluded.tokens_per_minute,
      parallel_calls = excluded.parallel_calls,
      max_output_tokens = excluded.max_output_tokens,
      monthly_budget = excluded.monthly_budget,
      updated_at = v_at;
  IF v_monthly_budget IS NOT DISTINCT FROM before THEN RETURN false; END IF;
  -- No admission may be making a period row of a budget that goes, or comparing costs with a limit that is another one
  -- by then.
  PERFORM pg_advisory_xact_lock(2, 0);
  FOR organization IN SELECT o.id FROM organizations AS o ORDER BY o.id LOOP
    is_alerted := weir.fit_plan_budgets(organization, v_id, v_monthly_budget) OR is_alerted;
  END LOOP;
  RETURN is_alerted;
END $$;
