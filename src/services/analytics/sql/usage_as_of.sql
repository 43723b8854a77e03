CREATE OR REPLACE FUNCTION analytics.usage_as_of(as_of timestamptz, from_day date, to_day date)
  RETURNS TABLE (
    day date, organization_id text, organization text, model text, provider text, upstream text, scenario text,
    status text, calls bigint, failed_calls bigint, prompt_tokens bigint, cache_read_tokens bigint,
    cache_write_tokens bigint, completion_tokens bigint, reasoning_tokens bigint, total_tokens bigint, cost numeric,
    unpriced_calls bigint, average_latency_ms double precision, p50_latency_ms double precision,
    p95_latency_ms double precision, average_time_to_first_token_ms double precision,
    p95_time_to_first_token_ms double precision, latency_count bigint, latency_ms_sum bigint, latency_histogram numeric,
    first_token_count bigint, first_token_ms_sum bigint, first_token_histogram numeric
  ) LANGUAGE sql STABLE
  BEGIN ATOMIC
    SELECT f.day, f.organization_id, o.name, f.model, nullif(f.provider, ''), f.upstream, f.scenario, f.status,
      f.calls, f.failed_calls, f.prompt_tokens, f.cache_read_tokens, f.cache_write_tokens, f.completion_tokens,
      f.reasoning_tokens,
      f.prompt_tokens + f.completion_tokens,
      CASE WHEN f.priced_calls = 0 AND f.calls <> 0 THEN NULL ELSE f.cost END,
      f.unpriced_calls,
      f.latency_ms::double precision / nullif(f.latency_count, 0),
      analytics.percentile(f.latency_histogram, 0.5),
      analytics.percentile(f.latency_histogram, 0.95),
      f.first_token_ms::double precision / nullif(f.first_token_count, 0),
      analytics.percentile(f.first_token_histogram, 0.95),
      f.latency_count, f.latency_ms, f.latency_histogram,
      f.first_token_count, f.first_token_ms, f.first_token_histogram
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
        -- Days before that of as_of: what is in the cube, settled calls that are not, and price changes that are not.
        SELECT organization_id, day, model, provider, upstream, scenario, status,
          calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
          reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
          first_token_count, first_token_ms, first_token_histogram
        FROM usage_daily
        WHERE weir.check_as_of(as_of, from_day, to_day)
          AND day >= from_day
          AND day < least(to_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date)
          AND entry_at <= as_of
        UNION ALL
        SELECT organization_id, day, model, provider, upstream, scenario, status,
          calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
          reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
          first_token_count, first_token_ms, first_token_histogram
        FROM weir.reader_open_rows
        WHERE occurred_at >= from_day::timestamp AT TIME ZONE 'UTC'
          AND occurred_at < least(to_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date)::timestamp
            AT TIME ZONE 'UTC'
          AND entry_at <= as_of
        UNION ALL
        SELECT organization_id, day, model, provider, upstream, scenario, status,
          calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
          reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
          first_token_count, first_token_ms, first_token_histogram
        FROM weir.reader_price_entries
        WHERE occurred_at >= from_day::timestamp AT TIME ZONE 'UTC'
          AND occurred_at < least(to_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date)::timestamp
            AT TIME ZONE 'UTC'
          AND folded_before < 'infinity'
          AND occurred_at >= folded_before
          AND entry_at <= as_of
        UNION ALL
        -- From the day of an hour before as_of on: single calls. Cubes do not say when it was settled within an hour.
        SELECT organization_id, day, model, provider, upstream, scenario, status,
          calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
          reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
          first_token_count, first_token_ms, first_token_histogram
        FROM weir.reader_rows
        WHERE occurred_at >= greatest(from_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date)::timestamp
            AT TIME ZONE 'UTC'
          AND occurred_at < to_day::timestamp AT TIME ZONE 'UTC'
          AND occurred_at <= as_of
          AND settled_at <= as_of
        UNION ALL
        SELECT organization_id, day, model, provider, upstream, scenario, status,
          calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens,
          reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram,
          first_token_count, first_token_ms, first_token_histogram
        FROM weir.reader_price_entries
        WHERE occurred_at >= greatest(from_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date)::timestamp
            AT TIME ZONE 'UTC'
          AND occurred_at < to_day::timestamp AT TIME ZONE 'UTC'
          AND occurred_at <= as_of
          AND entry_at <= as_of
      ) AS e
      GROUP BY organization_id, day, model, provider, upstream, scenario, status
      HAVING (sum(calls), sum(failed_calls), sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(priced_calls),
        sum(unpriced_calls)) <> (0, 0, 0, 0, 0, 0, 0)
    ) AS f
    LEFT JOIN organizations AS o ON o.id = f.organization_id;
  END;

COMMENT ON FUNCTION analytics.usage_as_of IS
  'analytics.usage_daily of the days from from_day (inclusive) to to_day (exclusive), as it stood at as_of: calls '
  'settled until then, at the prices recorded until then. as_of is at least 20 seconds ago.';
