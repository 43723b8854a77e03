-- What each row of llm_usage adds to the figures, at the price it was booked at. A correction is two rows, one of
-- which takes back what was booked: `sign` is -1 there.
CREATE OR REPLACE VIEW weir.row_entries AS
  SELECT
    u.organization_id, u.occurred_at, u.id, coalesce(u.corrects_id, u.id) AS call_id,
    (u.occurred_at AT TIME ZONE 'UTC')::date AS day,
    date_bin('15 minutes', u.occurred_at, timestamptz '2000-01-01 00:00+00') AS quarter,
    u.user_id, coalesce(u.project_id, '') AS project_id, u.conversation_id, u.agent, u.scenario, u.trace_id,
    u.model, u.served_model, coalesce(u.provider, '') AS provider, u.upstream, u.status,
    u.settled_at, u.batch_id,
    -- Later knowledge has the time at which it was known, so that figures can be asked as they stood before.
    CASE
      WHEN u.kind = 'CALL' AND u.settled_at - u.occurred_at < interval '1 hour' THEN timestamptz '-infinity'
      ELSE u.settled_at
    END AS entry_at,
    u.sign::bigint AS calls,
    CASE WHEN u.status IN ('FAILED', 'LOST') THEN u.sign ELSE 0 END::bigint AS failed_calls,
    u.prompt_tokens::bigint AS prompt_tokens,
    u.cache_read_tokens::bigint AS cache_read_tokens,
    u.cache_write_tokens::bigint AS cache_write_tokens,
    u.completion_tokens::bigint AS completion_tokens,
    u.reasoning_tokens::bigint AS reasoning_tokens,
    coalesce(u.cost, 0) AS cost,
    CASE WHEN u.cost IS NULL THEN 0 ELSE u.sign END::bigint AS priced_calls,
    CASE WHEN u.cost IS NULL AND u.total_tokens <> 0 THEN u.sign ELSE 0 END::bigint AS unpriced_calls,
    CASE WHEN u.latency_ms IS NULL THEN 0 ELSE u.sign END::bigint AS latency_count,
    coalesce(u.sign * u.latency_ms, 0)::bigint AS latency_ms,
    coalesce(u.sign * weir.histogram(u.latency_ms), 0) AS latency_histogram,
    CASE WHEN u.time_to_first_token_ms IS NULL THEN 0 ELSE u.sign END::bigint AS first_token_count,
    coalesce(u.sign * u.time_to_first_token_ms, 0)::bigint AS first_token_ms,
    coalesce(u.sign * weir.histogram(u.time_to_first_token_ms), 0) AS first_token_histogram
  FROM llm_usage AS u;
