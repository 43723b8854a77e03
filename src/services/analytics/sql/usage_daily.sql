CREATE OR REPLACE VIEW analytics.usage_daily WITH (security_invoker = true) AS
  SELECT f.day, f.organization_id, o.name AS organization, f.model, nullif(f.provider, '') AS provider,
    f.upstream, f.scenario, f.status,
    f.calls, f.failed_calls, f.prompt_tokens, f.cache_read_tokens, f.cache_write_tokens, f.completion_tokens,
    f.reasoning_tokens,
    f.prompt_tokens + f.completion_tokens AS total_tokens,
    CASE WHEN f.priced_calls = 0 AND f.calls <> 0 THEN NULL ELSE f.cost END AS cost,
    f.unpriced_calls,
    f.latency_ms::double precision / nullif(f.latency_count, 0) AS average_latency_ms,
    analytics.percentile(f.latency_histogram, 0.5) AS p50_latency_ms,
    analytics.percentile(f.latency_histogram, 0.95) AS p95_latency_ms,
    f.first_token_ms::double precision / nullif(f.first_token_count, 0) AS average_time_to_first_token_ms,
    analytics.percentile(f.first_token_histogram, 0.95) AS p95_time_to_first_token_ms,
    f.latency_count, f.latency_ms AS latency_ms_sum, f.latency_histogram,
    f.first_token_count, f.first_token_ms AS first_token_ms_sum, f.first_token_histogram
  FROM (
    SELECT organization_id, day, model, provider, upstream, scenario, status,
      sum(calls)::bigint AS calls, sum(failed_calls)::bigint AS failed_calls,
      sum(prompt_tokens)::bigint AS prompt_tokens, sum(cache_read_tokens)::bigint AS cache_read_tokens,
      sum(cache_write_tokens)::bigint AS cache_write_tokens, sum(completion_tokens)::bigint AS completion_tokens,
      sum(reasoning_tokens)::bigint AS reasoning_tokens, sum(cost) AS cost, sum(priced_calls)::bigint AS priced_calls,
      sum(unpriced_calls)::bigint AS unpriced_calls, sum(latency_count)::bigint AS latency_count,
      sum(latency_ms)::bigint AS latency_ms, sum(latency_histogram) AS latency_histogram,
      sum(first_token_count)::bigint AS first_token_count, sum(first_token_ms)::bigint AS first_token_ms,
      sum(first_token_histogram) AS first_token_histogram
    FROM (
      -- What is in the cube, …
      SELECT organization_id, day, model, provider, upstream, scenario, status,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
        first_token_count, first_token_ms, first_token_histogram
      FROM usage_daily
      UNION ALL
      -- … settled calls that are not in it yet, …
      SELECT organization_id, day, model, provider, upstream, scenario, status,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
        first_token_count, first_token_ms, first_token_histogram
      FROM weir.reader_open_rows
      UNION ALL
      -- … and what price changes have changed that is not in it yet.
      SELECT organization_id, day, model, provider, upstream, scenario, status,
        calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
        reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
        first_token_count, first_token_ms, first_token_histogram
      FROM weir.reader_price_entries
      WHERE folded_before < 'infinity'
        AND occurred_at >= folded_before
    ) AS e
    GROUP BY organization_id, day, model, provider, upstream, scenario, status
    HAVING (sum(calls), sum(failed_calls), sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(priced_calls),
      sum(unpriced_calls)) <> (0, 0, 0, 0, 0, 0, 0)
  ) AS f
  LEFT JOIN organizations AS o ON o.id = f.organization_id;

COMMENT ON VIEW analytics.usage_daily IS
  'What was used and what it cost, by UTC day, model, provider, upstream, scenario and status: one row per combination '
  'that occurs. Exact at every moment.';
