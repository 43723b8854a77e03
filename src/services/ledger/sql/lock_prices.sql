-- For the writer of price records: no call of these models is settled until the transaction ends. Gives nothing.
--
-- Locks, and waits for them: the advisory locks (4, hash of the model), alone, in the order of the hashes.
-- weir.share_prices is the other side.
CREATE OR REPLACE FUNCTION weir.lock_prices(models text[]) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(4, k.key)
    FROM (SELECT DISTINCT hashtext(m) AS key FROM unnest(models) AS m ORDER BY key) AS k;
END $$;
