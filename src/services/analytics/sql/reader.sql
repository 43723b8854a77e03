-- What the session may read: an organisation's id, '*' for everything, null for nothing. It asks for the name of the role that logged in, which no
-- SET changes, and which carries the organisation: weir_sql_<organisation>_<suffix>, or weir_sql_all_<suffix>. Row security does not concern the owner
-- of the tables (this function's too) and superusers: they read everything. It is immutable for a session, which is one user's to its end, and so the
-- planner knows the answer, and indexes are used by it. A name alone gives no right: it takes membership in the readers' group to read anything.
CREATE OR REPLACE FUNCTION weir.reader() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  RETURN CASE
    WHEN pg_has_role(session_user, current_user, 'USAGE') OR (SELECT r.rolbypassrls FROM pg_roles AS r WHERE r.rolname = session_user) THEN '*'
    WHEN session_user ~ '^weir_sql_all_[0-9a-z]+$' THEN '*'
    ELSE substring(session_user FROM '^weir_sql_(.+)_[0-9a-z]+$') END;
