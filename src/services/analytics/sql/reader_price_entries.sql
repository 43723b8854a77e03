-- What price changes add to the rows of llm_usage, for the reader: like weir.reader_rows.
CREATE OR REPLACE VIEW weir.reader_price_entries WITH (security_barrier) AS
  SELECT
    e.organization_id, e.occurred_at, e.settled_at, e.day, e.quarter AS at, e.project_id, e.user_id, e.model,
    e.provider, e.upstream, e.scenario, e.status, e.entry_at, e.calls, e.failed_calls, e.prompt_tokens,
    e.cache_read_tokens, e.cache_write_tokens, e.completion_tokens, e.reasoning_tokens, e.cost, e.priced_calls,
    e.unpriced_calls, e.latency_count, e.latency_ms, e.latency_histogram, e.first_token_count, e.first_token_ms,
    e.first_token_histogram,
    e.folded_before
  FROM weir.price_entries AS e
  WHERE weir.reader() = '*' OR e.organization_id = weir.reader();
