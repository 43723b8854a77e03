CREATE OR REPLACE VIEW analytics.calls WITH (security_invoker = true) AS
  SELECT coalesce(u.corrects_id, u.id) AS id, u.occurred_at, u.organization_id, o.name AS organization,
    u.project_id, p.name AS project, u.user_id, w.name AS user_name, u.token_id, u.conversation_id, u.trace_id, u.agent,
    u.scenario, u.streamed, u.model, u.served_model, u.provider, u.deployment, u.service_tier, u.upstream, u.attempts,
    u.status, u.error_code, u.finish_reason, u.prompt_tokens, u.uncached_prompt_tokens, u.cache_read_tokens,
    u.cache_write_tokens, u.completion_tokens, u.reasoning_tokens, u.total_tokens, u.usage_source,
    -- A price that was recorded since the call was priced may be another one for it: then the parts are computed anew.
    CASE WHEN changed.model IS NULL THEN u.cost ELSE n.cost END AS cost,
    CASE WHEN changed.model IS NULL THEN u.cost_input ELSE n.cost_input END AS cost_input,
    CASE WHEN changed.model IS NULL THEN u.cost_cache_read ELSE n.cost_cache_read END AS cost_cache_read,
    CASE WHEN changed.model IS NULL THEN u.cost_cache_write ELSE n.cost_cache_write END AS cost_cache_write,
    CASE WHEN changed.model IS NULL THEN u.cost_output ELSE n.cost_output END AS cost_output,
    CASE WHEN changed.model IS NULL THEN u.cost_reasoning ELSE n.cost_reasoning END AS cost_reasoning,
    CASE WHEN changed.model IS NULL THEN u.cost_request ELSE n.cost_request END AS cost_request,
    CASE WHEN changed.model IS NULL THEN u.price_number ELSE n.price_number END AS price_number,
    u.cost AS booked_cost, u.proxy_cost, u.latency_ms, u.time_to_first_token_ms, u.settled_at,
    u.kind = 'CORRECTION' AS corrected, u.correction_reason,
    u.door, u.operation, u.plan_id, u.session_id, u.tags, u.cache_use, u.budget_left, u.budget_left_percent,
    u.max_tokens, u.route_rule, u.reasoning_effort
  FROM llm_usage AS u
  LEFT JOIN organizations AS o ON o.id = u.organization_id
  LEFT JOIN projects AS p ON p.organization_id = u.organization_id AND p.id = u.project_id
  LEFT JOIN users AS w ON w.organization_id = u.organization_id AND w.id = u.user_id
  LEFT JOIN (SELECT c.model, max(c.book) AS book FROM price_changes AS c GROUP BY c.model) AS changed
    ON changed.model = u.served_model AND changed.book > u.book_number
  -- OFFSET 0: of those calls only.
  LEFT JOIN LATERAL (
    SELECT t.*
    FROM weir.reader_cost(ROW(u.organization_id, u.occurred_at, u.served_model, u.deployment, u.service_tier,
      u.book_number, u.usage_source, u.sign, u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens,
      u.cache_write_one_hour_tokens, u.output_tokens, u.reasoning_tokens, u.price_number, u.cost, u.cost_input,
      u.cost_cache_read, u.cost_cache_write, u.cost_output, u.cost_reasoning, u.cost_request)::weir.priced_call) AS t
    WHERE changed.model IS NOT NULL OFFSET 0
  ) AS n ON true
  -- What is true of a call now is in its last correction, or else in its own row.
  WHERE u.kind <> 'REVERSAL' AND NOT EXISTS (
    SELECT FROM llm_usage AS later
    WHERE later.corrects_id IS NOT NULL AND later.organization_id = u.organization_id
      AND later.occurred_at = u.occurred_at AND later.corrects_id = coalesce(u.corrects_id, u.id)
      AND later.correction > u.correction);

COMMENT ON VIEW analytics.calls IS
  'One row per call that has ended, with what is true of it now, at the prices that hold now. Name a span of '
  'occurred_at: single calls are many.';
COMMENT ON COLUMN analytics.calls.id IS 'Id of the call, as applications know it.';
COMMENT ON COLUMN analytics.calls.occurred_at IS
  'When the call was admitted. Its local day in India: (occurred_at AT TIME ZONE ''Asia/Kolkata'')::date.';
COMMENT ON COLUMN analytics.calls.organization_id IS 'Organisation that the call is booked on.';
COMMENT ON COLUMN analytics.calls.organization IS 'Its name.';
COMMENT ON COLUMN analytics.calls.project_id IS 'Project that the call is booked on; NULL: none.';
COMMENT ON COLUMN analytics.calls.project IS 'Its name.';
COMMENT ON COLUMN analytics.calls.user_id IS 'User who made the call.';
COMMENT ON COLUMN analytics.calls.user_name IS 'Name of the user.';
COMMENT ON COLUMN analytics.calls.token_id IS 'API token that the call was made with; NULL: another way of logging in.';
COMMENT ON COLUMN analytics.calls.conversation_id IS 'Conversation that the call belongs to; NULL: none.';
COMMENT ON COLUMN analytics.calls.trace_id IS 'Trace id of the client.';
COMMENT ON COLUMN analytics.calls.agent IS 'Label of the calling agent.';
COMMENT ON COLUMN analytics.calls.scenario IS
  'Label of the call: DEFAULT, BACKGROUND, THINK, LONG_CONTEXT, REVIEW or PLAN.';
