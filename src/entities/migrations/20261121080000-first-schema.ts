import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Everything of the data path: people and plans, keys, conversations, calls in flight, usage by month, the price book. */
export class FirstSchema20261121080000 implements MigrationInterface {
  // TypeORM takes the order from the number at the end of the name.
  name = 'FirstSchema20261121080000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA IF NOT EXISTS weir;

      -- The one clock of all SQL: tests replace this function to move time.
      CREATE FUNCTION weir.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT now() $$;

      CREATE TABLE installation (
        id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT installation_pkey PRIMARY KEY (id)
      );
      INSERT INTO installation (id) VALUES (substr(md5(gen_random_uuid()::text), 1, 8));

      CREATE TABLE organizations (
        id text NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT organizations_pkey PRIMARY KEY (id)
      );

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

      CREATE TABLE users (
        id text NOT NULL,
        organization_id text NOT NULL,
        name text NOT NULL,
        email text,
        external_id text,
        role text NOT NULL,
        plan_id text NOT NULL,
        blocked boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        -- A deleted person stays as an empty row: figures, and a key that the proxy has not yet deleted, point to it.
        deleted_at timestamptz,
        -- SHA-256 of organisation and subject of a deleted person: a JWT from before the deletion must not make the person again.
        erased_subject bytea,
        CONSTRAINT users_pkey PRIMARY KEY (id),
        CONSTRAINT users_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
        CONSTRAINT users_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES plans (id),
        CONSTRAINT users_role_check CHECK (role IN ('MEMBER', 'ANALYST', 'ADMIN', 'OPERATOR'))
      );
      CREATE UNIQUE INDEX users_external_id_key ON users (organization_id, external_id) WHERE external_id IS NOT NULL;
      CREATE INDEX users_organization_id_created_at_idx ON users (organization_id, created_at, id);
      CREATE INDEX users_erased_subject_idx ON users (erased_subject) WHERE erased_subject IS NOT NULL;

      CREATE TABLE api_tokens (
        id text NOT NULL,
        user_id text NOT NULL,
        name text NOT NULL,
        hash bytea NOT NULL,
        hint text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        last_used_at timestamptz,
        expires_at timestamptz,
        revoked_at timestamptz,
        CONSTRAINT api_tokens_pkey PRIMARY KEY (id),
        CONSTRAINT api_tokens_hash_key UNIQUE (hash),
        CONSTRAINT api_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
      );
      CREATE INDEX api_tokens_user_id_idx ON api_tokens (user_id);

      -- The user's key at the proxy. The row is written before the proxy is asked: its secret is ours, so that asking twice makes one key.
      -- plan_id and blocked are what the proxy has confirmed; what they should be is the user's row, and a difference is still to be done.
      -- The row of a deleted user stays until the proxy has deleted the key.
      CREATE TABLE virtual_keys (
        user_id text NOT NULL,
        secret bytea NOT NULL,
        hint text NOT NULL,
        plan_id text NOT NULL,
        -- false until the proxy has confirmed it
        confirmed boolean NOT NULL DEFAULT false,
        blocked boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        rotated_at timestamptz,
        CONSTRAINT virtual_keys_pkey PRIMARY KEY (user_id),
        CONSTRAINT virtual_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
      );

      -- What the proxy was last told that a plan's team may use.
      CREATE TABLE proxy_teams (
        plan_id text NOT NULL,
        models text[] NOT NULL,
        synced_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT proxy_teams_pkey PRIMARY KEY (plan_id)
      );

