-- A plan's monthly budget is a budget of each of its users: makes, changes or removes that of one user. "is_new": the
-- user was made in this transaction, and has spent nothing.
--
-- Gives whether there are new alerts.
--
-- Locks: the row of the plan (shared), then, but for a new user, the organisation's budgets (weir.lock_budgets). The
-- caller holds the row of the user.
CREATE OR REPLACE FUNCTION weir.fit_plan_budget(v_organization text, v_user text, v_plan text, is_new boolean)
  RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  monthly numeric;
  v_budget text;
  v_at timestamptz := weir.now();
BEGIN
  -- Plans before budgets, as everywhere: a concurrent edit of this plan goes first, or comes after, and then finds this
  -- user.
  SELECT p.monthly_budget INTO monthly FROM plans AS p WHERE p.id = v_plan FOR SHARE;
  IF NOT is_new THEN PERFORM weir.lock_budgets(v_organization); END IF;
  IF monthly IS NULL THEN
    DELETE FROM budgets AS b
      WHERE b.organization_id = v_organization AND b.subject_id = v_user AND b.plan_id IS NOT NULL;
    RETURN false;
  END IF;
  UPDATE budgets AS b SET plan_id = v_plan, limit_amount = monthly, updated_at = v_at
    WHERE b.organization_id = v_organization AND b.subject_id = v_user AND b.plan_id IS NOT NULL
    RETURNING b.id INTO v_budget;
  IF v_budget IS NOT NULL THEN RETURN weir.check_alerts(v_organization, ARRAY[v_budget]); END IF;
  INSERT INTO budgets (organization_id, id, scope, subject_id, period, limit_amount, plan_id, by_operator)
    VALUES (v_organization, weir.new_id('bud'), 'USER', v_user, 'MONTH', monthly, v_plan, true)
    RETURNING id INTO v_budget;
  IF is_new THEN RETURN false; END IF;
  RETURN weir.fill_budgets(v_organization, ARRAY[v_budget]);
END $$;
