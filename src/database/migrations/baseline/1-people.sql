-- Organisations, plans, people, their credentials, and what they say. A table's comment begins with its kind:
--   tenant:     rows of one organisation; organization_id is the first column, and first in every key
--   reference:  shared by all organisations, small, read by everyone
--   local:      the work of this installation's processes; nothing of an organisation depends on it

CREATE TABLE installation (
  id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT installation_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE installation IS 'reference: the name of this installation, one row';
INSERT INTO installation (id) VALUES (substr(md5(gen_random_uuid()::text), 1, 8));

CREATE TABLE organizations (
  id text NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT organizations_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE organizations IS 'reference: the customers of the product';

CREATE TABLE plans (
  id text NOT NULL,
  name text NOT NULL,
  models text[] NOT NULL,
  default_model text,
  requests_per_minute integer,
  tokens_per_minute integer,
  parallel_calls integer,
  max_output_tokens integer,
  monthly_budget numeric,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  updated_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT plans_pkey PRIMARY KEY (id),
  CONSTRAINT plans_name_key UNIQUE (name)
);
COMMENT ON TABLE plans IS 'reference: which models a user may use, and how much; written by weir.put_plan';

CREATE TABLE users (
  organization_id text NOT NULL,
  id text NOT NULL,
  name text NOT NULL,
  email text,
  external_id text,
  role text NOT NULL,
  plan_id text NOT NULL,
  blocked boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  -- A deleted person remains as an empty row: figures refer to it, and so does a key that the proxy has not deleted yet.
  deleted_at timestamptz,
  -- SHA-256 of organisation and subject of a deleted person: a JWT from before the deletion must not create the person again.
  erased_subject bytea,
  CONSTRAINT users_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT users_role_check CHECK (role IN ('MEMBER', 'ANALYST', 'ADMIN', 'OPERATOR'))
);
COMMENT ON TABLE users IS 'tenant: people; their plan is written by weir.put_user and weir.set_user_plan';
CREATE UNIQUE INDEX users_external_id_key ON users (organization_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_organization_id_created_at_idx ON users (organization_id, created_at, id);
CREATE INDEX users_id_idx ON users (id);
CREATE INDEX users_erased_subject_idx ON users (organization_id, erased_subject) WHERE erased_subject IS NOT NULL;

CREATE TABLE api_tokens (
  organization_id text NOT NULL,
  id text NOT NULL,
  user_id text NOT NULL,
  name text NOT NULL,
  hash bytea NOT NULL,
  hint text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  -- the user who made it; null: made by the installation itself
  created_by text,
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT api_tokens_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT api_tokens_hash_key UNIQUE (organization_id, hash)
);
COMMENT ON TABLE api_tokens IS 'tenant: API tokens, as hashes';
CREATE INDEX api_tokens_user_id_idx ON api_tokens (organization_id, user_id);
CREATE INDEX api_tokens_id_idx ON api_tokens (id);

-- A request brings a token and no organisation: this says which one it belongs to.
CREATE TABLE token_directory (
  hash bytea NOT NULL,
  organization_id text NOT NULL,
  token_id text NOT NULL,
  CONSTRAINT token_directory_pkey PRIMARY KEY (hash)
);
COMMENT ON TABLE token_directory IS 'reference: the organisation of each API token, by its hash';
CREATE INDEX token_directory_token_id_idx ON token_directory (organization_id, token_id);

-- The user's key at the proxy. The row is written before the proxy is asked: its secret is ours, so that asking twice makes one key.
-- plan_id and blocked are what the proxy has confirmed; the user's row says what they should be, and a difference is still to be applied.
-- The row of a deleted user stays until the proxy has deleted the key.
CREATE TABLE virtual_keys (
  organization_id text NOT NULL,
  user_id text NOT NULL,
  secret bytea NOT NULL,
  hint text NOT NULL,
  plan_id text NOT NULL,
  -- false until the proxy has confirmed it
  confirmed boolean NOT NULL DEFAULT false,
  blocked boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  rotated_at timestamptz,
  CONSTRAINT virtual_keys_pkey PRIMARY KEY (organization_id, user_id)
);
COMMENT ON TABLE virtual_keys IS 'tenant: each user''s key at the proxy, encrypted';

CREATE TABLE proxy_teams (
  plan_id text NOT NULL,
  models text[] NOT NULL,
  synced_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT proxy_teams_pkey PRIMARY KEY (plan_id)
);
COMMENT ON TABLE proxy_teams IS 'local: the models that the proxy''s team of each plan was last set to';

CREATE TABLE model_lists (
  upstream text NOT NULL,
  models jsonb NOT NULL,
  as_of timestamptz NOT NULL,
  CONSTRAINT model_lists_pkey PRIMARY KEY (upstream)
);
COMMENT ON TABLE model_lists IS 'local: the last good answer of each upstream about its models';

CREATE TABLE projects (
  organization_id text NOT NULL,
  id text NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT projects_pkey PRIMARY KEY (organization_id, id)
);
COMMENT ON TABLE projects IS 'tenant: what calls are booked on besides their user';
CREATE INDEX projects_organization_id_created_at_idx ON projects (organization_id, created_at, id);
CREATE INDEX projects_id_idx ON projects (id);

CREATE TABLE conversations (
  organization_id text NOT NULL,
  id text NOT NULL,
  user_id text NOT NULL,
  project_id text,
  title text,
  -- last message of the current branch
  head_id text,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  updated_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT conversations_pkey PRIMARY KEY (organization_id, id)
);
COMMENT ON TABLE conversations IS 'tenant: conversations of users with models';
CREATE INDEX conversations_user_id_created_at_idx ON conversations (organization_id, user_id, created_at DESC, id DESC);

-- A tree: each message names the one that it follows. The current branch leads from the conversation's head to the root.
CREATE TABLE messages (
  organization_id text NOT NULL,
  id text NOT NULL,
  conversation_id text NOT NULL,
  parent_id text,
  -- 1, 2, 3 … in its conversation, given under the lock of the conversation's row
  position bigint NOT NULL,
  role text NOT NULL,
  content text,
  reasoning text,
  parts jsonb,
  tool_calls jsonb,
  tool_call_id text,
  name text,
  complete boolean NOT NULL DEFAULT true,
  superseded boolean NOT NULL DEFAULT false,
  call_id text,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT messages_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT messages_position_key UNIQUE (organization_id, conversation_id, position)
);
COMMENT ON TABLE messages IS 'tenant: messages of conversations';

CREATE TABLE sql_roles (
  -- of the role at the database server: weir_sql_<organisation>_<suffix>, or weir_sql_all_<suffix>; row security reads it, see weir.reader()
  name text NOT NULL,
  -- null: reads everything, as operators do
  organization_id text,
  created_at timestamptz NOT NULL DEFAULT weir.now(),
  CONSTRAINT sql_roles_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE sql_roles IS 'reference: database roles with which people read by SQL';

CREATE TABLE sql_files (
  name text NOT NULL,
  -- SHA-256 of the file, in hex
  hash text NOT NULL,
  loaded_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sql_files_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE sql_files IS 'local: the functions and views that were loaded from files';
-- Made by TypeORM, before the first migration.
COMMENT ON TABLE weir_migrations IS 'local: the migrations that ran';
