-- Makes the monthly partitions (UTC) from the current month to "months_ahead" later; a month that is there is left alone.
CREATE OR REPLACE FUNCTION weir.ensure_usage_partitions(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  first timestamp := date_trunc('month', weir.now() AT TIME ZONE 'UTC');
  made integer := 0;
  month timestamp;
  partition_name text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('weir.ensure_usage_partitions'));
  FOR step IN 0..months_ahead LOOP
    month := first + make_interval(months => step);
    partition_name := 'llm_usage_' || to_char(month, 'YYYY_MM');
    CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
    EXECUTE format('CREATE TABLE %I PARTITION OF llm_usage FOR VALUES FROM (%L) TO (%L)', partition_name,
      to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;
