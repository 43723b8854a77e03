-- Changes what an administrator may change of a user; another plan brings its budget. Gives whether there are new
-- alerts.
--
-- Locks: the row of the user; with another plan then those of weir.fit_plan_budget: the row of the plan (shared), and
-- the organisation's budgets.
CREATE OR REPLACE FUNCTION weir.change_user(v_organization text, v_id text, v_role text, v_plan text, v_blocked boolean)
  RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  -- the plan so far
  before text;
BEGIN
  SELECT u.plan_id
    INTO before
    FROM users AS u
    WHERE u.organization_id = v_organization AND u.id = v_id
    FOR UPDATE;
  UPDATE users AS u SET role = v_role, plan_id = v_plan, blocked = v_blocked
    WHERE u.organization_id = v_organization AND u.id = v_id;
  IF before IS NULL OR before = v_plan THEN RETURN false; END IF;
  RETURN weir.fit_plan_budget(v_organization, v_id, v_plan, false);
END $$;
