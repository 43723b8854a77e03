-- Gives the first moment of a local date. Where clocks go back over midnight the date begins twice, and Postgres means
-- the second time (Havana, 2026-11-01); where they go forward over it, the date begins with its first existing hour.
-- Takes no locks.
CREATE OR REPLACE FUNCTION weir.local_midnight(day date, zone text) RETURNS timestamptz
  LANGUAGE sql STABLE AS $$
  -- The earliest of these moments at which it is this date there.
  SELECT min(t)
  FROM (
    SELECT (day::timestamp AT TIME ZONE zone) - back AS t
    FROM unnest(ARRAY[interval '0', '30 minutes', '1 hour', '2 hours']) AS back) AS tries
  WHERE (t AT TIME ZONE zone)::date >= day
$$;
