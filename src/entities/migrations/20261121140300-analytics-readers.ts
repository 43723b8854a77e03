import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who may read with SQL: a database role is mapped to one organisation or to all, and row security shows it no more than that. */
export class AnalyticsReaders20261121140300 implements MigrationInterface {
  name = 'AnalyticsReaders20261121140300';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(READERS);
    await runner.query(Object.entries(POLICIES).map(([table, rule]) => policy(table, rule)).join('\n'));
    await runner.query(ALERTS);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const READERS = `
  CREATE SCHEMA analytics;
  COMMENT ON SCHEMA analytics IS 'What people with SQL read: docs/analytics.md says which view is for what.';

  -- Rows are added and removed, never changed: weir.reader() counts on it.
  CREATE TABLE sql_roles (
    -- of the role at the database server
    name text NOT NULL,
    -- null: reads everything, as operators do
    organization_id text,
    created_at timestamptz NOT NULL DEFAULT weir.now(),
    CONSTRAINT sql_roles_pkey PRIMARY KEY (name),
    CONSTRAINT sql_roles_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id)
  );

  -- What the session may read: an organisation's id, '*' for everything, null for nothing. It asks who logged in, which no SET changes. Whom row security
  -- does not concern reads everything: the owner of the tables (this function's too), superusers. It is called immutable although it reads a table: a
  -- session is one user's to its end and a row of sql_roles never changes, and so the planner knows the answer, and indexes are used by it.
  -- A plan that a session keeps still knows it when the row is gone: drop-sql-role takes the rights first, which are asked at each execution.
  CREATE FUNCTION weir.reader() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN pg_has_role(session_user, current_user, 'USAGE') OR (SELECT r.rolbypassrls FROM pg_roles AS r WHERE r.rolname = session_user) THEN '*'
      ELSE (SELECT coalesce(s.organization_id, '*') FROM public.sql_roles AS s WHERE s.name = session_user) END;

  -- The role whose members read; its name is this installation's, since roles belong to the whole server.
  CREATE FUNCTION weir.reader_group() RETURNS text LANGUAGE sql STABLE RETURN (SELECT 'weir_readers_' || i.id FROM public.installation AS i);
`;

const OWN = `weir.reader() = '*' OR organization_id = weir.reader()`;
const GENERAL = `weir.reader() = '*' OR organization_id = weir.reader() OR organization_id IS NULL AND weir.reader() IS NOT NULL`;
// What belongs to a row that has a policy is seen with it.
const ofPrice = (number: string): string => `weir.reader() = '*' OR EXISTS (SELECT FROM model_prices AS m WHERE m.number = ${number})`;

const POLICIES: Record<string, string> = {
  organizations: `weir.reader() = '*' OR id = weir.reader()`,
  users: OWN,
  projects: OWN,
  budgets: OWN,
  budget_periods: `weir.reader() = '*' OR EXISTS (SELECT FROM budgets AS b WHERE b.id = budget_id)`,
  llm_usage: OWN,
  usage_daily: OWN,
  usage_daily_by_project: OWN,
  usage_daily_by_user: OWN,
  usage_quarter_hourly: OWN,
  // Without the organisation: for those who see them all.
  usage_daily_overall: `weir.reader() = '*'`,
  usage_batches: `weir.reader() = '*'`,
  model_prices: GENERAL,
  price_rates: ofPrice('price_rates.number'),
  price_changes: ofPrice('price_changes.book'),
  // Names organisations that have prices of their own.
  price_change_parts: `weir.reader() = '*'`,
};

/** The owner of the tables is not asked: it is the application. */
const policy = (table: string, rule: string): string => `
  ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY;
  CREATE POLICY ${table}_readers ON ${table} FOR SELECT USING (${rule});`;

// Only the last statement of the loop is another one than before.
const ALERTS = `
  -- Makes the alerts that are due on period rows, each once. The soft limit is a threshold like the others: its percent is its part of the limit.
  -- Everybody who may connect can listen: the notification names no budget, and nobody needs that it does.
  CREATE OR REPLACE FUNCTION weir.make_alerts(v_budgets text[], v_dates date[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    due record;
    last_at timestamptz;
  BEGIN
    FOR due IN
      SELECT b.id AS budget_id, b.period, p.starts_on, t.percent, p.spent, b.limit_amount
      FROM unnest(v_budgets, v_dates) AS r(id, day)
      JOIN budgets AS b ON b.id = r.id
      JOIN budget_periods AS p ON p.budget_id = r.id AND p.starts_on = r.day
      CROSS JOIN LATERAL (
        SELECT percent, b.limit_amount * percent / 100 AS amount FROM unnest(b.alert_at_percent) AS percent
        UNION SELECT CASE WHEN b.limit_amount = 0 THEN 100 ELSE round(b.soft_limit * 100 / b.limit_amount)::int END, b.soft_limit WHERE b.soft_limit IS NOT NULL) AS t
      WHERE p.spent > 0 AND p.spent >= t.amount
        AND NOT EXISTS (SELECT FROM budget_alerts AS a WHERE a.budget_id = p.budget_id AND a.period = b.period AND a.starts_on = p.starts_on AND a.percent = t.percent)
      ORDER BY b.id, p.starts_on, t.percent
    LOOP
      -- One writer at a time until its commit: times are then in the order in which alerts become visible, and "after" misses none.
      PERFORM pg_advisory_xact_lock(3, 0);
      SELECT max(at) INTO last_at FROM budget_alerts;
      INSERT INTO budget_alerts (id, budget_id, period, starts_on, percent, spent, limit_amount, at)
        VALUES (weir.new_id('alr'), due.budget_id, due.period, due.starts_on, due.percent, due.spent, due.limit_amount,
          greatest(date_trunc('milliseconds', weir.now()), last_at + interval '1 millisecond'))
        ON CONFLICT (budget_id, period, starts_on, percent) DO NOTHING;
      IF FOUND THEN PERFORM pg_notify('weir_budget_alerts', ''); END IF;
    END LOOP;
  END $$;
`;
