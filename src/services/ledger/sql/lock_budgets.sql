-- For a change of budgets of one organisation: until the transaction ends nothing of the organisation is admitted or
-- settled, and nobody else changes its budgets. Gives nothing.
--
-- Locks, and waits for them: the advisory lock (2, 0), shared, since changes of different organisations may go on at
-- the same time; then (1, hash of the organisation), alone. weir.share_budgets is the other side.
CREATE OR REPLACE FUNCTION weir.lock_budgets(organization_id text) RETURNS void
  LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock_shared(2, 0);
  SELECT pg_advisory_xact_lock(1, hashtext(organization_id));
$$;
