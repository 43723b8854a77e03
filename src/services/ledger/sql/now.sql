-- The one clock of all SQL: tests replace this function to move time. Gives the time at which the transaction began.
-- Takes no locks.
CREATE OR REPLACE FUNCTION weir.now() RETURNS timestamptz
  LANGUAGE sql STABLE AS $$ SELECT now() $$;
