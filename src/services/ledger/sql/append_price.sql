-- Writes one record of the price book, with its rates as columns: one row per tier of prompt length, with what the
-- record leaves out filled in. Numbers from 2^62 on are previews: rolled back, and no settlement waits for them. The
-- caller holds the lock of the book.
CREATE OR REPLACE FUNCTION weir.append_price(record model_prices) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  base jsonb := record.rates;
BEGIN
  INSERT INTO model_prices SELECT record.*;
  INSERT INTO price_rates (number, organization_id, above_prompt_tokens, up_to_prompt_tokens,
      input, cache_read, cache_write, cache_write_one_hour, output, reasoning, per_request)
    SELECT
      record.number, record.organization_id, t.above, lead(t.above, 1, 2147483647) OVER (ORDER BY t.above),
      (t.own->>'input')::numeric,
      coalesce(t.own->>'cacheRead', t.own->>'input')::numeric,
      coalesce(t.own->>'cacheWrite', t.own->>'input')::numeric,
      coalesce(t.own->>'cacheWriteOneHour', base->>'cacheWriteOneHour', t.own->>'cacheWrite', t.own->>'input')::numeric,
      (t.own->>'output')::numeric,
      coalesce(t.own->>'reasoning', base->>'reasoning')::numeric,
      coalesce(base->>'perRequest', '0')::numeric
    FROM (SELECT -1 AS above, base AS own
          UNION ALL
          SELECT (tier->>'abovePromptTokens')::integer, tier
          FROM jsonb_array_elements(coalesce(base->'tiers', '[]')) AS tier) AS t;
  IF record.number < 4611686018427387904 THEN
    INSERT INTO price_versions (model, number) VALUES (record.model, record.number)
      ON CONFLICT (model) DO UPDATE SET number = greatest(price_versions.number, excluded.number);
  END IF;
END $$;
