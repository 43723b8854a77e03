-- What the session may read: an organisation's id, '*' for everything, null for nothing. Two things decide, and neither
-- is a row of a table:
--   the name of the role that logged in, which no SET changes: weir_sql_<id of the organisation>_<suffix>, or
--     weir_sql_all_<suffix>. An id has a fixed form, and so no name can be read in two ways;
--   a right on this function that was granted to that very role. Roles belong to the whole server, and a name proves
--     nothing: somebody may have chosen it, it may be another installation's, and others may have put it into the
--     readers' group. What a role has as a member of another one does not count. Only the owner of the function grants
--     the right and takes it back, whoever made the role.
-- Row security does not concern the owner of the tables (this function's too) and superusers: they read everything. The
-- function is immutable for a session, which is one user's to its end, and so the planner knows the answer, and indexes
-- are used by it. A plan that a session has prepared still knows it when the right is gone: SqlRoleStore.disallow has
-- all plans made anew.
CREATE OR REPLACE FUNCTION weir.reader() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  RETURN CASE
    WHEN pg_has_role(session_user, current_user, 'USAGE')
      OR (SELECT r.rolbypassrls FROM pg_roles AS r WHERE r.rolname = session_user) THEN '*'
    WHEN NOT EXISTS (
      SELECT FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a JOIN pg_roles AS r ON r.oid = a.grantee
      WHERE f.pronamespace = 'weir'::regnamespace AND f.proname = 'reader' AND r.rolname = session_user) THEN NULL
    WHEN session_user ~ '^weir_sql_all_[0-9a-z]+$' THEN '*'
    ELSE substring(session_user FROM '^weir_sql_(org_[0-9a-z]{26})_[0-9a-z]+$') END;
