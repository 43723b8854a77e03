CREATE OR REPLACE VIEW analytics.spend WITH (security_invoker = true) AS
  SELECT f.day, f.organization_id, o.name AS organization, nullif(f.project_id, '') AS project_id, p.name AS project,
    f.model,
    f.calls, f.failed_calls, f.prompt_tokens, f.cache_read_tokens, f.cache_write_tokens, f.completion_tokens,
    f.reasoning_tokens,
    f.prompt_tokens + f.completion_tokens AS total_tokens,
    CASE WHEN f.priced_calls = 0 AND f.calls <> 0 THEN NULL ELSE f.cost END AS cost,
    f.unpriced_calls
  FROM (
    SELECT organization_id, day, project_id, model,
      sum(calls)::bigint AS calls, sum(failed_calls)::bigint AS failed_calls,
      sum(prompt_tokens)::bigint AS prompt_tokens, sum(cache_read_tokens)::bigint AS cache_read_tokens,
      sum(cache_write_tokens)::bigint AS cache_write_tokens, sum(completion_tokens)::bigint AS completion_tokens,
      sum(reasoning_tokens)::bigint AS reasoning_tokens, sum(cost) AS cost, sum(priced_calls)::bigint AS priced_calls,
      sum(unpriced_calls)::bigint AS unpriced_calls
    FROM (
      -- What is in the cube, …
      SELECT organization_id, day, project_id, model,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls
      FROM usage_daily_by_project
      UNION ALL
      -- … settled calls that are not in it yet, …
      SELECT organization_id, day, project_id, model,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls
      FROM weir.reader_open_rows
      UNION ALL
      -- … and what price changes have changed that is not in it yet.
      SELECT organization_id, day, project_id, model,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls
      FROM weir.reader_price_entries
      WHERE folded_before < 'infinity'
        AND occurred_at >= folded_before
    ) AS e
    GROUP BY organization_id, day, project_id, model
    HAVING (sum(calls), sum(failed_calls), sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(priced_calls),
      sum(unpriced_calls)) <> (0, 0, 0, 0, 0, 0, 0)
  ) AS f
  LEFT JOIN organizations AS o ON o.id = f.organization_id
  LEFT JOIN projects AS p ON p.organization_id = f.organization_id AND p.id = f.project_id;

COMMENT ON VIEW analytics.spend IS
  'What was spent, by UTC day, project and model: one row per combination that occurs. Exact at every moment.';
COMMENT ON COLUMN analytics.spend.day IS 'Day in UTC in which the calls were made.';
COMMENT ON COLUMN analytics.spend.organization_id IS 'Organisation that the calls are booked on.';
COMMENT ON COLUMN analytics.spend.organization IS 'Its name.';
COMMENT ON COLUMN analytics.spend.project_id IS 'Project that the calls are booked on; NULL: none.';
COMMENT ON COLUMN analytics.spend.project IS 'Its name.';
COMMENT ON COLUMN analytics.spend.model IS
  'Model that was asked for. Prices go by the model that answered: analytics.calls.served_model.';
COMMENT ON COLUMN analytics.spend.calls IS 'Calls that have ended.';
COMMENT ON COLUMN analytics.spend.failed_calls IS 'Those of them that failed or were lost.';
COMMENT ON COLUMN analytics.spend.prompt_tokens IS 'Tokens of the questions, cached ones included.';
COMMENT ON COLUMN analytics.spend.cache_read_tokens IS 'Prompt tokens from the providers'' caches.';
COMMENT ON COLUMN analytics.spend.cache_write_tokens IS 'Prompt tokens put into the providers'' caches.';
COMMENT ON COLUMN analytics.spend.completion_tokens IS 'Tokens of the answers, reasoning included.';
COMMENT ON COLUMN analytics.spend.reasoning_tokens IS 'Completion tokens that went into reasoning.';
COMMENT ON COLUMN analytics.spend.total_tokens IS 'Prompt and completion tokens.';
COMMENT ON COLUMN analytics.spend.cost IS
  'US dollars, exact, of the calls that have a price; NULL where there are calls and none has one.';
COMMENT ON COLUMN analytics.spend.unpriced_calls IS 'Calls with tokens but without a price: not in cost.';
