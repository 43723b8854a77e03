import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What reports are made of: settled batches, cubes of figures, price changes; and rates as columns, so that SQL can price a row. */
export class FigureTables20261121140000 implements MigrationInterface {
  name = 'FigureTables20261121140000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(CLOCK);
    await runner.query(PRICES);
    await runner.query(ROWS);
    await runner.query(CUBES);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const CLOCK = `
  -- The time of this moment, where weir.now() is that of the transaction's beginning.
  CREATE FUNCTION weir.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT weir.now() + (clock_timestamp() - now()) $$;
`;

const PRICES = `
  -- The number of the newest record of each model: a settlement that was priced by an older book prices again.
  CREATE TABLE price_versions (
    model text NOT NULL,
    number bigint NOT NULL,
    CONSTRAINT price_versions_pkey PRIMARY KEY (model)
  );

  -- The rates of each record as columns: one row per tier of prompt length, with what the record leaves out filled in.
  CREATE TABLE price_rates (
    number bigint NOT NULL,
    -- holds for prompts longer than this, and up to the next
    above_prompt_tokens integer NOT NULL,
    up_to_prompt_tokens integer NOT NULL,
    input numeric NOT NULL,
    cache_read numeric NOT NULL,
    cache_write numeric NOT NULL,
    cache_write_one_hour numeric NOT NULL,
    output numeric NOT NULL,
    -- null: reasoning is not priced apart, and is output
    reasoning numeric,
    per_request numeric NOT NULL,
    CONSTRAINT price_rates_pkey PRIMARY KEY (number, above_prompt_tokens),
    CONSTRAINT price_rates_number_fkey FOREIGN KEY (number) REFERENCES model_prices (number)
  );

  -- Every record goes this way, whoever writes it.
  CREATE FUNCTION weir.take_price() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    base jsonb := NEW.rates;
  BEGIN
    INSERT INTO price_rates (number, above_prompt_tokens, up_to_prompt_tokens, input, cache_read, cache_write, cache_write_one_hour, output, reasoning, per_request)
      SELECT NEW.number, t.above, lead(t.above, 1, 2147483647) OVER (ORDER BY t.above), (t.own->>'input')::numeric, coalesce(t.own->>'cacheRead', t.own->>'input')::numeric,
        coalesce(t.own->>'cacheWrite', t.own->>'input')::numeric,
        coalesce(t.own->>'cacheWriteOneHour', base->>'cacheWriteOneHour', t.own->>'cacheWrite', t.own->>'input')::numeric,
        (t.own->>'output')::numeric, coalesce(t.own->>'reasoning', base->>'reasoning')::numeric, coalesce(base->>'perRequest', '0')::numeric
      FROM (SELECT -1 AS above, base AS own UNION ALL SELECT (tier->>'abovePromptTokens')::integer, tier FROM jsonb_array_elements(coalesce(base->'tiers', '[]')) AS tier) AS t;
    -- From 2^62 on it is a preview: rolled back, and nobody waits for it.
    IF NEW.number < 4611686018427387904 THEN
      INSERT INTO price_versions (model, number) VALUES (NEW.model, NEW.number)
        ON CONFLICT (model) DO UPDATE SET number = greatest(price_versions.number, excluded.number);
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER model_prices_taken AFTER INSERT ON model_prices FOR EACH ROW EXECUTE FUNCTION weir.take_price();

  -- Records from before are taken, too. In a copy, since a trigger's function can only be called by a trigger.
  CREATE TEMPORARY TABLE earlier_prices ON COMMIT DROP AS SELECT * FROM model_prices;
  CREATE TRIGGER earlier_prices_taken AFTER INSERT ON earlier_prices FOR EACH ROW EXECUTE FUNCTION weir.take_price();
  INSERT INTO earlier_prices SELECT * FROM model_prices;

  -- A record that is in force for calls which were settled before it: their figures change by the difference, under the record's number.
  CREATE TABLE price_changes (
    book bigint NOT NULL,
    model text NOT NULL,
    recorded_at timestamptz NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    -- the differences of calls before this time are in the cubes; infinity: all of them
    folded_before timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT price_changes_pkey PRIMARY KEY (book),
    CONSTRAINT price_changes_book_fkey FOREIGN KEY (book) REFERENCES model_prices (number)
  );
  CREATE INDEX price_changes_model_idx ON price_changes (model, book);

  -- Which calls it is in force for: those served by the change's model in a span of time, of these organisations, deployments and service tiers
  -- ("listed"), or of all but these. Parts of one change exclude each other.
  CREATE TABLE price_change_parts (
    book bigint NOT NULL,
    part integer NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    organizations text[] NOT NULL,
    organizations_listed boolean NOT NULL,
    -- '' is a call whose deployment is not known
    deployments text[] NOT NULL,
    deployments_listed boolean NOT NULL,
    -- '' is the usual tier
    service_tiers text[] NOT NULL,
    service_tiers_listed boolean NOT NULL,
    -- the record that was in force for them before; null: they had no price
    previous bigint,
    CONSTRAINT price_change_parts_pkey PRIMARY KEY (book, part),
    CONSTRAINT price_change_parts_book_fkey FOREIGN KEY (book) REFERENCES price_changes (book)
  );
`;

const ROWS = `
  -- One row for each transaction that wrote usage rows, until these are in the cubes.
  CREATE TABLE usage_batches (
    id bigint GENERATED ALWAYS AS IDENTITY,
    organizations text[] NOT NULL,
    -- when its calls were made: the first and the last
    from_at timestamptz NOT NULL,
    to_at timestamptz NOT NULL,
    rows integer NOT NULL,
    settled_at timestamptz NOT NULL,
    CONSTRAINT usage_batches_pkey PRIMARY KEY (id)
  ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

  ALTER TABLE llm_usage
    -- the batch that wrote it; 0: one that is in the cubes since they exist
    ADD COLUMN batch_id bigint NOT NULL DEFAULT 0,
    -- the newest record of the price book that was known when the call was priced: what came later is a price change
    ADD COLUMN book_number bigint NOT NULL DEFAULT 0,
    -- the provider's, where it names one that is not its usual one
    ADD COLUMN service_tier text,
    -- reversals: what budgets got back, which is what they had been told; prices may have changed since, and then "cost" is another figure
    ADD COLUMN budget_cost numeric;
  -- Who does not know of batches, as a server of the version before that still runs, is refused and tries again: a row without one would be in no report.
  ALTER TABLE llm_usage ALTER COLUMN batch_id DROP DEFAULT;
  CREATE INDEX llm_usage_batch_id_idx ON llm_usage (batch_id);
  -- What was booked so far was priced by the book as it is.
  UPDATE llm_usage SET book_number = (SELECT coalesce(max(number), 0) FROM model_prices);
  -- A reversal takes back the latencies, too.
  UPDATE llm_usage AS r SET latency_ms = c.latency_ms, time_to_first_token_ms = c.time_to_first_token_ms
    FROM llm_usage AS c
    WHERE r.kind = 'REVERSAL' AND c.organization_id = r.organization_id AND c.occurred_at = r.occurred_at AND coalesce(c.corrects_id, c.id) = r.corrects_id AND c.kind <> 'REVERSAL' AND c.correction = r.correction - 1;

  -- Calls before this time were removed; their figures are in the cubes.
  CREATE TABLE usage_retention (
    only_row boolean NOT NULL DEFAULT true,
    dropped_before timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT usage_retention_pkey PRIMARY KEY (only_row),
    CONSTRAINT usage_retention_only_row_check CHECK (only_row)
  );
  INSERT INTO usage_retention DEFAULT VALUES;
`;

const MEASURES = `
    calls bigint NOT NULL,
    failed_calls bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    -- of the priced calls
    cost numeric NOT NULL,
    priced_calls bigint NOT NULL,
    unpriced_calls bigint NOT NULL,
    latency_count bigint NOT NULL,
    latency_ms bigint NOT NULL,
    latency_histogram numeric NOT NULL,
    first_token_count bigint NOT NULL,
    first_token_ms bigint NOT NULL,
    first_token_histogram numeric NOT NULL,`;
// Cells of today are written again and again: room on the page keeps the new version there, without an index entry.
const STORAGE = `WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000)`;

const CUBES = `
  -- Cubes by UTC day. '' stands for none. "entry_at": -infinity for what was booked when it happened; for later knowledge (a call settled an hour after it was
  -- made or later, a correction, a price change) the time of that entry, so that every figure can be asked as it stood at any time.
  CREATE TABLE usage_daily (
    organization_id text NOT NULL,
    day date NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    upstream text NOT NULL,
    scenario text NOT NULL,
    status text NOT NULL,
    entry_at timestamptz NOT NULL,${MEASURES}
    CONSTRAINT usage_daily_pkey PRIMARY KEY (organization_id, day, model, provider, upstream, scenario, status, entry_at)
  ) ${STORAGE};

  CREATE TABLE usage_daily_by_project (
    organization_id text NOT NULL,
    day date NOT NULL,
    project_id text NOT NULL,
    model text NOT NULL,
    entry_at timestamptz NOT NULL,${MEASURES}
    CONSTRAINT usage_daily_by_project_pkey PRIMARY KEY (organization_id, day, project_id, model, entry_at)
  ) ${STORAGE};

  CREATE TABLE usage_daily_by_user (
    organization_id text NOT NULL,
    day date NOT NULL,
    user_id text NOT NULL,
    model text NOT NULL,
    entry_at timestamptz NOT NULL,${MEASURES}
    CONSTRAINT usage_daily_by_user_pkey PRIMARY KEY (organization_id, day, user_id, model, entry_at)
  ) ${STORAGE};
  CREATE INDEX usage_daily_by_user_user_id_day_idx ON usage_daily_by_user (user_id, day);

  -- Of all organisations.
  CREATE TABLE usage_daily_overall (
    day date NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    entry_at timestamptz NOT NULL,${MEASURES}
    CONSTRAINT usage_daily_overall_pkey PRIMARY KEY (day, model, provider, entry_at)
  ) ${STORAGE};

  -- By quarter of an hour, of the last 60 days: a day in any time zone is made of these.
  CREATE TABLE usage_quarter_hourly (
    organization_id text NOT NULL,
    at timestamptz NOT NULL,
    model text NOT NULL,
    entry_at timestamptz NOT NULL,${MEASURES}
    CONSTRAINT usage_quarter_hourly_pkey PRIMARY KEY (organization_id, at, model, entry_at)
  ) ${STORAGE};
  CREATE INDEX usage_quarter_hourly_at_idx ON usage_quarter_hourly USING brin (at) WITH (autosummarize = on);
`;
