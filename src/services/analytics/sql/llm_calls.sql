CREATE OR REPLACE VIEW llm_calls AS
  SELECT organization_id, occurred_at, coalesce(corrects_id, id) AS id, user_id, token_id, project_id, conversation_id,
    agent, scenario, trace_id, streamed, model, served_model, provider, deployment, upstream, attempts, status,
    error_code, finish_reason, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_one_hour_tokens, output_tokens, reasoning_tokens, prompt_tokens, completion_tokens, total_tokens,
    usage_source, raw_usage, price_number, cost, cost_input, cost_cache_read, cost_cache_write, cost_output,
    cost_reasoning, cost_request, proxy_cost, latency_ms, time_to_first_token_ms, omitted_messages, settled_at,
    kind = 'CORRECTION' AS corrected, correction_reason
  FROM llm_usage AS u
  WHERE kind <> 'REVERSAL' AND NOT EXISTS (
    SELECT FROM llm_usage AS later
    WHERE later.corrects_id IS NOT NULL AND later.organization_id = u.organization_id
      AND later.occurred_at = u.occurred_at AND later.corrects_id = coalesce(u.corrects_id, u.id)
      AND later.correction > u.correction);

COMMENT ON VIEW llm_calls IS
  'One row per call that has ended, with what is known to be true of it. Corrections are followed; llm_usage has every '
  'entry.';
