-- Keeps the budgets of organisations as they are until the transaction ends. A change of a budget, or of its period,
-- fills in what was spent and is reserved: meanwhile nothing of the organisation may be admitted or settled.
--
-- Gives true, or raises lock_not_available (55P03); the caller tries again.
--
-- Locks: the advisory locks (2, 0), for changes that concern many organisations, and (1, hash of the organisation),
-- both shared; weir.lock_budgets is the other side. It does not wait for them: a whole group would wait for one of its
-- organisations, and everything behind the group as well.
CREATE OR REPLACE FUNCTION weir.share_budgets(organization_ids text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  organization text;
BEGIN
  IF NOT pg_try_advisory_xact_lock_shared(2, 0) THEN
    RAISE EXCEPTION 'the budgets of a plan are being changed' USING ERRCODE = 'lock_not_available';
  END IF;
  FOREACH organization IN ARRAY organization_ids LOOP
    IF NOT pg_try_advisory_xact_lock_shared(1, hashtext(organization)) THEN
      RAISE EXCEPTION 'a budget of the organisation is being changed' USING ERRCODE = 'lock_not_available';
    END IF;
  END LOOP;
  RETURN true;
END $$;