COMMENT ON COLUMN analytics.calls.streamed IS 'Whether the answer came as a stream.';
COMMENT ON COLUMN analytics.calls.model IS 'Model that was asked for.';
COMMENT ON COLUMN analytics.calls.served_model IS 'Model that answered, and whose price counts.';
COMMENT ON COLUMN analytics.calls.provider IS 'Provider that answered; NULL: not known.';
COMMENT ON COLUMN analytics.calls.deployment IS 'Deployment that answered, by its id at the proxy; NULL: not known.';
COMMENT ON COLUMN analytics.calls.service_tier IS 'Service tier of the provider; NULL: its usual one.';
COMMENT ON COLUMN analytics.calls.upstream IS 'LITELLM (through the proxy) or DIRECT.';
COMMENT ON COLUMN analytics.calls.attempts IS 'How often the upstream was tried.';
COMMENT ON COLUMN analytics.calls.status IS 'How the call ended: COMPLETED, STOPPED, FAILED or LOST.';
COMMENT ON COLUMN analytics.calls.error_code IS 'Why it failed; NULL: it did not.';
COMMENT ON COLUMN analytics.calls.finish_reason IS 'Why the answer ended.';
COMMENT ON COLUMN analytics.calls.prompt_tokens IS
  'Tokens of the question: uncached, read from the cache and written to it.';
COMMENT ON COLUMN analytics.calls.uncached_prompt_tokens IS 'Prompt tokens that had nothing to do with a cache.';
COMMENT ON COLUMN analytics.calls.cache_read_tokens IS 'Prompt tokens from the provider''s cache.';
COMMENT ON COLUMN analytics.calls.cache_write_tokens IS 'Prompt tokens put into the provider''s cache.';
COMMENT ON COLUMN analytics.calls.completion_tokens IS 'Tokens of the answer, reasoning included.';
COMMENT ON COLUMN analytics.calls.reasoning_tokens IS 'Completion tokens that went into reasoning.';
COMMENT ON COLUMN analytics.calls.total_tokens IS 'Prompt and completion tokens.';
COMMENT ON COLUMN analytics.calls.usage_source IS
  'Who counted: PROVIDER, ESTIMATED, RECONCILED (the proxy''s record, found later), CACHE (the proxy''s response cache '
  'answered: nothing was used) or NONE.';
COMMENT ON COLUMN analytics.calls.cost IS
  'US dollars, exact, by the price book of now; NULL: no price known. The sum of the columns cost_….';
COMMENT ON COLUMN analytics.calls.cost_input IS 'Part of cost: uncached prompt tokens.';
COMMENT ON COLUMN analytics.calls.cost_cache_read IS 'Part of cost: tokens read from the cache.';
COMMENT ON COLUMN analytics.calls.cost_cache_write IS 'Part of cost: tokens written to the cache.';
COMMENT ON COLUMN analytics.calls.cost_output IS
  'Part of cost: the answer, without reasoning where that is priced apart.';
COMMENT ON COLUMN analytics.calls.cost_reasoning IS 'Part of cost: reasoning, where it is priced apart.';
COMMENT ON COLUMN analytics.calls.cost_request IS 'Part of cost: the fee per request.';
COMMENT ON COLUMN analytics.calls.price_number IS
  'Record of analytics.prices that cost was computed with; NULL: no price known.';
COMMENT ON COLUMN analytics.calls.booked_cost IS
  'US dollars as they were booked when the call was settled or last corrected: what budgets count.';
COMMENT ON COLUMN analytics.calls.proxy_cost IS 'US dollars by the proxy''s own figure, for comparison only.';
COMMENT ON COLUMN analytics.calls.latency_ms IS 'Milliseconds from admission to the end.';
COMMENT ON COLUMN analytics.calls.time_to_first_token_ms IS
  'Milliseconds from admission to the first token of a stream.';
COMMENT ON COLUMN analytics.calls.settled_at IS
  'When this was written: for a corrected call, when it was last corrected.';
COMMENT ON COLUMN analytics.calls.corrected IS 'Whether later knowledge has replaced what was booked at first.';
COMMENT ON COLUMN analytics.calls.correction_reason IS 'Why.';
COMMENT ON COLUMN analytics.calls.door IS 'Protocol that the call came through: GRAPHQL, OPENAI_CHAT_COMPLETIONS …';
COMMENT ON COLUMN analytics.calls.operation IS 'CHAT or EMBEDDING.';
COMMENT ON COLUMN analytics.calls.plan_id IS 'Plan of the user at the time; NULL: not known.';
COMMENT ON COLUMN analytics.calls.session_id IS 'Sign-in that the call was made in; NULL: not known.';
COMMENT ON COLUMN analytics.calls.tags IS 'Labels that the client gave; empty: none.';
COMMENT ON COLUMN analytics.calls.cache_use IS
  'The proxy''s response cache: HIT (it answered, nothing was used), ASKED (it had no answer) or NO (it was not '
  'asked).';
COMMENT ON COLUMN analytics.calls.budget_left IS
  'US dollars left in the tightest budget that applied, before this call; NULL: none applied.';
COMMENT ON COLUMN analytics.calls.budget_left_percent IS 'Percent left of it then.';
COMMENT ON COLUMN analytics.calls.max_tokens IS 'Longest answer that was asked for, in tokens; NULL: not known.';
COMMENT ON COLUMN analytics.calls.route_rule IS 'Rule of the routing document that chose the model; NULL: none did.';
COMMENT ON COLUMN analytics.calls.reasoning_effort IS 'Effort of reasoning that was asked for; NULL: none was named.';
