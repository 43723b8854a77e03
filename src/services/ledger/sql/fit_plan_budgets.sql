-- Makes, changes or removes the budgets of all users of a plan in one organisation, after the plan's monthly budget was
-- changed (null: there is none any more). weir.fit_plan_budget does so for one user.
--
-- Gives whether there are new alerts.
--
-- Locks: the rows that it writes. The caller holds the advisory lock of all budgets, (2, 0), alone.
CREATE OR REPLACE FUNCTION weir.fit_plan_budgets(v_organization text, v_plan text, monthly numeric) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_at timestamptz := weir.now();
  -- ids of budgets
  made text[];
  changed text[];
BEGIN
  IF monthly IS NULL THEN
    DELETE FROM budgets AS b WHERE b.organization_id = v_organization AND b.plan_id = v_plan;
    RETURN false;
  END IF;
  WITH edited AS (
    UPDATE budgets AS b SET limit_amount = monthly, updated_at = v_at
      WHERE b.organization_id = v_organization AND b.plan_id = v_plan
      RETURNING b.id)
  SELECT array_agg(id) INTO changed FROM edited;
  WITH added AS (
    INSERT INTO budgets (organization_id, id, scope, subject_id, period, limit_amount, plan_id, by_operator)
      SELECT u.organization_id, weir.new_id('bud'), 'USER', u.id, 'MONTH', monthly, v_plan, true
      FROM users AS u
      WHERE u.organization_id = v_organization AND u.plan_id = v_plan AND u.deleted_at IS NULL
        AND NOT EXISTS (
          SELECT FROM budgets AS b
          WHERE b.organization_id = v_organization AND b.subject_id = u.id AND b.plan_id IS NOT NULL)
      RETURNING id)
  SELECT array_agg(id) INTO made FROM added;
  RETURN coalesce(weir.check_alerts(v_organization, changed), false)
    OR CASE WHEN made IS NULL THEN false ELSE weir.fill_budgets(v_organization, made) END;
END $$;
