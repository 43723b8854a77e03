CREATE OR REPLACE VIEW analytics.adjustments WITH (security_invoker = true) AS
  SELECT f.entry_at, CASE WHEN c.book IS NULL THEN 'LATER_ENTRY' ELSE 'PRICE_CHANGE' END AS kind,
    c.book AS price_number, f.day, f.organization_id, o.name AS organization,
    nullif(f.project_id, '') AS project_id, p.name AS project, f.model,
    f.calls, f.failed_calls, f.prompt_tokens, f.cache_read_tokens, f.cache_write_tokens, f.completion_tokens,
    f.reasoning_tokens,
    f.prompt_tokens + f.completion_tokens AS total_tokens,
    f.cost, f.unpriced_calls
  FROM (
    SELECT organization_id, project_id, model, day, entry_at,
      sum(calls)::bigint AS calls, sum(failed_calls)::bigint AS failed_calls,
      sum(prompt_tokens)::bigint AS prompt_tokens, sum(cache_read_tokens)::bigint AS cache_read_tokens,
      sum(cache_write_tokens)::bigint AS cache_write_tokens, sum(completion_tokens)::bigint AS completion_tokens,
      sum(reasoning_tokens)::bigint AS reasoning_tokens, sum(cost) AS cost, sum(priced_calls)::bigint AS priced_calls,
      sum(unpriced_calls)::bigint AS unpriced_calls
    FROM (
      -- What is in the cube, …
      SELECT organization_id, project_id, model, day, entry_at,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls
      FROM usage_daily_by_project
      WHERE entry_at > '-infinity'
      UNION ALL
      -- … settled calls that are not in it yet, …
      SELECT organization_id, project_id, model, day, entry_at,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls
      FROM weir.reader_open_rows
      WHERE entry_at > '-infinity'
      UNION ALL
      -- … and what price changes have changed that is not in it yet.
      SELECT organization_id, project_id, model, day, entry_at,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls
      FROM weir.reader_price_entries
      WHERE folded_before < 'infinity'
        AND occurred_at >= folded_before
    ) AS e
    GROUP BY organization_id, project_id, model, day, entry_at
    HAVING (sum(calls), sum(failed_calls), sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(priced_calls),
      sum(unpriced_calls)) <> (0, 0, 0, 0, 0, 0, 0)
  ) AS f
  LEFT JOIN organizations AS o ON o.id = f.organization_id
  LEFT JOIN projects AS p ON p.organization_id = f.organization_id AND p.id = f.project_id
  LEFT JOIN price_changes AS c ON c.recorded_at = f.entry_at;

COMMENT ON VIEW analytics.adjustments IS
  'What later knowledge changed in figures that stood before: price changes, corrections of calls, calls settled an '
  'hour after they were made or later. By entry, project, model and UTC day of the calls: differences, which add up '
  'with what was booked at first to the figures of now.';
COMMENT ON COLUMN analytics.adjustments.entry_at IS 'When the entry was made: from then on figures have it.';
COMMENT ON COLUMN analytics.adjustments.kind IS 'PRICE_CHANGE, or LATER_ENTRY: a correction or a late settlement.';
COMMENT ON COLUMN analytics.adjustments.price_number IS 'Number of the price record that made it; NULL: no price did.';
COMMENT ON COLUMN analytics.adjustments.day IS 'Day in UTC in which the calls were made.';
COMMENT ON COLUMN analytics.adjustments.organization_id IS 'Organisation that the calls are booked on.';
COMMENT ON COLUMN analytics.adjustments.organization IS 'Its name.';
COMMENT ON COLUMN analytics.adjustments.project_id IS 'Project that the calls are booked on; NULL: none.';
COMMENT ON COLUMN analytics.adjustments.project IS 'Its name.';
COMMENT ON COLUMN analytics.adjustments.model IS
  'Model that was asked for. Prices go by the model that answered: analytics.calls.served_model.';
COMMENT ON COLUMN analytics.adjustments.calls IS 'Difference: calls that have ended.';
COMMENT ON COLUMN analytics.adjustments.failed_calls IS 'Difference: those of them that failed or were lost.';
COMMENT ON COLUMN analytics.adjustments.prompt_tokens IS 'Difference: tokens of the questions, cached ones included.';
COMMENT ON COLUMN analytics.adjustments.cache_read_tokens IS 'Difference: prompt tokens from the providers'' caches.';
COMMENT ON COLUMN analytics.adjustments.cache_write_tokens IS
  'Difference: prompt tokens put into the providers'' caches.';
COMMENT ON COLUMN analytics.adjustments.completion_tokens IS 'Difference: tokens of the answers, reasoning included.';
COMMENT ON COLUMN analytics.adjustments.reasoning_tokens IS 'Difference: completion tokens that went into reasoning.';
COMMENT ON COLUMN analytics.adjustments.total_tokens IS 'Difference: prompt and completion tokens.';
COMMENT ON COLUMN analytics.adjustments.cost IS 'Difference in US dollars, exact; never NULL.';
COMMENT ON COLUMN analytics.adjustments.unpriced_calls IS
  'Difference: calls with tokens but without a price: not in cost.';
