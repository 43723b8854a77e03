-- Folds settled batches into the rollup tables, oldest first, until so many rows are done, and removes them from the
-- queue: a batch is in usage_batches or in the rollup tables, and never in both. One folder at a time.
-- Gives what was folded; nothing where another one is at it.
CREATE OR REPLACE FUNCTION weir.fold(max_rows integer, OUT batches integer, OUT rows bigint)
  LANGUAGE plpgsql VOLATILE
  -- Statistics that are older than the rows would ask for full scans of what is found by a key.
  SET enable_seqscan = off SET work_mem = '64MB' AS $$
DECLARE
  ids bigint[];
  first_at timestamptz;
  last_at timestamptz;
BEGIN
  batches := 0;
  rows := 0;
  IF NOT pg_try_advisory_xact_lock(5, 0) THEN RETURN; END IF;

  -- A settlement has one row for each of its organisations, all with its id and its time: they are folded together.
  SELECT array_agg(b.id), min(b.from_at), max(b.to_at), coalesce(sum(b.rows), 0), coalesce(sum(b.parts), 0)
    INTO ids, first_at, last_at, rows, batches
    FROM (
      SELECT s.*, sum(s.rows) OVER (ORDER BY s.settled_at, s.id) - s.rows AS before
      FROM (
        SELECT q.id, q.settled_at, count(*) AS parts, sum(q.rows) AS rows,
          min(q.from_at) AS from_at, max(q.to_at) AS to_at
        FROM usage_batches AS q
        GROUP BY q.settled_at, q.id
        -- Each has a row at least: what is left out here is too much anyway, and a long queue is not read whole.
        ORDER BY q.settled_at, q.id LIMIT max_rows) AS s) AS b
    WHERE b.before < max_rows;
  IF batches = 0 THEN RETURN; END IF;

  DELETE FROM usage_batches WHERE id = ANY (ids);
  EXECUTE weir.cube_statement(
    'SELECT * FROM weir.row_entries WHERE batch_id = ANY ($1) AND occurred_at >= $2 AND occurred_at <= $3')
    USING ids, first_at, last_at;
END $$;
