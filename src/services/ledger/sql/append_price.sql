-- Writes one record of the price book, with its rates as columns: one row per tier of prompt length, with what the
-- record leaves out filled in. Gives nothing. From its commit on, settlements that were priced by an older record of
-- the model are priced again (price_versions).
--
-- Numbers from 2^62 on are previews: rolled back, and no settlement waits for them.
--
-- Locks: the row of the model in price_versions, but for previews. Who writes a record that stays holds the advisory
-- lock of the book, and then that of the model (weir.lock_prices).
CREATE OR REPLACE FUNCTION weir.append_price(record model_prices) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  base jsonb := record.rates;
BEGIN
  INSERT INTO model_prices SELECT record.*;
  -- The rates of the record hold for prompts of all lengths ("above" -1), until its first tier begins.
  INSERT INTO price_rates (
      number, organization_id, above_prompt_tokens, up_to_prompt_tokens,
      input, cache_read, cache_write, cache_write_one_hour,
      output, reasoning, per_request)
    SELECT
      record.number, record.organization_id, t.above, lead(t.above, 1, 2147483647) OVER (ORDER BY t.above),
      -- Where caches have no rates of their own, their tokens cost what other input costs.
      (t.own->>'input')::numeric,
      coalesce(t.own->>'cacheRead', t.own->>'input')::numeric,
      coalesce(t.own->>'cacheWrite', t.own->>'input')::numeric,
      coalesce(t.own->>'cacheWriteOneHour', base->>'cacheWriteOneHour', t.own->>'cacheWrite', t.own->>'input')::numeric,
      -- Null where reasoning is not priced apart: then it costs what other output costs (weir.cost_as_of).
      (t.own->>'output')::numeric,
      coalesce(t.own->>'reasoning', base->>'reasoning')::numeric,
      coalesce(base->>'perRequest', '0')::numeric
    FROM (
      SELECT -1 AS above, base AS own
      UNION ALL
      SELECT (tier->>'abovePromptTokens')::integer, tier
      FROM jsonb_array_elements(coalesce(base->'tiers', '[]')) AS tier) AS t;
  IF record.number < 4611686018427387904 THEN
    INSERT INTO price_versions (model, number)
      VALUES (record.model, record.number)
      ON CONFLICT (model) DO UPDATE SET number = greatest(price_versions.number, excluded.number);
  END IF;
END $$;
