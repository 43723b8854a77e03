-- Books on period rows, which weir.lock_periods has locked. What a provider used above the reservation is overage, as
-- far as it exceeds the limit: so that spent - overage + held never does. A refund takes back overage first. The limits
-- of the moment are kept in the period's row. Gives whether there are new alerts.
CREATE OR REPLACE FUNCTION weir.book(bookings weir.booking[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
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
          least(p.overage, p.spent + d.spent, greatest(0, p.spent + d.spent + p.held - d.released - b.limit_amount))
        ELSE
          p.overage
            + least(d.excess, greatest(0, p.spent + d.spent - p.overage + p.held - d.released - b.limit_amount))
      END,
      limit_amount = b.limit_amount,
      soft_limit = b.soft_limit
      FROM unnest(bookings) AS d JOIN budgets AS b ON b.organization_id = d.organization_id AND b.id = d.budget_id
      WHERE p.organization_id = d.organization_id AND p.budget_id = d.budget_id AND p.starts_on = d.starts_on
      RETURNING p.organization_id, p.budget_id, p.starts_on, d.spent > 0 AND p.spent >= least(b.soft_limit,
        b.limit_amount * (SELECT min(percent) FROM unnest(b.alert_at_percent) AS percent) / 100) AS is_near)
  SELECT array_agg(organization_id), array_agg(budget_id), array_agg(starts_on)
    INTO near_organizations, near_budgets, near_dates
    FROM booked WHERE is_near;
  -- Most bookings are far from every threshold.
  RETURN near_budgets IS NOT NULL AND weir.make_alerts(near_organizations, near_budgets, near_dates);
END $$;
