-- What the ledger's functions take and give: rows of JSON, and what is computed on the way.

-- A call to be admitted: weir.admit.
CREATE TYPE weir.new_call AS (nr integer, again boolean, id text, organization_id text, user_id text, token_id text, project_id text,
  conversation_id text, question_id text, parent_id text, branch_ids text[], messages json, agent text, scenario text, trace_id text, model text,
  upstream text, streamed boolean, max_tokens integer, prompt_tokens_estimate integer, owner text, deadline_ms bigint, hold numeric, key text,
  input_hash text, door text, operation text, request_id text, plan_id text, session_id text, end_user text, tags text[], call_hash text,
  asked_input_tokens integer, reasoning_effort text, route_version bigint, route_rule text, route_flags text[]);

-- The period rows on which a call is reserved, side by side.
CREATE TYPE weir.held_on AS (budget_ids text[], budget_dates date[]);

-- How a call ended: weir.settle, weir.correct.
CREATE TYPE weir.call_end AS (organization_id text, occurred_at timestamptz, id text, user_id text, token_id text, project_id text,
  conversation_id text, agent text, scenario text, trace_id text, streamed boolean, model text, served_model text, provider text, deployment text,
  service_tier text, upstream text, attempts integer, status text, error_code text, finish_reason text, uncached_prompt_tokens integer,
  cache_read_tokens integer, cache_write_tokens integer, cache_write_one_hour_tokens integer, output_tokens integer, reasoning_tokens integer,
  usage_source text, raw_usage jsonb, price_number bigint, book_number bigint, cost numeric, cost_input numeric, cost_cache_read numeric,
  cost_cache_write numeric, cost_output numeric, cost_reasoning numeric, cost_request numeric, proxy_cost numeric, latency_ms integer,
  time_to_first_token_ms integer, omitted_messages integer, answer_id text, question_id text, content text, reasoning text, tool_calls jsonb,
  complete boolean, key text, stored jsonb, budget_ids text[], budget_dates date[], fallbacks jsonb, cache_use text,
  cached_uncached_prompt_tokens integer, cached_cache_read_tokens integer, cached_cache_write_tokens integer,
  cached_cache_write_one_hour_tokens integer, cached_output_tokens integer, cached_reasoning_tokens integer, direct_reason text,
  door text, operation text, request_id text, plan_id text, session_id text, end_user text, tags text[], call_hash text, max_tokens integer,
  prompt_tokens_estimate integer, hold numeric, asked_input_tokens integer, reasoning_effort text, route_version bigint, route_rule text,
  route_flags text[], budget_left numeric, budget_left_percent numeric);

-- What is added to a period row: weir.book.
CREATE TYPE weir.booking AS (organization_id text, budget_id text, starts_on date, spent numeric, released numeric, excess numeric);

-- What decides how a settled call is priced: weir.cost_as_of. No table's row type, so that queries on a distributed table can use it.
CREATE TYPE weir.priced_call AS (organization_id text, occurred_at timestamptz, served_model text, deployment text, service_tier text,
  book_number bigint, usage_source text, sign smallint, uncached_prompt_tokens integer, cache_read_tokens integer, cache_write_tokens integer,
  cache_write_one_hour_tokens integer, output_tokens integer, reasoning_tokens integer, price_number bigint, cost numeric, cost_input numeric,
  cost_cache_read numeric, cost_cache_write numeric, cost_output numeric, cost_reasoning numeric, cost_request numeric);
CREATE TYPE weir.cost_parts AS (cost numeric, cost_input numeric, cost_cache_read numeric, cost_cache_write numeric, cost_output numeric,
  cost_reasoning numeric, cost_request numeric, price_number bigint);
