-- Locks the period rows of bookings until the transaction ends. Gives how long it waited: rows of a busy budget are
-- what settlements wait for.
--
-- Locks: these period rows, in the order in which everybody locks them (budget, first date).
CREATE OR REPLACE FUNCTION weir.lock_periods(bookings weir.booking[]) RETURNS interval
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  started_at timestamptz := clock_timestamp();
BEGIN
  PERFORM
    FROM unnest(bookings) AS d
    JOIN budget_periods AS p
      ON p.organization_id = d.organization_id AND p.budget_id = d.budget_id AND p.starts_on = d.starts_on
    ORDER BY p.budget_id, p.starts_on
    FOR NO KEY UPDATE OF p;
  RETURN clock_timestamp() - started_at;
END $$;
