-- The price book: append-only, numbered under a lock. A correction is a new record. Written by weir.append_price.

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
  -- the user who recorded it; null: the installation itself, from the proxy or the shipped table
  recorded_by text,
  service_tier text,
  -- dollars per token as decimal strings
  rates jsonb NOT NULL,
  note text,
  CONSTRAINT model_prices_pkey PRIMARY KEY (number),
  CONSTRAINT model_prices_source_check CHECK (source IN ('ADMIN', 'PROXY', 'FALLBACK'))
);
COMMENT ON TABLE model_prices IS 'reference: the price book';
CREATE INDEX model_prices_model_effective_from_idx ON model_prices (model, effective_from);

CREATE TABLE price_versions (
  model text NOT NULL,
  number bigint NOT NULL,
  CONSTRAINT price_versions_pkey PRIMARY KEY (model)
);
COMMENT ON TABLE price_versions IS 'reference: the newest record of each model; a settlement that was priced by an older book prices again';

-- The rates of each record as columns: one row per tier of prompt length, with what the record leaves out filled in.
CREATE TABLE price_rates (
  number bigint NOT NULL,
  -- holds for prompts longer than this, and up to the next
  above_prompt_tokens integer NOT NULL,
  up_to_prompt_tokens integer NOT NULL,
  -- of the record: whose own price it is; null: a general price
  organization_id text,
  input numeric NOT NULL,
  cache_read numeric NOT NULL,
  cache_write numeric NOT NULL,
  cache_write_one_hour numeric NOT NULL,
  output numeric NOT NULL,
  -- null: reasoning is not priced apart, and is output
  reasoning numeric,
  per_request numeric NOT NULL,
  CONSTRAINT price_rates_pkey PRIMARY KEY (number, above_prompt_tokens)
);
COMMENT ON TABLE price_rates IS 'reference: the rates of each price record, as columns';

-- A record that is in force for calls which were settled before it: their figures change by the difference, under the record's number.
CREATE TABLE price_changes (
  book bigint NOT NULL,
  model text NOT NULL,
  -- of the record: whose own price it is; null: a general price
  organization_id text,
  recorded_at timestamptz NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  -- the differences of calls before this time are in the rollups; infinity: all of them
  folded_before timestamptz NOT NULL DEFAULT '-infinity',
  CONSTRAINT price_changes_pkey PRIMARY KEY (book)
);
COMMENT ON TABLE price_changes IS 'reference: price records that change the cost of calls settled before them';
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
  CONSTRAINT price_change_parts_pkey PRIMARY KEY (book, part)
);
COMMENT ON TABLE price_change_parts IS 'reference: which calls a price change concerns';
