-- For the writer of price records: no call of these models is settled until the transaction ends. Waits.
CREATE OR REPLACE FUNCTION weir.lock_prices(models text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(4, k.key)
    FROM (SELECT DISTINCT hashtext(m) AS key FROM unnest(models) AS m ORDER BY key) AS k;
END $$;
