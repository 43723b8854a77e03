-- Gives rows in the default partition of llm_usage the partitions of their months. Rows that are older than
-- usage_retention.dropped_before stay: they are removed as soon as they are folded.
--
-- Gives the names of the partitions that it made.
--
-- Locks: the advisory lock of weir.ensure_usage_partitions; llm_usage and its default partition as readers do; then, if
-- there are rows to move, both alone, until the transaction ends. It waits at most 50 ms for each of them, because
-- everybody queues behind a request for the table.
--
-- It is one transaction behind an exclusive lock, so that everybody else reads and writes either before or after it. A
-- replay of a settlement waits for the lock, is routed to the new partition, and finds there what it wrote before.
-- The month with the most rows is not copied: the table that was the default partition becomes that month's partition,
-- and a new default partition begins. How long the lock is held depends therefore on reading the table twice and on
-- copying the rows of the other months.
--
-- A transaction that reads in one snapshot has to lock llm_usage before it takes the snapshot: rows of the other months
-- are copied, and to an older snapshot a copied row is in neither partition.
CREATE OR REPLACE FUNCTION weir.move_default_usage() RETURNS text[]
  LANGUAGE plpgsql VOLATILE SET lock_timeout = '50ms' AS $$
DECLARE
  -- First instants of the months that get a partition, the one with the most rows first.
  months timestamptz[];
  -- Rows: of the month that has the most, and those that stay.
  most bigint;
  staying bigint;
  month record;
  -- The month whose partition the table becomes; null: it stays the default partition.
  own record;
  -- What the table with the rows is called, and which of its rows do not belong there.
  old_table text := 'llm_usage_rest';
  elsewhere text;
  columns text;
  index_name text;
  made text[] := '{}';
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('weir.ensure_usage_partitions'));
  -- In the order in which everybody locks: the table, then its partition.
  LOCK TABLE ONLY llm_usage IN ACCESS SHARE MODE;

  -- 1. Which months have rows there, and how many.
  SELECT
      array_agg(g.month ORDER BY g.rows DESC, g.month) FILTER (WHERE g.moves),
      max(g.rows) FILTER (WHERE g.moves),
      coalesce(sum(g.rows) FILTER (WHERE NOT g.moves), 0)
    INTO months, most, staying
    FROM (
      SELECT
        m.first AT TIME ZONE 'UTC' AS month,
        m.rows,
        isfinite(m.first) AND (m.first + interval '1 month') AT TIME ZONE 'UTC' > r.dropped_before AS moves
      FROM (
        SELECT date_trunc('month', u.occurred_at AT TIME ZONE 'UTC') AS first, count(*) AS rows
        FROM llm_usage_rest AS u
        GROUP BY 1) AS m
      CROSS JOIN usage_retention AS r) AS g;
  IF months IS NULL THEN RETURN made; END IF;

  -- 2. The table is taken off. Unless more rows stay than its biggest month has, it becomes that month's partition.
  LOCK TABLE ONLY llm_usage, ONLY llm_usage_rest IN ACCESS EXCLUSIVE MODE;
  ALTER TABLE llm_usage DETACH PARTITION llm_usage_rest;
  elsewhere := format(
    'date_trunc(''month'', occurred_at AT TIME ZONE ''UTC'') AT TIME ZONE ''UTC'' = ANY (%L::timestamptz[])', months);
  IF most >= staying THEN
    SELECT * INTO own FROM weir.usage_month(months[1]);
    old_table := own.partition;
    elsewhere := format('occurred_at < %L OR occurred_at >= %L', own.from_at, own.to_at);
    EXECUTE format('ALTER TABLE llm_usage_rest RENAME TO %I', old_table);
    FOREACH index_name IN ARRAY ARRAY(
      SELECT c.relname::text
      FROM pg_index AS i
      JOIN pg_class AS c
        ON c.oid = i.indexrelid
      WHERE i.indrelid = to_regclass(old_table)
        AND c.relname LIKE 'llm\_usage\_rest\_%')
    LOOP
      EXECUTE format('ALTER INDEX %I RENAME TO %I', index_name, replace(index_name, 'llm_usage_rest', old_table));
    END LOOP;
    CREATE TABLE llm_usage_rest PARTITION OF llm_usage DEFAULT;
    made := ARRAY[old_table];
  END IF;

  -- 3. The other months get their partitions.
  FOR month IN
    SELECT m.*
    FROM unnest(months) AS f(first)
    CROSS JOIN LATERAL weir.usage_month(f.first) AS m
    WHERE m.partition <> old_table
    ORDER BY m.from_at
  LOOP
    EXECUTE format(
      'CREATE TABLE %I PARTITION OF llm_usage FOR VALUES FROM (%L) TO (%L)',
      month.partition, month.from_at, month.to_at);
    made := made || month.partition;
  END LOOP;

  -- 4. Their rows are moved there, and the table comes back. Generated columns are computed again.
  SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    INTO columns
    FROM pg_attribute AS a
    WHERE a.attrelid = 'llm_usage'::regclass
      AND a.attnum > 0
      AND NOT a.attisdropped
      AND a.attgenerated = '';
  EXECUTE format(
    'WITH moved AS (DELETE FROM %I WHERE %s RETURNING *) INSERT INTO llm_usage (%s) SELECT %s FROM moved',
    old_table, elsewhere, columns, columns);
  IF old_table = 'llm_usage_rest' THEN
    ALTER TABLE llm_usage ATTACH PARTITION llm_usage_rest DEFAULT;
  ELSE
    EXECUTE format(
      'ALTER TABLE llm_usage ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', old_table, own.from_at, own.to_at);
  END IF;
  RETURN made;
END $$;