      CREATE TABLE projects (
        id text NOT NULL,
        organization_id text NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT projects_pkey PRIMARY KEY (id),
        CONSTRAINT projects_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id)
      );
      CREATE INDEX projects_organization_id_created_at_idx ON projects (organization_id, created_at, id);

      CREATE TABLE conversations (
        id text NOT NULL,
        organization_id text NOT NULL,
        user_id text NOT NULL,
        project_id text,
        title text,
        -- last message of the current branch
        head_id text,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        updated_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT conversations_pkey PRIMARY KEY (id),
        CONSTRAINT conversations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT conversations_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
      );
      CREATE INDEX conversations_user_id_created_at_idx ON conversations (user_id, created_at DESC, id DESC);

      -- A tree: each message names the one that it follows. The current branch is the way from the conversation's head to the root.
      CREATE TABLE messages (
        id text NOT NULL,
        conversation_id text NOT NULL,
        parent_id text,
        position bigint GENERATED ALWAYS AS IDENTITY,
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
        CONSTRAINT messages_pkey PRIMARY KEY (id),
        CONSTRAINT messages_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE CASCADE
      );
      CREATE INDEX messages_conversation_id_position_idx ON messages (conversation_id, position);

      -- Written before the upstream is called; gone when the call's usage row is there.
      CREATE TABLE calls_in_flight (
        id text NOT NULL,
        occurred_at timestamptz NOT NULL DEFAULT weir.now(),
        organization_id text NOT NULL,
        user_id text NOT NULL,
        token_id text,
        project_id text,
        conversation_id text,
        question_id text,
        agent text,
        scenario text NOT NULL,
        trace_id text NOT NULL,
        model text NOT NULL,
        upstream text NOT NULL,
        streamed boolean NOT NULL,
        max_tokens integer NOT NULL,
        prompt_tokens_estimate integer NOT NULL,
        owner text NOT NULL,
        deadline_at timestamptz NOT NULL,
        -- why somebody at another replica wants it ended; its owner looks every second
        stop_reason text,
        CONSTRAINT calls_in_flight_pkey PRIMARY KEY (id)
        -- Every row is soon a dead one: waiting for a fifth of the table to die would be waiting for ever.
      ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
      CREATE INDEX calls_in_flight_stop_reason_idx ON calls_in_flight (owner) WHERE stop_reason IS NOT NULL;
      CREATE INDEX calls_in_flight_organization_id_idx ON calls_in_flight (organization_id, occurred_at);

      -- One row per call that was admitted. Append-only, by month, organisation first.
      CREATE TABLE llm_usage (
        organization_id text NOT NULL,
        occurred_at timestamptz NOT NULL,
        id text NOT NULL,
        user_id text NOT NULL,
        token_id text,
        project_id text,
        conversation_id text,
        agent text,
        scenario text NOT NULL,
        trace_id text NOT NULL,
        streamed boolean NOT NULL,
        model text NOT NULL,
        served_model text NOT NULL,
        provider text,
        deployment text,
        upstream text NOT NULL,
        attempts integer NOT NULL,
        status text NOT NULL,
        error_code text,
        finish_reason text,
        uncached_prompt_tokens integer NOT NULL,
        cache_read_tokens integer NOT NULL,
        cache_write_tokens integer NOT NULL,
        -- part of cache_write_tokens
        cache_write_one_hour_tokens integer NOT NULL,
        -- completion without reasoning
        output_tokens integer NOT NULL,
        reasoning_tokens integer NOT NULL,
        prompt_tokens integer NOT NULL GENERATED ALWAYS AS (uncached_prompt_tokens + cache_read_tokens + cache_write_tokens) STORED,
        completion_tokens integer NOT NULL GENERATED ALWAYS AS (output_tokens + reasoning_tokens) STORED,
        total_tokens integer NOT NULL GENERATED ALWAYS AS (uncached_prompt_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens) STORED,
        usage_source text NOT NULL,
        -- as the provider sent it
        raw_usage jsonb,
        -- the record of the price book that the cost was computed with; null: no price known, and then no cost
        price_number bigint,
        cost numeric,
        cost_input numeric,
        cost_cache_read numeric,
        cost_cache_write numeric,
        cost_output numeric,
        cost_reasoning numeric,
        cost_request numeric,
        -- the proxy's own figure, for comparison only
        proxy_cost numeric,
        latency_ms integer,
        time_to_first_token_ms integer,
        omitted_messages integer NOT NULL DEFAULT 0,
        settled_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT llm_usage_pkey PRIMARY KEY (organization_id, occurred_at, id),
        CONSTRAINT llm_usage_status_check CHECK (status IN ('COMPLETED', 'STOPPED', 'FAILED', 'LOST')),
        CONSTRAINT llm_usage_tokens_check CHECK (least(uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens) >= 0)
      ) PARTITION BY RANGE (occurred_at);
      CREATE INDEX llm_usage_id_idx ON llm_usage (id);
      CREATE INDEX llm_usage_user_id_occurred_at_idx ON llm_usage (user_id, occurred_at);
      CREATE INDEX llm_usage_conversation_id_idx ON llm_usage (conversation_id) WHERE conversation_id IS NOT NULL;
      -- A row whose month nobody made in time is kept here instead of being refused.
      CREATE TABLE llm_usage_rest PARTITION OF llm_usage DEFAULT;

      -- Makes the monthly partitions (UTC) from the current month to "months_ahead" later; a month that is there is left alone.
      CREATE FUNCTION weir.ensure_usage_partitions(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
      DECLARE
        first timestamp := date_trunc('month', weir.now() AT TIME ZONE 'UTC');
        made integer := 0;
        month timestamp;
        partition_name text;
      BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('weir.ensure_usage_partitions'));
        FOR step IN 0..months_ahead LOOP
          month := first + make_interval(months => step);
          partition_name := 'llm_usage_' || to_char(month, 'YYYY_MM');
          CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
          EXECUTE format('CREATE TABLE %I PARTITION OF llm_usage FOR VALUES FROM (%L) TO (%L)', partition_name,
            to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
          made := made + 1;
        END LOOP;
        RETURN made;
      END $$;
      SELECT weir.ensure_usage_partitions(3);

      -- The price book: append-only, numbered under a lock. A correction is a new record.
      CREATE TABLE model_prices (
        number bigint NOT NULL,
        model text NOT NULL,
        -- the proxy's deployment id, where deployments of one alias differ
        deployment text,
        organization_id text,
        source text NOT NULL,
        effective_from timestamptz NOT NULL,
        effective_to timestamptz,
        recorded_at timestamptz NOT NULL DEFAULT weir.now(),
        service_tier text,
        -- dollars per token as decimal strings
        rates jsonb NOT NULL,
        note text,
        CONSTRAINT model_prices_pkey PRIMARY KEY (number),
        CONSTRAINT model_prices_source_check CHECK (source IN ('ADMIN', 'PROXY', 'FALLBACK'))
      );
      CREATE INDEX model_prices_model_effective_from_idx ON model_prices (model, effective_from);

      -- The last good answer of each upstream about its models.
      CREATE TABLE model_lists (
        upstream text NOT NULL,
        models jsonb NOT NULL,
        as_of timestamptz NOT NULL,
        CONSTRAINT model_lists_pkey PRIMARY KEY (upstream)
      );
    `);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}
