-- Folds the differences that one price change makes into the rollup tables, for calls that were made before a time;
-- those of earlier calls have been folded. How far it is stands in price_changes.folded_before. One at a time.
-- Gives whether it did: false where another one is at it, or was.
CREATE OR REPLACE FUNCTION weir.fold_price_change(v_book bigint, up_to timestamptz) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  done timestamptz;
  first_at timestamptz;
  last_at timestamptz;
BEGIN
  IF NOT pg_try_advisory_xact_lock(5, 1) THEN RETURN false; END IF;
  SELECT c.folded_before, greatest(c.folded_before, c.starts_at), least(up_to, c.ends_at)
    INTO done, first_at, last_at
    FROM price_changes AS c WHERE c.book = v_book;
  IF done IS NULL OR done >= up_to THEN RETURN false; END IF;

  UPDATE price_changes SET folded_before = up_to WHERE book = v_book;
  -- With times as plain values Postgres leaves out the months that are not concerned.
  EXECUTE weir.cube_statement(
    'SELECT * FROM weir.price_entries WHERE book = $1 AND occurred_at >= $2 AND occurred_at < $3')
    USING v_book, first_at, last_at;
  RETURN true;
END $$;
