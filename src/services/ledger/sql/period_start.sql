-- Gives the local date on which the period of a local time began. Weeks begin on Monday (ISO 8601). Takes no locks.
CREATE OR REPLACE FUNCTION weir.period_start(period text, local timestamp) RETURNS date
  LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE period
    WHEN 'DAY' THEN local::date
    WHEN 'WEEK' THEN date_trunc('week', local)::date
    ELSE date_trunc('month', local)::date
  END
$$;
