-- What the tokens of a usage row cost at the rates of a tier. Reasoning tokens that have no rate of their own are
-- output. 0 where nothing was used, or the proxy's response cache answered.
CREATE OR REPLACE FUNCTION weir.cost_of_tokens(
    usage_source text, sign smallint, uncached integer, cache_read integer, cache_write integer,
    cache_write_one_hour integer, output integer, reasoning integer, r price_rates)
  RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN usage_source IN ('NONE', 'CACHE') THEN 0 ELSE
    uncached * r.input
    + cache_read * r.cache_read
    + (cache_write - cache_write_one_hour) * r.cache_write
    + cache_write_one_hour * r.cache_write_one_hour
    + output * r.output
    + reasoning * coalesce(r.reasoning, r.output)
    + sign * r.per_request
  END
$$;
