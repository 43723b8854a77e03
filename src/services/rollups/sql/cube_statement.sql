-- The text of a statement that adds entries (a query like weir.row_entries) to all rollup tables. weir.fold and
-- weir.fold_price_change run it: what the rollup tables are made of is said here and nowhere else. Each has a row for
-- each set of its keys, a cell, and of every measure the sum of the cell's entries.
CREATE OR REPLACE FUNCTION weir.cube_statement(entries text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  WITH measures AS (
    SELECT
      string_agg(m.name, ', ') AS names,
      -- A sum of integers is a bigint; one of bigints would be numeric, and take three times as long.
      string_agg(format(CASE WHEN m.is_numeric THEN 'sum(%s)' ELSE 'sum(%s::integer)' END, m.name), ', ') AS sums,
      string_agg(format('%1$s = cell.%1$s + excluded.%1$s', m.name), ', ') AS added
    FROM (
      VALUES
        ('calls', false), ('failed_calls', false),
        ('prompt_tokens', false), ('cache_read_tokens', false), ('cache_write_tokens', false),
        ('completion_tokens', false), ('reasoning_tokens', false),
        ('cost', true), ('priced_calls', false), ('unpriced_calls', false),
        ('latency_count', false), ('latency_ms', false), ('latency_histogram', true),
        ('first_token_count', false), ('first_token_ms', false), ('first_token_histogram', true)
    ) AS m (name, is_numeric))
  SELECT 'WITH entries AS MATERIALIZED (SELECT e.*, e.quarter AS at FROM (' || entries || ') AS e), '
    || string_agg(
      -- Sorted by the keys, so that two who add to one table at a time do not wait for each other in a circle.
      format(
        '%1$s_cells AS (
          INSERT INTO %1$s AS cell (%2$s, %4$s)
          SELECT %2$s, %5$s FROM entries WHERE %3$s GROUP BY %2$s ORDER BY %2$s
          ON CONFLICT (%2$s) DO UPDATE SET %6$s)',
        cube.name, cube.keys, cube.which, measures.names, measures.sums, measures.added),
      ', ')
    || ' SELECT'
  FROM (
    VALUES
      ('usage_daily', 'organization_id, day, model, provider, upstream, scenario, status, entry_at', 'true'),
      ('usage_daily_by_project', 'organization_id, day, project_id, model, entry_at', 'true'),
      ('usage_daily_by_user', 'organization_id, day, user_id, model, entry_at', 'true'),
      ('usage_daily_overall', 'day, model, provider, entry_at', 'true'),
      -- The last 60 days are kept.
      ('usage_quarter_hourly', 'organization_id, at, model, entry_at',
        $where$at >= date_trunc('day', weir.now(), 'UTC') - interval '60 days'$where$)
  ) AS cube (name, keys, which)
  CROSS JOIN measures
$$;
