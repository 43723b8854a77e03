-- For a change of budgets: until the transaction ends nothing of the organisation is admitted or settled. Waits.
CREATE OR REPLACE FUNCTION weir.lock_budgets(organization_id text) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock_shared(2, 0);
  SELECT pg_advisory_xact_lock(1, hashtext(organization_id));
$$;
