-- After a change of budgets of one organisation: makes the alerts that are due in the current periods. Gives whether
-- there are new ones.
--
-- Locks: that of weir.make_alerts. The caller holds weir.lock_budgets, or the advisory lock (2, 0) alone.
CREATE OR REPLACE FUNCTION weir.check_alerts(v_organization text, v_budgets text[]) RETURNS boolean
  LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(
    weir.make_alerts(array_agg(p.organization_id), array_agg(p.budget_id), array_agg(p.starts_on)),
    false)
  FROM budget_periods AS p
  WHERE p.organization_id = v_organization
    AND p.budget_id = ANY (v_budgets)
    AND p.starts_at <= weir.now() AND p.ends_at > weir.now();
$$;
