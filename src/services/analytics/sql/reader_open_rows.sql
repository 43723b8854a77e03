-- Those of weir.reader_rows that are not in the cubes. OFFSET 0: batch by batch; the other way round all rows would be
-- read. BETWEEN: how many rows a batch has is then not guessed from how many batches Postgres has seen, which is one
-- for all rows that are older than batches.
CREATE OR REPLACE VIEW weir.reader_open_rows WITH (security_barrier) AS
  SELECT e.* FROM usage_batches AS b
  CROSS JOIN LATERAL (
    SELECT
      e.organization_id, e.occurred_at, e.settled_at, e.day, e.quarter AS at, e.project_id, e.user_id, e.model,
      e.provider, e.upstream, e.scenario, e.status, e.entry_at, e.calls, e.failed_calls, e.prompt_tokens,
      e.cache_read_tokens, e.cache_write_tokens, e.completion_tokens, e.reasoning_tokens, e.cost, e.priced_calls,
      e.unpriced_calls, e.latency_count, e.latency_ms, e.latency_histogram, e.first_token_count, e.first_token_ms,
      e.first_token_histogram
    FROM weir.row_entries AS e
    WHERE e.organization_id = b.organization_id AND e.batch_id BETWEEN b.id AND b.id
      AND e.occurred_at >= b.from_at AND e.occurred_at <= b.to_at
      AND (weir.reader() = '*' OR e.organization_id = weir.reader())
    OFFSET 0
  ) AS e
  WHERE weir.reader() = '*' OR weir.reader() = b.organization_id;
