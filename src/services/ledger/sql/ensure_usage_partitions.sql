-- Makes the monthly partitions (UTC) of llm_usage from the current month to "months_ahead" later. Two kinds of months
-- are left alone: those that are there, and those of which rows are in the default partition (weir.move_default_usage).
-- Until then their calls are written to the default partition too, so that a server may start.
--
-- Gives how many it made.
--
-- Locks: an advisory lock, which keeps others from making partitions; then, where a month is missing, llm_usage alone,
-- until the transaction ends. It waits at most 50 ms for each of them: everybody who reads or settles queues behind a
-- request for the table.
CREATE OR REPLACE FUNCTION weir.ensure_usage_partitions(months_ahead integer) RETURNS integer
  LANGUAGE plpgsql VOLATILE SET lock_timeout = '50ms' AS $$
DECLARE
  first timestamp := date_trunc('month', weir.now() AT TIME ZONE 'UTC');
  month record;
  made integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('weir.ensure_usage_partitions'));
  FOR step IN 0..months_ahead LOOP
    SELECT * INTO month FROM weir.usage_month((first + make_interval(months => step)) AT TIME ZONE 'UTC');
    CONTINUE WHEN to_regclass(month.partition) IS NOT NULL;
    -- Without a partition of its own, the month's rows can only be in the default one.
    CONTINUE WHEN EXISTS (
      SELECT FROM llm_usage AS u
      WHERE u.occurred_at >= month.from_at AND u.occurred_at < month.to_at);
    LOCK TABLE ONLY llm_usage IN ACCESS EXCLUSIVE MODE;
    -- Again: a call may have been settled while this waited for the lock.
    CONTINUE WHEN EXISTS (
      SELECT FROM llm_usage AS u
      WHERE u.occurred_at >= month.from_at AND u.occurred_at < month.to_at);
    EXECUTE format(
      'CREATE TABLE %I PARTITION OF llm_usage FOR VALUES FROM (%L) TO (%L)',
      month.partition, month.from_at, month.to_at);
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;
