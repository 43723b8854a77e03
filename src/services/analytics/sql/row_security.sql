-- Row security: what a role that reads by SQL sees. A policy asks for the row itself and for who logged in, nothing
-- else. The owner of the tables is not asked: it is the application.

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS organizations_readers ON organizations;
CREATE POLICY organizations_readers ON organizations FOR SELECT USING (weir.reader() = '*' OR id = weir.reader());

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS users_readers ON users;
CREATE POLICY users_readers ON users FOR SELECT USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS projects_readers ON projects;
CREATE POLICY projects_readers ON projects FOR SELECT USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE budgets ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS budgets_readers ON budgets;
CREATE POLICY budgets_readers ON budgets FOR SELECT USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE budget_periods ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS budget_periods_readers ON budget_periods;
CREATE POLICY budget_periods_readers ON budget_periods FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE llm_usage ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS llm_usage_readers ON llm_usage;
CREATE POLICY llm_usage_readers ON llm_usage FOR SELECT USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE usage_daily ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS usage_daily_readers ON usage_daily;
CREATE POLICY usage_daily_readers ON usage_daily FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE usage_daily_by_project ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS usage_daily_by_project_readers ON usage_daily_by_project;
CREATE POLICY usage_daily_by_project_readers ON usage_daily_by_project FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE usage_daily_by_user ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS usage_daily_by_user_readers ON usage_daily_by_user;
CREATE POLICY usage_daily_by_user_readers ON usage_daily_by_user FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader());

ALTER TABLE usage_quarter_hourly ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS usage_quarter_hourly_readers ON usage_quarter_hourly;
CREATE POLICY usage_quarter_hourly_readers ON usage_quarter_hourly FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader());

-- Prices: general ones, which have no organisation, are for every reader.
ALTER TABLE model_prices ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS model_prices_readers ON model_prices;
CREATE POLICY model_prices_readers ON model_prices FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader()
    OR organization_id IS NULL AND weir.reader() IS NOT NULL);

ALTER TABLE price_rates ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS price_rates_readers ON price_rates;
CREATE POLICY price_rates_readers ON price_rates FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader()
    OR organization_id IS NULL AND weir.reader() IS NOT NULL);

ALTER TABLE price_changes ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS price_changes_readers ON price_changes;
CREATE POLICY price_changes_readers ON price_changes FOR SELECT
  USING (weir.reader() = '*' OR organization_id = weir.reader()
    OR organization_id IS NULL AND weir.reader() IS NOT NULL);

-- For those who see all: what names organisations that have prices of their own, and figures of all of them.
ALTER TABLE price_change_parts ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS price_change_parts_readers ON price_change_parts;
CREATE POLICY price_change_parts_readers ON price_change_parts FOR SELECT USING (weir.reader() = '*');

ALTER TABLE usage_batches ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS usage_batches_readers ON usage_batches;
CREATE POLICY usage_batches_readers ON usage_batches FOR SELECT USING (weir.reader() = '*');

ALTER TABLE usage_daily_overall ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS usage_daily_overall_readers ON usage_daily_overall;
CREATE POLICY usage_daily_overall_readers ON usage_daily_overall FOR SELECT USING (weir.reader() = '*');

ALTER TABLE reconciliations ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS reconciliations_readers ON reconciliations;
CREATE POLICY reconciliations_readers ON reconciliations FOR SELECT USING (weir.reader() = '*');
