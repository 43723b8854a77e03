-- Books on period rows: adds what was spent, takes from "held" what was reserved for it, and says which part of the sum
-- is above the limit ("overage").
--
-- A provider may use more than was reserved. That excess is overage as far as it takes the period above its limit, so
-- that spent - overage + held never exceeds the limit. A refund takes back overage first.
--
-- Gives whether there are new alerts.
--
-- Locks: none of its own on period rows, which the caller has locked (weir.lock_periods); where a threshold is reached,
-- that of weir.make_alerts.
CREATE OR REPLACE FUNCTION weir.book(bookings weir.booking[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  -- the period rows that have reached a threshold, side by side
  near_organizations text[];
  near_budgets text[];
  near_dates date[];
BEGIN
  WITH booked AS (
    UPDATE budget_periods AS p SET
      spent = p.spent + d.spent,
      held = p.held - d.released,
      overage = CASE
        WHEN d.spent < 0 THEN
          -- The overage of before, but no more than was spent in all, and no more than is above the limit.
          least(
            p.overage,
            p.spent + d.spent,
            greatest(0, p.spent + d.spent + p.held - d.released - b.limit_amount))
        ELSE
          -- The excess, but no more than what goes above the limit and is not overage yet.
          p.overage
            + least(d.excess, greatest(0, p.spent + d.spent - p.overage + p.held - d.released - b.limit_amount))
      END,
      -- The current limits are stored with the period, as a record of what applied to it.
      limit_amount = b.limit_amount,
      soft_limit = b.soft_limit
      FROM unnest(bookings) AS d
      JOIN budgets AS b
        ON b.organization_id = d.organization_id AND b.id = d.budget_id
      WHERE p.organization_id = d.organization_id AND p.budget_id = d.budget_id AND p.starts_on = d.starts_on
      RETURNING
        p.organization_id, p.budget_id, p.starts_on,
        -- Whether the lowest threshold is reached: the soft limit, or the lowest percent of the limit.
        d.spent > 0
          AND p.spent >= least(
            b.soft_limit,
            b.limit_amount * (SELECT min(percent) FROM unnest(b.alert_at_percent) AS percent) / 100) AS is_near)
  SELECT array_agg(organization_id), array_agg(budget_id), array_agg(starts_on)
    INTO near_organizations, near_budgets, near_dates
    FROM booked
    WHERE is_near;
  -- Most bookings are far from every threshold.
  RETURN near_budgets IS NOT NULL AND weir.make_alerts(near_organizations, near_budgets, near_dates);
END $$;
