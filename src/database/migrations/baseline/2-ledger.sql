-- What the ledger records: budgets and their periods, calls in flight, usage rows, idempotency keys, checkpoints of streams.

CREATE TABLE budgets (
  organization_id text NOT NULL,
  id text NOT NULL,
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
  CONSTRAINT budgets_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT budgets_scope_check CHECK (scope IN ('ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN')),
  CONSTRAINT budgets_period_check CHECK (period IN ('DAY', 'WEEK', 'MONTH')),
  CONSTRAINT budgets_limit_check CHECK (limit_amount >= 0 AND soft_limit >= 0)
);
COMMENT ON TABLE budgets IS 'tenant: what an organisation, a project, a user or a token may spend in a period';
CREATE INDEX budgets_subject_id_idx ON budgets (organization_id, subject_id);
CREATE UNIQUE INDEX budgets_plan_user_key ON budgets (organization_id, subject_id) WHERE plan_id IS NOT NULL;
CREATE INDEX budgets_plan_id_idx ON budgets (plan_id) WHERE plan_id IS NOT NULL;

-- One row per budget and period, made by the first call of the period. Its key is the local date in the budget's zone: the same
-- wherever the clock is set to.
CREATE TABLE budget_periods (
  organization_id text NOT NULL,
  budget_id text NOT NULL,
  starts_on date NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  -- the costs of settled calls, as booked then
  spent numeric NOT NULL DEFAULT 0,
  -- the worst case of the calls that run
  held numeric NOT NULL DEFAULT 0,
  -- the part of spent that was booked above the limit: a provider used more than was reserved
  overage numeric NOT NULL DEFAULT 0,
  -- the limits of the budget when the period's row was last written
  limit_amount numeric,
  soft_limit numeric,
  CONSTRAINT budget_periods_pkey PRIMARY KEY (organization_id, budget_id, starts_on)
  -- Each call writes its rows twice: room on the page keeps the new version there, without an index entry.
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE budget_periods IS 'tenant: what is spent and reserved of each budget in each period';

-- An alert is a row: once per budget, period and threshold.
CREATE TABLE budget_alerts (
  organization_id text NOT NULL,
  id text NOT NULL,
  budget_id text NOT NULL,
  -- with its date the period: a day and a month may begin on one date
  period text NOT NULL,
  starts_on date NOT NULL,
  percent integer NOT NULL,
  spent numeric NOT NULL,
  limit_amount numeric NOT NULL,
  -- whole milliseconds, later than every alert before: the last one that a client has seen says which it has seen
  at timestamptz NOT NULL,
  CONSTRAINT budget_alerts_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT budget_alerts_once_key UNIQUE (organization_id, budget_id, period, starts_on, percent)
);
COMMENT ON TABLE budget_alerts IS 'tenant: thresholds of budgets that were reached';
CREATE INDEX budget_alerts_at_idx ON budget_alerts (at);

-- A key that a caller gave to a paid operation: claimed with its admission, ended with its settlement, expires a day after that.
CREATE TABLE idempotency_keys (
  organization_id text NOT NULL,
  user_id text NOT NULL,
  key text NOT NULL,
  -- SHA-256 of the input
  input_hash bytea NOT NULL,
  call_id text NOT NULL,
  first_used_at timestamptz NOT NULL,
  -- how the call ended, as it was answered; null while it runs
  stored jsonb,
  expires_at timestamptz,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organization_id, user_id, key)
);
COMMENT ON TABLE idempotency_keys IS 'tenant: callers'' keys of paid operations, and the answers that repetitions get';
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE owners (
  id text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT weir.now(),
  renewed_at timestamptz NOT NULL DEFAULT weir.now(),
  -- counts renewals: what other processes compare, so that no clock matters
  renewals bigint NOT NULL DEFAULT 0,
  dead_at timestamptz,
  CONSTRAINT owners_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE owners IS 'local: processes that run calls; each renews its row, and one that was not seen to for a while is declared dead';

-- Written before the upstream is called; removed when the call's usage row is written.
CREATE TABLE calls_in_flight (
  organization_id text NOT NULL,
  id text NOT NULL,
  occurred_at timestamptz NOT NULL DEFAULT weir.now(),
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
  -- why somebody at another replica wants it ended
  stop_reason text,
  idempotency_key text,
  -- dollars reserved on each of the budgets; null: no price is known, and then no budget applies
  hold numeric,
  -- the period rows that it is reserved on, side by side
  budget_ids text[] NOT NULL DEFAULT '{}',
  budget_dates date[] NOT NULL DEFAULT '{}',
  -- From here on as in llm_usage.
  door text NOT NULL,
  operation text NOT NULL,
  request_id text,
  plan_id text,
  session_id text,
  end_user text,
  tags text[] NOT NULL DEFAULT '{}',
  call_hash text,
  asked_input_tokens integer,
  reasoning_effort text,
  route_version bigint,
  route_rule text,
  route_flags text[] NOT NULL DEFAULT '{}',
  budget_left numeric,
  budget_left_percent numeric,
  CONSTRAINT calls_in_flight_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT calls_in_flight_hold_check CHECK (hold >= 0 AND hold < 'Infinity')
  -- Every row is soon a dead one: waiting for a fifth of the table to die would be waiting for ever.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE calls_in_flight IS 'tenant: calls that run now, with what is reserved for them';
CREATE INDEX calls_in_flight_id_idx ON calls_in_flight (id);
CREATE INDEX calls_in_flight_stop_reason_idx ON calls_in_flight (owner) WHERE stop_reason IS NOT NULL;

-- What a stream had produced: a row every two seconds or four kilobytes with what came since the last one.
CREATE TABLE call_checkpoints (
  organization_id text NOT NULL,
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
  -- the numbers of the events that it holds
  first_seq integer,
  last_seq integer,
  -- one element for each event: services/streams/kept-pieces.ts
  pieces json,
  CONSTRAINT call_checkpoints_pkey PRIMARY KEY (organization_id, call_id, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE call_checkpoints IS 'tenant: what running streams have produced so far';

-- One row per call that was admitted, and two more for each correction of it. Append-only, by month. A correction is the reversal of what was
-- booked and what is true: sums of all rows are right by themselves; "sign" counts calls.
CREATE TABLE llm_usage (
  organization_id text NOT NULL,
  occurred_at timestamptz NOT NULL,
  id text NOT NULL,
  kind text NOT NULL DEFAULT 'CALL',
  sign smallint NOT NULL GENERATED ALWAYS AS (CASE WHEN kind = 'REVERSAL' THEN -1 ELSE 1 END) STORED,
  -- reversals and corrections: the call that they correct, and which correction of it they belong to
  corrects_id text,
  correction integer NOT NULL DEFAULT 0,
  correction_reason text,
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
  -- the provider's, where it names one that is not its usual one
  service_tier text,
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
  total_tokens integer NOT NULL
    GENERATED ALWAYS AS (uncached_prompt_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens) STORED,
  usage_source text NOT NULL,
  -- as the provider sent it
  raw_usage jsonb,
  -- the record of the price book that the cost was computed with; null: no price known, and then no cost
  price_number bigint,
  -- the newest record of the price book that was known when the call was priced: what came later is a price change
  book_number bigint NOT NULL DEFAULT 0,
  cost numeric,
  cost_input numeric,
  cost_cache_read numeric,
  cost_cache_write numeric,
  cost_output numeric,
  cost_reasoning numeric,
  cost_request numeric,
  -- reversals: what budgets got back, which is what they had been charged; prices may have changed since, and then "cost" is another figure
  budget_cost numeric,
  -- the proxy's own figure, for comparison only
  proxy_cost numeric,
  latency_ms integer,
  time_to_first_token_ms integer,
  omitted_messages integer NOT NULL DEFAULT 0,
  settled_at timestamptz NOT NULL DEFAULT weir.now(),
  -- the batch that wrote it; without one a row would be in no report
  batch_id bigint NOT NULL,
  -- the period rows that the cost was booked on, side by side
  budget_ids text[] NOT NULL DEFAULT '{}',
  budget_dates date[] NOT NULL DEFAULT '{}',
  -- through which protocol it came: GRAPHQL, OPENAI_CHAT_COMPLETIONS …
  door text NOT NULL,
  -- CHAT or EMBEDDING
  operation text NOT NULL,
  -- of the HTTP request or the socket's operation, as in the log
  request_id text,
  -- the caller's plan at the time
  plan_id text,
  -- one sign-in of the caller
  session_id text,
  -- an HMAC of the end user that the client named
  end_user text,
  tags text[] NOT NULL DEFAULT '{}',
  -- a hash of what was asked, so that equal calls are found
  call_hash text,
  -- what was reserved, and by what: the limit of the answer, and the guess of the prompt
  max_tokens integer,
  prompt_tokens_estimate integer,
  hold numeric,
  -- the prompt's guess before anything of the history was left out
  asked_input_tokens integer,
  reasoning_effort text,
  -- the routing document in force, the rule that chose, and what the choice depended on: tools, images, schema, explicit, sticky, downgraded
  route_version bigint,
  route_rule text,
  route_flags text[] NOT NULL DEFAULT '{}',
  -- of the tightest budget that applied, before this call was reserved; null: none applied
  budget_left numeric,
  budget_left_percent numeric,
  -- targets that were asked in vain or left out before the one that answered
  fallbacks jsonb,
  -- the proxy's response cache: ASKED and not found, HIT, or NO
  cache_use text NOT NULL DEFAULT 'NO',
  -- a hit: what it would have used
  cached_uncached_prompt_tokens integer,
  cached_cache_read_tokens integer,
  cached_cache_write_tokens integer,
  cached_cache_write_one_hour_tokens integer,
  cached_output_tokens integer,
  cached_reasoning_tokens integer,
  -- why it went to a provider directly: OUTAGE or CONFIGURED; null: it went through the proxy
  direct_reason text,
  CONSTRAINT llm_usage_pkey PRIMARY KEY (organization_id, occurred_at, id),
  CONSTRAINT llm_usage_status_check CHECK (status IN ('COMPLETED', 'STOPPED', 'FAILED', 'LOST')),
  CONSTRAINT llm_usage_kind_check CHECK (kind IN ('CALL', 'REVERSAL', 'CORRECTION') AND (kind = 'CALL') = (corrects_id IS NULL)),
  CONSTRAINT llm_usage_cache_use_check CHECK (cache_use IN ('ASKED', 'HIT', 'NO')),
  CONSTRAINT llm_usage_tokens_check CHECK (kind = 'REVERSAL' OR least(uncached_prompt_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_one_hour_tokens, output_tokens, reasoning_tokens) >= 0),
  -- "NaN" is above infinity: it would poison every sum.
  CONSTRAINT llm_usage_cost_check CHECK (kind = 'REVERSAL' OR (cost >= 0 AND cost < 'Infinity'))
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE llm_usage IS 'tenant: one row per call that has ended, and two per correction';
CREATE INDEX llm_usage_id_idx ON llm_usage (organization_id, id);
CREATE INDEX llm_usage_user_id_occurred_at_idx ON llm_usage (organization_id, user_id, occurred_at);
CREATE INDEX llm_usage_conversation_id_idx ON llm_usage (organization_id, conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX llm_usage_batch_id_idx ON llm_usage (batch_id);
CREATE INDEX llm_usage_corrects_id_idx ON llm_usage (organization_id, corrects_id) WHERE corrects_id IS NOT NULL;
-- Few: their records at the proxy are looked up again.
CREATE INDEX llm_usage_lost_idx ON llm_usage (settled_at) WHERE status = 'LOST';
-- A slice of time, and no whole month, is read where a price change is folded in slices. It costs next to nothing to write.
CREATE INDEX llm_usage_occurred_at_idx ON llm_usage USING brin (occurred_at) WITH (autosummarize = on);
-- A row whose month has no partition yet waits here instead of being refused; weir.ensure_usage_partitions moves it.
CREATE TABLE llm_usage_rest PARTITION OF llm_usage DEFAULT;

-- Gives ids to settlements; which of two is the later one is said by settled_at alone.
CREATE SEQUENCE weir.usage_batch_ids;
-- One row for each organisation in each transaction that wrote usage rows, until these are in the rollups.
CREATE TABLE usage_batches (
  organization_id text NOT NULL,
  id bigint NOT NULL,
  -- when its calls were made: the first and the last
  from_at timestamptz NOT NULL,
  to_at timestamptz NOT NULL,
  rows integer NOT NULL,
  settled_at timestamptz NOT NULL,
  CONSTRAINT usage_batches_pkey PRIMARY KEY (organization_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE usage_batches IS 'tenant: settled calls that are not in the rollups yet';
CREATE INDEX usage_batches_settled_at_idx ON usage_batches (settled_at, id);

CREATE TABLE usage_retention (
  only_row boolean NOT NULL DEFAULT true,
  dropped_before timestamptz NOT NULL DEFAULT '-infinity',
  CONSTRAINT usage_retention_pkey PRIMARY KEY (only_row),
  CONSTRAINT usage_retention_only_row_check CHECK (only_row)
);
COMMENT ON TABLE usage_retention IS 'reference: calls before this time were removed; their figures are in the rollups';
INSERT INTO usage_retention DEFAULT VALUES;

CREATE TABLE reconciliations (
  -- the day (UTC) of the run
  run_on date NOT NULL,
  -- the calls that it compares: made from, inclusive, to, exclusive
  from_at timestamptz NOT NULL,
  to_at timestamptz NOT NULL,
  compared_up_to timestamptz NOT NULL,
  compared_calls bigint NOT NULL DEFAULT 0,
  missing_here bigint NOT NULL DEFAULT 0,
  missing_at_proxy bigint NOT NULL DEFAULT 0,
  tokens_differ bigint NOT NULL DEFAULT 0,
  cost_differs bigint NOT NULL DEFAULT 0,
  -- estimates that were replaced, and those that could not be
  corrected bigint NOT NULL DEFAULT 0,
  not_corrected bigint NOT NULL DEFAULT 0,
  -- dollars of the calls that were compared, before their correction; null: nothing had a cost
  our_cost numeric,
  proxy_cost numeric,
  -- the process that runs it, and until when no other takes it over
  owner text NOT NULL,
  leased_until timestamptz NOT NULL,
  ended_at timestamptz,
  CONSTRAINT reconciliations_pkey PRIMARY KEY (run_on)
);
COMMENT ON TABLE reconciliations IS 'local: what each night''s comparison with the proxy has found, and how far it came';
