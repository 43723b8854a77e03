-- What a settled call costs as the price book stood at a time (null: now): by the newest record that is in force for it
-- and came after the book that it was priced with; without one, what was booked.
--
-- Gives the cost, the parts that it is the sum of, and the number of the record. Of a reversal all are negative, as its
-- tokens are. Takes no locks.
CREATE OR REPLACE FUNCTION weir.cost_as_of(u weir.priced_call, as_of timestamptz) RETURNS weir.cost_parts
  LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_number bigint;
  r price_rates;
  parts weir.cost_parts;
  prompt_tokens integer := u.uncached_prompt_tokens + u.cache_read_tokens + u.cache_write_tokens;
BEGIN
  SELECT max(c.book)
    INTO v_number
    FROM price_changes AS c
    JOIN price_change_parts AS p
      ON p.book = c.book
    WHERE c.model = u.served_model
      AND c.book > u.book_number
      AND (as_of IS NULL OR c.recorded_at <= as_of)
      AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
      -- Each list says either for which the record is in force ("listed"), or for which it is not.
      AND (u.organization_id = ANY (p.organizations)) = p.organizations_listed
      AND (coalesce(u.deployment, '') = ANY (p.deployments)) = p.deployments_listed
      AND (coalesce(u.service_tier, '') = ANY (p.service_tiers)) = p.service_tiers_listed;
  IF v_number IS NULL THEN
    RETURN ROW(
      u.cost, u.cost_input, u.cost_cache_read, u.cost_cache_write, u.cost_output, u.cost_reasoning, u.cost_request,
      u.price_number)::weir.cost_parts;
  END IF;
  parts.price_number := v_number;
  -- Nothing was used, or the proxy's response cache answered.
  IF u.usage_source IN ('NONE', 'CACHE') THEN
    SELECT 0, 0, 0, 0, 0, 0, 0
      INTO
        parts.cost, parts.cost_input, parts.cost_cache_read, parts.cost_cache_write,
        parts.cost_output, parts.cost_reasoning, parts.cost_request;
    RETURN parts;
  END IF;
  -- The tier of prompt length.
  SELECT x.*
    INTO STRICT r
    FROM price_rates AS x
    WHERE x.number = v_number
      AND abs(prompt_tokens) > x.above_prompt_tokens AND abs(prompt_tokens) <= x.up_to_prompt_tokens;
  parts.cost_input := u.uncached_prompt_tokens * r.input;
  parts.cost_cache_read := u.cache_read_tokens * r.cache_read;
  parts.cost_cache_write :=
    (u.cache_write_tokens - u.cache_write_one_hour_tokens) * r.cache_write
    + u.cache_write_one_hour_tokens * r.cache_write_one_hour;
  parts.cost_output := (u.output_tokens + CASE WHEN r.reasoning IS NULL THEN u.reasoning_tokens ELSE 0 END) * r.output;
  parts.cost_reasoning := coalesce(u.reasoning_tokens * r.reasoning, 0);
  parts.cost_request := u.sign * r.per_request;
  parts.cost :=
    parts.cost_input + parts.cost_cache_read + parts.cost_cache_write
    + parts.cost_output + parts.cost_reasoning + parts.cost_request;
  RETURN parts;
END $$;
