CREATE OR REPLACE VIEW analytics.budgets WITH (security_invoker = true) AS
  SELECT b.id AS budget_id, b.organization_id, o.name AS organization, b.scope, b.subject_id,
    CASE b.scope WHEN 'ORGANIZATION' THEN o.name WHEN 'PROJECT' THEN p.name WHEN 'USER' THEN w.name END AS subject,
    b.period, b.time_zone, b.limit_amount, b.soft_limit,
    coalesce(t.spent, 0) AS spent,
    coalesce(t.held, 0) AS held,
    greatest(b.limit_amount - coalesce(t.spent, 0) - coalesce(t.held, 0), 0) AS remaining,
    coalesce(t.overage, 0) AS overage,
    CASE WHEN b.limit_amount = 0 THEN 100
      ELSE round(100 * (coalesce(t.spent, 0) + coalesce(t.held, 0)) / b.limit_amount, 1) END AS percent,
    coalesce(t.starts_at, weir.local_midnight(d.day, b.time_zone)) AS period_starts_at,
    coalesce(t.ends_at, weir.local_midnight(weir.period_end(b.period, d.day), b.time_zone)) AS resets_at,
    b.plan_id
  FROM budgets AS b
  CROSS JOIN LATERAL (SELECT weir.period_start(b.period, weir.now() AT TIME ZONE b.time_zone) AS day) AS d
  LEFT JOIN budget_periods AS t
    ON t.organization_id = b.organization_id AND t.budget_id = b.id AND t.starts_on = d.day
  LEFT JOIN organizations AS o ON o.id = b.organization_id
  LEFT JOIN projects AS p ON p.organization_id = b.organization_id AND p.id = b.subject_id
  LEFT JOIN users AS w ON w.organization_id = b.organization_id AND w.id = b.subject_id;

COMMENT ON VIEW analytics.budgets IS 'Every budget with its current period.';
COMMENT ON COLUMN analytics.budgets.budget_id IS 'Id of the budget.';
COMMENT ON COLUMN analytics.budgets.organization_id IS 'Organisation that it belongs to.';
COMMENT ON COLUMN analytics.budgets.organization IS 'Its name.';
COMMENT ON COLUMN analytics.budgets.scope IS 'What it limits: ORGANIZATION, PROJECT, USER or API_TOKEN.';
COMMENT ON COLUMN analytics.budgets.subject_id IS 'Which of these.';
COMMENT ON COLUMN analytics.budgets.subject IS 'Its name; NULL for API tokens.';
COMMENT ON COLUMN analytics.budgets.period IS 'DAY, WEEK (from Monday) or MONTH, in its time zone.';
COMMENT ON COLUMN analytics.budgets.time_zone IS 'Time zone of its periods, as an IANA name.';
COMMENT ON COLUMN analytics.budgets.limit_amount IS 'US dollars that may be spent in a period.';
COMMENT ON COLUMN analytics.budgets.soft_limit IS
  'US dollars above which an alert is made and nothing refused; NULL: none.';
COMMENT ON COLUMN analytics.budgets.spent IS 'US dollars of this period, as booked when the calls ended.';
COMMENT ON COLUMN analytics.budgets.held IS 'US dollars held for calls that run now.';
COMMENT ON COLUMN analytics.budgets.remaining IS 'US dollars left, at least 0.';
COMMENT ON COLUMN analytics.budgets.overage IS
  'Part of spent that was booked above the limit, where a provider produced more than it was allowed.';
COMMENT ON COLUMN analytics.budgets.percent IS
  'How full it is: spent and held in percent of the limit, to one decimal; 100 where the limit is 0.';
COMMENT ON COLUMN analytics.budgets.period_starts_at IS 'Beginning of this period.';
COMMENT ON COLUMN analytics.budgets.resets_at IS 'End of this period: then the next one begins with nothing spent.';
COMMENT ON COLUMN analytics.budgets.plan_id IS 'Plan that made it for its user; NULL: somebody set it.';