COMMENT ON COLUMN analytics.usage_daily.day IS 'Day in UTC in which the calls were made.';
COMMENT ON COLUMN analytics.usage_daily.organization_id IS 'Organisation that the calls are booked on.';
COMMENT ON COLUMN analytics.usage_daily.organization IS 'Its name.';
COMMENT ON COLUMN analytics.usage_daily.model IS
  'Model that was asked for. Prices go by the model that answered: analytics.calls.served_model.';
COMMENT ON COLUMN analytics.usage_daily.provider IS 'Provider that answered; NULL: not known.';
COMMENT ON COLUMN analytics.usage_daily.upstream IS 'LITELLM (through the proxy) or DIRECT.';
COMMENT ON COLUMN analytics.usage_daily.scenario IS
  'Label of the call: DEFAULT, BACKGROUND, THINK, LONG_CONTEXT, REVIEW or PLAN.';
COMMENT ON COLUMN analytics.usage_daily.status IS 'How the calls ended: COMPLETED, STOPPED, FAILED or LOST.';
COMMENT ON COLUMN analytics.usage_daily.calls IS 'Calls that have ended.';
COMMENT ON COLUMN analytics.usage_daily.failed_calls IS 'Those of them that failed or were lost.';
COMMENT ON COLUMN analytics.usage_daily.prompt_tokens IS 'Tokens of the questions, cached ones included.';
COMMENT ON COLUMN analytics.usage_daily.cache_read_tokens IS 'Prompt tokens from the providers'' caches.';
COMMENT ON COLUMN analytics.usage_daily.cache_write_tokens IS 'Prompt tokens put into the providers'' caches.';
COMMENT ON COLUMN analytics.usage_daily.completion_tokens IS 'Tokens of the answers, reasoning included.';
COMMENT ON COLUMN analytics.usage_daily.reasoning_tokens IS 'Completion tokens that went into reasoning.';
COMMENT ON COLUMN analytics.usage_daily.total_tokens IS 'Prompt and completion tokens.';
COMMENT ON COLUMN analytics.usage_daily.cost IS
  'US dollars, exact, of the calls that have a price; NULL where there are calls and none has one.';
COMMENT ON COLUMN analytics.usage_daily.unpriced_calls IS 'Calls with tokens but without a price: not in cost.';
COMMENT ON COLUMN analytics.usage_daily.average_latency_ms IS
  'Milliseconds from admission to the end, on average. To merge rows: sum(latency_ms_sum) / sum(latency_count).';
COMMENT ON COLUMN analytics.usage_daily.p50_latency_ms IS
  'Half of the calls took at most so many milliseconds. To merge rows: analytics.percentile(sum(latency_histogram), '
  '0.5).';
COMMENT ON COLUMN analytics.usage_daily.p95_latency_ms IS
  '95 % of the calls took at most so many milliseconds. To merge rows: analytics.percentile(sum(latency_histogram), '
  '0.95).';
COMMENT ON COLUMN analytics.usage_daily.average_time_to_first_token_ms IS
  'Milliseconds from admission to the first token of streamed calls, on average.';
COMMENT ON COLUMN analytics.usage_daily.p95_time_to_first_token_ms IS
  '95 % of the streamed calls had their first token within so many milliseconds.';
COMMENT ON COLUMN analytics.usage_daily.latency_count IS 'Calls whose latency is known.';
COMMENT ON COLUMN analytics.usage_daily.latency_ms_sum IS 'Sum of their latencies in milliseconds.';
COMMENT ON COLUMN analytics.usage_daily.latency_histogram IS
  'Their latencies as a histogram in one number: merge by sum(), read by analytics.percentile().';
COMMENT ON COLUMN analytics.usage_daily.first_token_count IS 'Streamed calls with a first token.';
COMMENT ON COLUMN analytics.usage_daily.first_token_ms_sum IS 'Sum of their times to the first token in milliseconds.';
COMMENT ON COLUMN analytics.usage_daily.first_token_histogram IS
  'Their times to the first token as a histogram in one number: merge by sum(), read by analytics.percentile().';
