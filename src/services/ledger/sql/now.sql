-- The one clock of all SQL, that of the transaction's beginning: tests replace this function to move time.
CREATE OR REPLACE FUNCTION weir.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT now() $$;
