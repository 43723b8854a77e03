-- What each price change adds to the figures of each row that was settled before it: the difference between what the
-- row costs by it and what stood before. That is what was booked where the row was booked with the record before it
-- known, and what that record makes of the row where it came later.
CREATE OR REPLACE VIEW weir.price_entries AS
  SELECT
    e.*, c.book, c.folded_before, c.recorded_at AS entry_at,
    0::bigint AS calls, 0::bigint AS failed_calls,
    0::bigint AS prompt_tokens, 0::bigint AS cache_read_tokens, 0::bigint AS cache_write_tokens,
    0::bigint AS completion_tokens, 0::bigint AS reasoning_tokens,
    e.cost_after - coalesce(e.cost_before, 0) AS cost,
    CASE WHEN e.cost_before IS NULL THEN e.sign ELSE 0 END::bigint AS priced_calls,
    CASE WHEN e.cost_before IS NULL AND e.total_tokens <> 0 THEN -e.sign ELSE 0 END::bigint AS unpriced_calls,
    0::bigint AS latency_count, 0::bigint AS latency_ms, 0::numeric AS latency_histogram,
    0::bigint AS first_token_count, 0::bigint AS first_token_ms, 0::numeric AS first_token_histogram
  FROM price_changes AS c
  CROSS JOIN LATERAL (
    SELECT
      u.organization_id, u.occurred_at, u.id, coalesce(u.corrects_id, u.id) AS call_id,
      (u.occurred_at AT TIME ZONE 'UTC')::date AS day,
      date_bin('15 minutes', u.occurred_at, timestamptz '2000-01-01 00:00+00') AS quarter,
      u.user_id, coalesce(u.project_id, '') AS project_id, u.conversation_id, u.agent, u.scenario, u.trace_id,
      u.model, u.served_model, coalesce(u.provider, '') AS provider, u.upstream, u.status, u.settled_at, u.batch_id,
      u.sign, u.total_tokens, u.cost AS cost_booked,
      weir.cost_of_tokens(
        u.usage_source, u.sign, u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens,
        u.cache_write_one_hour_tokens, u.output_tokens, u.reasoning_tokens, r.after) AS cost_after,
      CASE WHEN u.book_number < p.previous THEN weir.cost_of_tokens(
        u.usage_source, u.sign, u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens,
        u.cache_write_one_hour_tokens, u.output_tokens, u.reasoning_tokens, r.before)
      ELSE u.cost END AS cost_before
    -- OFFSET keeps a part and its rates one thing: the model is then looked at first where rows are read, and not
    -- behind what costs more.
    FROM (
      SELECT
        c.model, q.*,
        ARRAY(SELECT t.above_prompt_tokens FROM price_rates AS t WHERE t.number = c.book ORDER BY 1) AS tiers,
        ARRAY(SELECT t FROM price_rates AS t WHERE t.number = c.book ORDER BY t.above_prompt_tokens) AS rates,
        ARRAY(SELECT t.above_prompt_tokens FROM price_rates AS t WHERE t.number = q.previous ORDER BY 1)
          AS tiers_before,
        ARRAY(SELECT t FROM price_rates AS t WHERE t.number = q.previous ORDER BY t.above_prompt_tokens)
          AS rates_before
      FROM price_change_parts AS q WHERE q.book = c.book OFFSET 0) AS p
    JOIN llm_usage AS u
      ON u.served_model = p.model AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
      AND u.book_number < c.book
      AND (u.organization_id = ANY (p.organizations)) = p.organizations_listed
      AND (coalesce(u.deployment, '') = ANY (p.deployments)) = p.deployments_listed
      AND (coalesce(u.service_tier, '') = ANY (p.service_tiers)) = p.service_tiers_listed
    -- The rates for a prompt of this length, looked up once for each row: that is what OFFSET is for here.
    CROSS JOIN LATERAL (
      SELECT
        p.rates[width_bucket(abs(u.prompt_tokens) - 1, p.tiers)] AS after,
        p.rates_before[width_bucket(abs(u.prompt_tokens) - 1, p.tiers_before)] AS before
      OFFSET 0) AS r
  ) AS e;
