/** In a database of this release: makes it look as if 0.1.0 had migrated it. */
export const EARLIER_MIGRATIONS = `
  INSERT INTO weir_migrations ("timestamp", name) VALUES (261121080000, 'FirstSchema20261121080000'), (261121150000, 'KeptStreams20261121150000');`;

/** What this release looks at in a database of 0.1.0, and a table that stands for all the others. */
export const EARLIER_INSTALLATION = '0a1b2c3d';
export const EARLIER_SCHEMA = `
  CREATE TABLE weir_migrations (id serial PRIMARY KEY, "timestamp" bigint NOT NULL, name character varying NOT NULL);
  ${EARLIER_MIGRATIONS}
  CREATE TABLE installation (id text NOT NULL CONSTRAINT installation_pkey PRIMARY KEY);
  INSERT INTO installation (id) VALUES ('${EARLIER_INSTALLATION}');
  CREATE TABLE plans (id text NOT NULL CONSTRAINT plans_pkey PRIMARY KEY);
  INSERT INTO plans (id) VALUES ('an old plan');`;
