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
make_database litellm "$LITELLM_DATABASE_PASSWORD"
