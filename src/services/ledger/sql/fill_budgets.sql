-- Makes the current period rows of budgets of one organisation anew, from the usage rows and the calls in flight of
-- their subjects. A budget that is made later begins with what it would have been charged: prices may have changed
-- since, and reversals stand at the new ones ("budget_cost" says what they gave back).
--
-- Gives whether there are new alerts.
--
-- Locks: calls in flight, period rows and alerts (weir.make_alerts), by writing them. The caller holds
-- weir.lock_budgets, or the advisory lock (2, 0) alone: nothing of the organisation is admitted or settled meanwhile.
CREATE OR REPLACE FUNCTION weir.fill_budgets(v_organization text, v_budgets text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  -- When the transaction began, and the seconds that it has waited for the lock since: that may be over the end of a
  -- period.
  v_at timestamptz := weir.now()
    + make_interval(secs => floor(extract(epoch FROM clock_timestamp() - transaction_timestamp())));
BEGIN
  -- 1. The old period rows go, and calls in flight are reserved on them no longer.
  DELETE FROM budget_periods AS p
    WHERE p.organization_id = v_organization AND p.budget_id = ANY (v_budgets);
  UPDATE calls_in_flight AS f SET
      (budget_ids, budget_dates) = (
        SELECT coalesce(array_agg(t.id), '{}'), coalesce(array_agg(t.day), '{}')
        FROM unnest(f.budget_ids, f.budget_dates) AS t(id, day)
        WHERE t.id <> ALL (v_budgets))
    WHERE f.organization_id = v_organization AND f.budget_ids && v_budgets;

  -- 2. The new ones, with what was spent.
  INSERT INTO budget_periods (
      organization_id, budget_id, starts_on, starts_at, ends_at,
      spent, limit_amount, soft_limit)
    -- The current period, once for all budgets with the same period and time zone.
    WITH kinds AS MATERIALIZED (
      SELECT
        k.period, k.time_zone, e.day,
        weir.local_midnight(e.day, k.time_zone) AS starts_at,
        weir.local_midnight(weir.period_end(k.period, e.day), k.time_zone) AS ends_at
      FROM (
        SELECT DISTINCT b.period, b.time_zone
        FROM budgets AS b
        WHERE b.organization_id = v_organization AND b.id = ANY (v_budgets)) AS k
      CROSS JOIN LATERAL (
        SELECT weir.period_start(k.period, v_at AT TIME ZONE k.time_zone) AS day) AS e)
    SELECT
      b.organization_id, b.id, d.day, d.starts_at, d.ends_at,
      coalesce(s.spent, 0), b.limit_amount, b.soft_limit
    FROM budgets AS b
    JOIN kinds AS d
      ON d.period = b.period AND d.time_zone = b.time_zone
    -- A branch per scope: people are found by their own index, the rest by the organisation's.
    CROSS JOIN LATERAL (
      SELECT sum(t.cost) AS spent
      FROM (
        SELECT coalesce(u.budget_cost, u.cost) AS cost
        FROM llm_usage AS u
        WHERE b.scope = 'USER'
          AND u.organization_id = v_organization AND u.user_id = b.subject_id
          AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
        UNION ALL
        SELECT coalesce(u.budget_cost, u.cost) AS cost
        FROM llm_usage AS u
        WHERE b.scope = 'ORGANIZATION'
          AND u.organization_id = v_organization
          AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
        UNION ALL
        SELECT coalesce(u.budget_cost, u.cost) AS cost
        FROM llm_usage AS u
        WHERE b.scope = 'PROJECT'
          AND u.organization_id = v_organization AND u.project_id = b.subject_id
          AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
        UNION ALL
        SELECT coalesce(u.budget_cost, u.cost) AS cost
        FROM llm_usage AS u
        WHERE b.scope = 'API_TOKEN'
          AND u.organization_id = v_organization AND u.token_id = b.subject_id
          AND u.occurred_at >= d.starts_at AND u.occurred_at < d.ends_at
      ) AS t) AS s
    WHERE b.organization_id = v_organization AND b.id = ANY (v_budgets);

  -- 3. Calls in flight are reserved on the new rows, each on those that cover its time; then "held" is their sum.
  UPDATE calls_in_flight AS f SET
      budget_ids = f.budget_ids || a.ids,
      budget_dates = f.budget_dates || a.days
    FROM (
      SELECT g.id, array_agg(b.id ORDER BY b.id) AS ids, array_agg(p.starts_on ORDER BY b.id) AS days
      FROM calls_in_flight AS g
      CROSS JOIN LATERAL unnest(ARRAY[g.organization_id, g.project_id, g.user_id, g.token_id]) AS t(subject_id)
      JOIN budgets AS b
        ON b.organization_id = v_organization AND b.subject_id = t.subject_id
      JOIN budget_periods AS p
        ON p.organization_id = v_organization AND p.budget_id = b.id
        AND g.occurred_at >= p.starts_at AND g.occurred_at < p.ends_at
      WHERE g.organization_id = v_organization AND b.id = ANY (v_budgets)
      GROUP BY g.id) AS a
    WHERE f.organization_id = v_organization AND f.id = a.id;
  UPDATE budget_periods AS p SET held = h.held
    FROM (
      SELECT t.id, sum(coalesce(f.hold, 0)) AS held
      FROM calls_in_flight AS f
      CROSS JOIN LATERAL unnest(f.budget_ids) AS t(id)
      WHERE f.organization_id = v_organization AND t.id = ANY (v_budgets)
      GROUP BY t.id) AS h
    WHERE p.organization_id = v_organization AND p.budget_id = h.id;

  RETURN weir.check_alerts(v_organization, v_budgets);
END $$;
