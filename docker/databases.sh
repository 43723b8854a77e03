#!/bin/bash
# Runs once, when the volume is empty: a role for each program that owns its own database and nothing else.
set -euo pipefail

make_database() {
  psql --set ON_ERROR_STOP=1 --set name="$1" --set password="$2" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
ALTER ROLE :"name" SET search_path = public;
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}

make_database weir "$WEIR_DATABASE_PASSWORD"
# For people who read with SQL (npm run admin -- create-sql-role): weir makes their roles, and they can neither take its locks nor write.
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname weir <<'SQL'
ALTER ROLE weir CREATEROLE;
DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^(pg_(try_)?advisory_.*|lo_.*|lowrite)$' LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO weir', f);
  END LOOP;
END $$;
SQL
make_database litellm "$LITELLM_DATABASE_PASSWORD"
