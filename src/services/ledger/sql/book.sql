-- Books on period rows, locked in their order. What a provider used above the reservation is overage, as far as it exceeds the limit: so that
-- spent - overage + held never does. A refund takes back overage first. The limits of the moment are kept in the period's
-- row. Gives whether there are new alerts.
CREATE OR REPLACE FUNCTION weir.book(bookings weir.booking[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF bookings IS NULL THEN RETURN false; END IF;
  PERFORM FROM unnest(bookings) AS d
    JOIN budget_periods AS p ON p.organization_id = d.organization_id AND p.budget_id = d.budget_id AND p.starts_on = d.starts_on
    ORDER BY p.budget_id, p.starts_on FOR NO KEY UPDATE OF p;
  UPDATE budget_periods AS p SET
      spent = p.spent + d.spent,
      held = p.held - d.released,
      overage = CASE
        WHEN d.spent < 0 THEN least(p.overage, p.spent + d.spent, greatest(0, p.spent + d.spent + p.held - d.released - b.limit_amount))
        ELSE p.overage + least(d.excess, greatest(0, p.spent + d.spent - p.overage + p.held - d.released - b.limit_amount)) END,
      limit_amount = b.limit_amount,
      soft_limit = b.soft_limit
    FROM unnest(bookings) AS d JOIN budgets AS b ON b.organization_id = d.organization_id AND b.id = d.budget_id
    WHERE p.organization_id = d.organization_id AND p.budget_id = d.budget_id AND p.starts_on = d.starts_on;
  IF NOT EXISTS (SELECT FROM unnest(bookings) AS d WHERE d.spent > 0) THEN RETURN false; END IF;
  RETURN weir.make_alerts(array_agg(d.organization_id), array_agg(d.budget_id), array_agg(d.starts_on)) FROM unnest(bookings) AS d WHERE d.spent > 0;
END $$;
