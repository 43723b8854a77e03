import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the ledger keeps: budgets and their periods, alerts, idempotency keys, owners of running calls, checkpoints of streams, corrections. */
export class LedgerTables20261121120000 implements MigrationInterface {
  name = 'LedgerTables20261121120000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE budgets (
        id text NOT NULL,
        -- whose it is: decides who sees and edits it
        organization_id text NOT NULL,
        scope text NOT NULL,
        subject_id text NOT NULL,
        period text NOT NULL,
        limit_amount numeric NOT NULL,
        soft_limit numeric,
        -- IANA name
        time_zone text NOT NULL DEFAULT 'UTC',
        alert_at_percent integer[] NOT NULL DEFAULT '{80,90}',
        -- the plan that made it for its user; null: somebody set it
        plan_id text,
        -- set by an operator: administrators of the organisation see it and cannot change it
        by_operator boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT weir.now(),
        updated_at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT budgets_pkey PRIMARY KEY (id),
        CONSTRAINT budgets_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
        CONSTRAINT budgets_scope_check CHECK (scope IN ('ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN')),
        CONSTRAINT budgets_period_check CHECK (period IN ('DAY', 'WEEK', 'MONTH')),
        CONSTRAINT budgets_limit_check CHECK (limit_amount >= 0 AND soft_limit >= 0)
      );
      CREATE INDEX budgets_subject_id_idx ON budgets (subject_id);
      CREATE INDEX budgets_organization_id_idx ON budgets (organization_id);
      CREATE UNIQUE INDEX budgets_plan_user_key ON budgets (subject_id) WHERE plan_id IS NOT NULL;

      -- One row per budget and period, made by the first call of the period. Its key is the local date in the budget's zone: the same wherever the clock is set to.
      CREATE TABLE budget_periods (
        budget_id text NOT NULL,
        starts_on date NOT NULL,
        starts_at timestamptz NOT NULL,
        ends_at timestamptz NOT NULL,
        -- the costs of settled calls, as booked then
        spent numeric NOT NULL DEFAULT 0,
        -- the worst case of the calls that run
        held numeric NOT NULL DEFAULT 0,
        -- the part of spent that was booked above the limit: a provider used more than was held
        overage numeric NOT NULL DEFAULT 0,
        CONSTRAINT budget_periods_pkey PRIMARY KEY (budget_id, starts_on),
        CONSTRAINT budget_periods_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES budgets (id) ON DELETE CASCADE
        -- Each call writes its rows twice: room on the page keeps the new version there, without an index entry.
      ) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

      -- An alert is a row: once per budget, period and threshold.
      CREATE TABLE budget_alerts (
        id text NOT NULL,
        budget_id text NOT NULL,
        -- with its date the period: a day and a month may begin on one
        period text NOT NULL,
        starts_on date NOT NULL,
        percent integer NOT NULL,
        spent numeric NOT NULL,
        limit_amount numeric NOT NULL,
        -- whole milliseconds, later than every alert before: what a client has seen last says what it has seen
        at timestamptz NOT NULL,
        CONSTRAINT budget_alerts_pkey PRIMARY KEY (id),
        CONSTRAINT budget_alerts_once_key UNIQUE (budget_id, period, starts_on, percent),
        CONSTRAINT budget_alerts_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES budgets (id) ON DELETE CASCADE
      );
      CREATE INDEX budget_alerts_at_idx ON budget_alerts (at);

      -- A key that a caller gave to a paid operation: claimed with its admission, ended with its settlement, kept for a day from there.
      CREATE TABLE idempotency_keys (
        user_id text NOT NULL,
        key text NOT NULL,
        -- SHA-256 of the input
        input_hash bytea NOT NULL,
        call_id text NOT NULL,
        first_used_at timestamptz NOT NULL,
        -- how the call ended, as it was told; null while it runs
        stored jsonb,
        expires_at timestamptz,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
      );
      CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at) WHERE expires_at IS NOT NULL;

      -- Processes that run calls. Each renews its row; one that nobody has seen renewed for a while is declared dead.
      CREATE TABLE owners (
        id text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT weir.now(),
        renewed_at timestamptz NOT NULL DEFAULT weir.now(),
        -- counts renewals: what others compare, so that no clock matters
        renewals bigint NOT NULL DEFAULT 0,
        dead_at timestamptz,
        CONSTRAINT owners_pkey PRIMARY KEY (id)
      );

      -- What a stream had produced: a row every two seconds or four kilobytes with what came since the last one.
      CREATE TABLE call_checkpoints (
        call_id text NOT NULL,
        number integer NOT NULL,
        content text NOT NULL,
        reasoning text NOT NULL,
        -- names and arguments of tool calls, as text
        tools text NOT NULL,
        -- of the whole stream until here, estimated
        completion_tokens integer NOT NULL,
        served_model text,
        deployment text,
        at timestamptz NOT NULL DEFAULT weir.now(),
        CONSTRAINT call_checkpoints_pkey PRIMARY KEY (call_id, number)
      ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

      ALTER TABLE calls_in_flight
        ADD COLUMN idempotency_key text,
        -- dollars held on each of the budgets; null: no price is known, and then no budget applies
        ADD COLUMN hold numeric,
        -- the period rows that it is held on, side by side
        ADD COLUMN budget_ids text[] NOT NULL DEFAULT '{}',
        ADD COLUMN budget_dates date[] NOT NULL DEFAULT '{}',
        ADD CONSTRAINT calls_in_flight_hold_check CHECK (hold >= 0 AND hold < 'Infinity');
      CREATE INDEX calls_in_flight_owner_idx ON calls_in_flight (owner);

      -- A correction is two further rows: the reversal of what was booked, and what is true. Sums of all rows are right by themselves; "sign" counts calls.
      ALTER TABLE llm_usage
        ADD COLUMN kind text NOT NULL DEFAULT 'CALL',
        ADD COLUMN sign smallint NOT NULL GENERATED ALWAYS AS (CASE WHEN kind = 'REVERSAL' THEN -1 ELSE 1 END) STORED,
        -- reversals and corrections: the call that they correct, and which correction of it they belong to
        ADD COLUMN corrects_id text,
        ADD COLUMN correction integer NOT NULL DEFAULT 0,
        ADD COLUMN correction_reason text,
        -- the period rows that the cost was booked on, side by side
        ADD COLUMN budget_ids text[] NOT NULL DEFAULT '{}',
        ADD COLUMN budget_dates date[] NOT NULL DEFAULT '{}',
        DROP CONSTRAINT llm_usage_tokens_check,
        ADD CONSTRAINT llm_usage_tokens_check CHECK (kind = 'REVERSAL' OR least(uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens) >= 0),
        -- "NaN" is above infinity: it would poison every sum.
        ADD CONSTRAINT llm_usage_cost_check CHECK (kind = 'REVERSAL' OR (cost >= 0 AND cost < 'Infinity')),
        ADD CONSTRAINT llm_usage_kind_check CHECK (kind IN ('CALL', 'REVERSAL', 'CORRECTION') AND (kind = 'CALL') = (corrects_id IS NULL));
      CREATE INDEX llm_usage_corrects_id_idx ON llm_usage (corrects_id) WHERE corrects_id IS NOT NULL;
      -- few: their records are asked for again
      CREATE INDEX llm_usage_lost_idx ON llm_usage (settled_at) WHERE status = 'LOST';
    `);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}
