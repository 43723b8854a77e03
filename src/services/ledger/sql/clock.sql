-- Gives the time of this moment, where weir.now() is that of the transaction's beginning. Takes no locks.
CREATE OR REPLACE FUNCTION weir.clock() RETURNS timestamptz
  LANGUAGE sql VOLATILE AS $$ SELECT weir.now() + (clock_timestamp() - now()) $$;
