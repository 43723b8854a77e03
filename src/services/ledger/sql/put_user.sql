-- Makes a user, with the budget of the plan. Gives false, with nothing done, where another user of the organisation has
-- the external id.
--
-- Locks: the row of the plan (shared, weir.fit_plan_budget). Nobody else knows the new user, so that its budget is made
-- without weir.lock_budgets.
CREATE OR REPLACE FUNCTION weir.put_user(
    v_organization text, v_id text, v_name text, v_email text, v_external_id text, v_role text, v_plan text)
  RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO users (organization_id, id, name, email, external_id, role, plan_id)
    VALUES (v_organization, v_id, v_name, v_email, v_external_id, v_role, v_plan)
    ON CONFLICT (organization_id, external_id) WHERE external_id IS NOT NULL DO NOTHING;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM weir.fit_plan_budget(v_organization, v_id, v_plan, true);
  RETURN true;
END $$;
