-- A change of a budget, or of its period, fills in what was spent and is reserved: meanwhile nothing of the
-- organisation may be admitted or settled. The data path takes these locks shared; (2, 0) is for changes that concern
-- many organisations. It does not wait for them: a whole group would wait for one of its organisations, and everything
-- behind the group as well. Gives true, or raises lock_not_available (55P03); the caller tries again.
CREATE OR REPLACE FUNCTION weir.share_budgets(organization_ids text[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
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
