-- Makes the alerts that are due on period rows (given side by side), each once. The soft limit is a threshold like the
-- others: its percent is its part of the limit.
--
-- Gives whether there are new ones: the caller sends the notification, since one that a function sends on another node
-- is heard by nobody.
--
-- Locks, where an alert is due: the advisory lock (3, 0) of all alerts, alone, until the transaction ends. It waits for
-- it, and that is the last lock of the data path.
CREATE OR REPLACE FUNCTION weir.make_alerts(v_organizations text[], v_budgets text[], v_dates date[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  due record;
  last_at timestamptz;
  v_at timestamptz := date_trunc('milliseconds', weir.now());
  is_new boolean := false;
BEGIN
  FOR due IN
    SELECT
      b.organization_id, b.id AS budget_id, b.period, p.starts_on,
      t.percent, p.spent, b.limit_amount
    FROM unnest(v_organizations, v_budgets, v_dates) AS r(org, id, day)
    JOIN budgets AS b
      ON b.organization_id = r.org AND b.id = r.id
    JOIN budget_periods AS p
      ON p.organization_id = r.org AND p.budget_id = r.id AND p.starts_on = r.day
    CROSS JOIN LATERAL (
      SELECT percent, b.limit_amount * percent / 100 AS amount
      FROM unnest(b.alert_at_percent) AS percent
      UNION
      SELECT
        CASE WHEN b.limit_amount = 0 THEN 100 ELSE round(b.soft_limit * 100 / b.limit_amount)::int END,
        b.soft_limit
      WHERE b.soft_limit IS NOT NULL) AS t
    WHERE p.spent > 0
      AND p.spent >= t.amount
      AND NOT EXISTS (
        SELECT FROM budget_alerts AS a
        WHERE a.organization_id = p.organization_id AND a.budget_id = p.budget_id
          AND a.period = b.period AND a.starts_on = p.starts_on AND a.percent = t.percent)
    ORDER BY b.id, p.starts_on, t.percent
  LOOP
    -- One writer at a time until its commit: times are then in the order in which alerts become visible, and "after"
    -- misses none.
    PERFORM pg_advisory_xact_lock(3, 0);
    SELECT max(at) INTO last_at FROM budget_alerts;
    INSERT INTO budget_alerts (
        organization_id, id, budget_id, period, starts_on,
        percent, spent, limit_amount, at)
      VALUES (
        due.organization_id, weir.new_id('alr'), due.budget_id, due.period, due.starts_on,
        due.percent, due.spent, due.limit_amount, greatest(v_at, last_at + interval '1 millisecond'))
      ON CONFLICT (organization_id, budget_id, period, starts_on, percent) DO NOTHING;
    is_new := is_new OR FOUND;
  END LOOP;
  RETURN is_new;
END $$;
