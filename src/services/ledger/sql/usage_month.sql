-- Gives the month (UTC) of a time, as a partition of llm_usage: its name, its first instant, and the first one behind
-- it. Takes no locks.
CREATE OR REPLACE FUNCTION weir.usage_month(
    at timestamptz,
    OUT partition text, OUT from_at timestamptz, OUT to_at timestamptz)
  LANGUAGE sql STABLE AS $$
  SELECT
    'llm_usage_' || to_char(m.first, 'YYYY_MM'),
    m.first AT TIME ZONE 'UTC',
    (m.first + interval '1 month') AT TIME ZONE 'UTC'
  FROM (SELECT date_trunc('month', at AT TIME ZONE 'UTC') AS first) AS m
$$;
