-- Figures by UTC day. '' stands for none. "entry_at": -infinity for what was booked when it happened; for later knowledge (a call settled an
-- hour after it was made or later, a correction, a price change) the time of that entry, so that every figure can be asked as it stood at any time.
CREATE TABLE usage_daily (
  organization_id text NOT NULL,
  day date NOT NULL,
  model text NOT NULL,
  provider text NOT NULL,
  upstream text NOT NULL,
  scenario text NOT NULL,
  status text NOT NULL,
  entry_at timestamptz NOT NULL,
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
  first_token_histogram numeric NOT NULL,
  CONSTRAINT usage_daily_pkey PRIMARY KEY (organization_id, day, model, provider, upstream, scenario, status, entry_at)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE usage_daily IS 'tenant: figures by day, model, provider, upstream, scenario and status';

CREATE TABLE usage_daily_by_project (
  organization_id text NOT NULL,
  day date NOT NULL,
  project_id text NOT NULL,
  model text NOT NULL,
  entry_at timestamptz NOT NULL,
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
  first_token_histogram numeric NOT NULL,
  CONSTRAINT usage_daily_by_project_pkey PRIMARY KEY (organization_id, day, project_id, model, entry_at)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE usage_daily_by_project IS 'tenant: figures by day, project and model';

CREATE TABLE usage_daily_by_user (
  organization_id text NOT NULL,
  day date NOT NULL,
  user_id text NOT NULL,
  model text NOT NULL,
  entry_at timestamptz NOT NULL,
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
  first_token_histogram numeric NOT NULL,
  CONSTRAINT usage_daily_by_user_pkey PRIMARY KEY (organization_id, day, user_id, model, entry_at)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE usage_daily_by_user IS 'tenant: figures by day, user and model';
CREATE INDEX usage_daily_by_user_user_id_day_idx ON usage_daily_by_user (organization_id, user_id, day);

CREATE TABLE usage_daily_overall (
  day date NOT NULL,
  model text NOT NULL,
  provider text NOT NULL,
  entry_at timestamptz NOT NULL,
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
  first_token_histogram numeric NOT NULL,
  CONSTRAINT usage_daily_overall_pkey PRIMARY KEY (day, model, provider, entry_at)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE usage_daily_overall IS 'local: figures of all organisations by day, model and provider';

CREATE TABLE usage_quarter_hourly (
  organization_id text NOT NULL,
  at timestamptz NOT NULL,
  model text NOT NULL,
  entry_at timestamptz NOT NULL,
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
  first_token_histogram numeric NOT NULL,
  CONSTRAINT usage_quarter_hourly_pkey PRIMARY KEY (organization_id, at, model, entry_at)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE usage_quarter_hourly IS 'tenant: figures by quarter of an hour and model, of the last 60 days: a day in any time zone is made of these';
CREATE INDEX usage_quarter_hourly_at_idx ON usage_quarter_hourly USING brin (at) WITH (autosummarize = on);
-- The few cells of later knowledge.
CREATE INDEX usage_daily_by_project_entry_at_idx ON usage_daily_by_project (organization_id, entry_at) WHERE entry_at > '-infinity';
