-- Whether figures as of a time can be told; raises where not. What was settled until a moment ago may not have been
-- committed yet.
CREATE OR REPLACE FUNCTION weir.check_as_of(as_of timestamptz, from_day date, to_day date) RETURNS boolean
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- From here on single calls are read: analytics.usage_as_of.
  first date := greatest(from_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date);
BEGIN
  IF as_of IS NULL OR from_day IS NULL OR to_day IS NULL THEN
    RAISE EXCEPTION 'as_of, from_day and to_day are needed' USING ERRCODE = 'null_value_not_allowed';
  ELSIF as_of > weir.clock() - interval '20 seconds' THEN
    RAISE EXCEPTION 'as_of: calls of the last 20 seconds may still be on their way; name an earlier time'
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF first < least(to_day, (as_of AT TIME ZONE 'UTC')::date + 1)
      AND first::timestamp AT TIME ZONE 'UTC' < (SELECT dropped_before FROM public.usage_retention) THEN
    RAISE EXCEPTION 'to_day: single calls of % were removed, and the day of as_of itself is told from them; '
      'name a to_day of % at the latest', first, first USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN true;
END $$;
