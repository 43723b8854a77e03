-- Gives the first local date of the next period. Takes no locks.
CREATE OR REPLACE FUNCTION weir.period_end(period text, day date) RETURNS date
  LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE period
    WHEN 'DAY' THEN day + 1
    WHEN 'WEEK' THEN day + 7
    ELSE (day + interval '1 month')::date
  END
$$;
