-- Keeps the prices of models as they are until the transaction ends. All settlements share this lock; a change of a
-- price takes it alone, for its commit.
--
-- Gives true, or raises lock_not_available (55P03); the caller tries again, and calls of other models go on.
--
-- Locks: the advisory locks (4, hash of the model), shared; weir.lock_prices is the other side. It does not wait for
-- them: a group of calls would wait for one model, with the locks that it has.
CREATE OR REPLACE FUNCTION weir.share_prices(models text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  model text;
BEGIN
  FOREACH model IN ARRAY models LOOP
    IF NOT pg_try_advisory_xact_lock_shared(4, hashtext(model)) THEN
      RAISE EXCEPTION 'a price of the model is being recorded' USING ERRCODE = 'lock_not_available';
    END IF;
  END LOOP;
  RETURN true;
END $$;
