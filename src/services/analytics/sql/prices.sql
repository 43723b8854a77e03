CREATE OR REPLACE VIEW analytics.prices WITH (security_invoker = true) AS
  SELECT m.number AS price_number, m.model, m.deployment, m.organization_id, o.name AS organization, m.source,
    m.service_tier, m.effective_from, m.effective_to, m.recorded_at,
    nullif(r.above_prompt_tokens, -1) AS above_prompt_tokens,
    nullif(r.up_to_prompt_tokens, 2147483647) AS up_to_prompt_tokens,
    trim_scale(r.input * 1000000) AS input_per_million,
    trim_scale(r.cache_read * 1000000) AS cache_read_per_million,
    trim_scale(r.cache_write * 1000000) AS cache_write_per_million,
    trim_scale(r.cache_write_one_hour * 1000000) AS cache_write_one_hour_per_million,
    trim_scale(r.output * 1000000) AS output_per_million,
    trim_scale(r.reasoning * 1000000) AS reasoning_per_million,
    trim_scale(r.per_request) AS per_request,
    c.book IS NOT NULL AS changed_earlier_calls,
    m.note
  FROM model_prices AS m
  JOIN price_rates AS r ON r.number = m.number
  LEFT JOIN price_changes AS c ON c.book = m.number
  LEFT JOIN organizations AS o ON o.id = m.organization_id;

COMMENT ON VIEW analytics.prices IS
  'The price book: one row per record and tier of prompt length. Nothing in it is ever changed; a correction is a '
  'further record.';
COMMENT ON COLUMN analytics.prices.price_number IS 'Number of the record: a higher one is later knowledge.';
COMMENT ON COLUMN analytics.prices.model IS 'Model that it prices, as the one that answered.';
COMMENT ON COLUMN analytics.prices.deployment IS
  'Deployment that it prices, by its id at the proxy; NULL: all of them.';
COMMENT ON COLUMN analytics.prices.organization_id IS 'Organisation whose own price it is; NULL: a general price.';
COMMENT ON COLUMN analytics.prices.organization IS 'Its name.';
COMMENT ON COLUMN analytics.prices.source IS
  'ADMIN (an operator), PROXY or FALLBACK (the shipped table): in this order one goes before the other.';
COMMENT ON COLUMN analytics.prices.service_tier IS 'Service tier that it prices; NULL: the usual one.';
COMMENT ON COLUMN analytics.prices.effective_from IS 'It holds for calls made from here on.';
COMMENT ON COLUMN analytics.prices.effective_to IS 'It holds for calls made before; NULL: no end.';
COMMENT ON COLUMN analytics.prices.recorded_at IS
  'When it came into the book: figures as of an earlier time do not know it.';
COMMENT ON COLUMN analytics.prices.above_prompt_tokens IS
  'These rates hold for prompts longer than so many tokens; NULL: from the shortest on.';
COMMENT ON COLUMN analytics.prices.up_to_prompt_tokens IS
  'They hold for prompts of up to so many tokens; NULL: no end.';
COMMENT ON COLUMN analytics.prices.input_per_million IS 'US dollars per million uncached prompt tokens.';
COMMENT ON COLUMN analytics.prices.cache_read_per_million IS
  'US dollars per million tokens read from the cache; like input where the record does not price them apart.';
COMMENT ON COLUMN analytics.prices.cache_write_per_million IS
  'US dollars per million tokens written to the cache; like input where the record does not price them apart.';
COMMENT ON COLUMN analytics.prices.cache_write_one_hour_per_million IS
  'US dollars per million tokens written to the cache for an hour; like other writes where the record does not price '
  'them apart.';
COMMENT ON COLUMN analytics.prices.output_per_million IS 'US dollars per million completion tokens.';
COMMENT ON COLUMN analytics.prices.reasoning_per_million IS
  'US dollars per million reasoning tokens; NULL: they cost like output.';
COMMENT ON COLUMN analytics.prices.per_request IS 'US dollars per call.';
COMMENT ON COLUMN analytics.prices.changed_earlier_calls IS
  'Whether it is in force for calls that may have been settled before it: analytics.adjustments says what it changed.';
COMMENT ON COLUMN analytics.prices.note IS 'What whoever recorded it wrote about it.';
