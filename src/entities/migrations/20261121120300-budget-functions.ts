import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Budgets that begin in the middle: filled in with what is spent and held. And the budgets that plans make for their users. */
export class BudgetFunctions20261121120300 implements MigrationInterface {
  name = 'BudgetFunctions20261121120300';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(FILL);
    await runner.query(PLANS);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const FILL = `
  -- Makes the current period rows of budgets anew, from the usage rows and the calls in flight of their subjects. The caller holds weir.lock_budgets.
  CREATE FUNCTION weir.fill_budgets(v_budgets text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    -- When the transaction began, and the seconds that it has waited for the lock since: that may be over the end of a period.
    v_at timestamptz := weir.now() + make_interval(secs => floor(extract(epoch FROM clock_timestamp() - transaction_timestamp())));
  BEGIN
    DELETE FROM budget_periods AS p WHERE p.budget_id = ANY (v_budgets);
    UPDATE calls_in_flight AS f SET (budget_ids, budget_dates) =
        (SELECT coalesce(array_agg(t.id), '{}'), coalesce(array_agg(t.day), '{}') FROM unnest(f.budget_ids, f.budget_dates) AS t(id, day) WHERE t.id <> ALL (v_budgets))
      WHERE f.budget_ids && v_budgets;
    INSERT INTO budget_periods (budget_id, starts_on, starts_at, ends_at, spent)
      WITH kinds AS MATERIALIZED (
        SELECT k.period, k.time_zone, e.day, weir.local_midnight(e.day, k.time_zone) AS starts_at, weir.local_midnight(weir.period_end(k.period, e.day), k.time_zone) AS ends_at
        FROM (SELECT DISTINCT b.period, b.time_zone FROM budgets AS b WHERE b.id = ANY (v_budgets)) AS k
        CROSS JOIN LATERAL (SELECT weir.period_start(k.period, v_at AT TIME ZONE k.time_zone) AS day) AS e)
      SELECT b.id, d.day, d.starts_at, d.ends_at, coalesce(s.spent, 0)
      FROM budgets AS b
      JOIN kinds AS d ON d.period = b.period AND d.time_zone = b.time_zone
      -- A branch per scope: people are found by their own index, the rest by the organisation's.
      CROSS JOIN LATERAL (
        SELECT sum(t.cost) AS spent FROM (
          SELECT u.cost FROM llm_usage AS u WHERE b.scope = 'USER' AND u.user_id = b.subject_id AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
          UNION ALL SELECT u.cost FROM llm_usage AS u WHERE b.scope = 'ORGANIZATION' AND u.organization_id = b.subject_id AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
          UNION ALL SELECT u.cost FROM llm_usage AS u WHERE b.scope = 'PROJECT' AND u.organization_id = b.organization_id AND u.project_id = b.subject_id AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
          UNION ALL SELECT u.cost FROM llm_usage AS u WHERE b.scope = 'API_TOKEN' AND u.organization_id = b.organization_id AND u.token_id = b.subject_id AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
        ) AS t) AS s
      WHERE b.id = ANY (v_budgets);
    UPDATE calls_in_flight AS f SET budget_ids = f.budget_ids || a.ids, budget_dates = f.budget_dates || a.days
      FROM (SELECT g.id, array_agg(b.id ORDER BY b.id) AS ids, array_agg(p.starts_on ORDER BY b.id) AS days
            FROM calls_in_flight AS g CROSS JOIN LATERAL unnest(ARRAY[g.organization_id, g.project_id, g.user_id, g.token_id]) AS t(subject_id)
            JOIN budgets AS b ON b.subject_id = t.subject_id JOIN budget_periods AS p ON p.budget_id = b.id AND g.occurred_at >= p.starts_at AND g.occurred_at < p.ends_at
            WHERE b.id = ANY (v_budgets) GROUP BY g.id) AS a
      WHERE f.id = a.id;
    UPDATE budget_periods AS p SET held = h.held
      FROM (SELECT t.id, sum(coalesce(f.hold, 0)) AS held FROM calls_in_flight AS f CROSS JOIN LATERAL unnest(f.budget_ids) AS t(id) WHERE t.id = ANY (v_budgets) GROUP BY t.id) AS h
      WHERE p.budget_id = h.id;
    PERFORM weir.check_alerts(v_budgets);
  END $$;

  -- After an edit: alerts that are due now.
  CREATE FUNCTION weir.check_alerts(v_budgets text[]) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT weir.make_alerts(array_agg(p.budget_id), array_agg(p.starts_on)) FROM budget_periods AS p
    WHERE p.budget_id = ANY (v_budgets) AND p.starts_at <= weir.now() AND p.ends_at > weir.now();
  $$;
`;

const PLANS = `
  -- A plan's monthly budget is a budget of each of its users. Rows of one person: what the plan says now.
  CREATE FUNCTION weir.keep_plan_budget() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    monthly numeric;
    made text;
  BEGIN
    IF TG_OP = 'UPDATE' AND NEW.plan_id = OLD.plan_id AND NEW.deleted_at IS NOT DISTINCT FROM OLD.deleted_at THEN RETURN NULL; END IF;
    -- Plans before budgets, as everywhere: who edits this plan at the same time goes first, or comes after, and then finds this user.
    SELECT p.monthly_budget INTO monthly FROM plans AS p WHERE p.id = NEW.plan_id FOR SHARE;
    IF TG_OP = 'UPDATE' THEN PERFORM weir.lock_budgets(NEW.organization_id); END IF;
    IF NEW.deleted_at IS NOT NULL THEN
      DELETE FROM budgets AS b WHERE b.subject_id = NEW.id OR b.subject_id IN (SELECT t.id FROM api_tokens AS t WHERE t.user_id = NEW.id);
    ELSIF monthly IS NULL THEN
      DELETE FROM budgets AS b WHERE b.subject_id = NEW.id AND b.plan_id IS NOT NULL;
    ELSE
      UPDATE budgets AS b SET plan_id = NEW.plan_id, limit_amount = monthly, updated_at = weir.now() WHERE b.subject_id = NEW.id AND b.plan_id IS NOT NULL RETURNING b.id INTO made;
      IF made IS NOT NULL THEN
        PERFORM weir.check_alerts(ARRAY[made]);
      ELSE
        INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount, plan_id, by_operator)
          VALUES (weir.new_id('bud'), NEW.organization_id, 'USER', NEW.id, 'MONTH', monthly, NEW.plan_id, true) RETURNING id INTO made;
        -- A new person has spent nothing.
        IF TG_OP = 'UPDATE' THEN PERFORM weir.fill_budgets(ARRAY[made]); END IF;
      END IF;
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER users_plan_budget AFTER INSERT OR UPDATE OF plan_id, deleted_at ON users FOR EACH ROW EXECUTE FUNCTION weir.keep_plan_budget();

  CREATE FUNCTION weir.keep_plan_budgets() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    made text[];
  BEGIN
    IF NEW.monthly_budget IS NOT DISTINCT FROM OLD.monthly_budget THEN RETURN NULL; END IF;
    -- Nobody sees the new ones before the end of this transaction: they are made before everybody has to wait.
    IF OLD.monthly_budget IS NULL THEN
      WITH added AS (
        INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount, plan_id, by_operator)
          SELECT weir.new_id('bud'), u.organization_id, 'USER', u.id, 'MONTH', NEW.monthly_budget, NEW.id, true FROM users AS u WHERE u.plan_id = NEW.id AND u.deleted_at IS NULL RETURNING id)
      SELECT array_agg(id) INTO made FROM added;
    END IF;
    -- Nobody may be making a period row of a budget that goes, or comparing costs with a limit that is another one by then.
    PERFORM pg_advisory_xact_lock(2, 0);
    IF NEW.monthly_budget IS NULL THEN
      DELETE FROM budgets AS b WHERE b.plan_id = NEW.id;
    ELSIF OLD.monthly_budget IS NOT NULL THEN
      UPDATE budgets AS b SET limit_amount = NEW.monthly_budget, updated_at = weir.now() WHERE b.plan_id = NEW.id;
      PERFORM weir.check_alerts(array_agg(b.id)) FROM budgets AS b WHERE b.plan_id = NEW.id;
    ELSE
      IF made IS NOT NULL THEN PERFORM weir.fill_budgets(made); END IF;
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER plans_monthly_budget AFTER UPDATE OF monthly_budget ON plans FOR EACH ROW EXECUTE FUNCTION weir.keep_plan_budgets();

  -- Who has a plan with a budget already. Nothing of the data path runs before the migrations are through, so no lock is needed.
  INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount, plan_id, by_operator)
    SELECT weir.new_id('bud'), u.organization_id, 'USER', u.id, 'MONTH', p.monthly_budget, p.id, true FROM users AS u JOIN plans AS p ON p.id = u.plan_id WHERE p.monthly_budget IS NOT NULL AND u.deleted_at IS NULL;
  SELECT weir.fill_budgets(array_agg(id)) FROM budgets HAVING count(*) > 0;
`;
