CREATE OR REPLACE VIEW analytics.reconciliations WITH (security_invoker = true) AS
  SELECT r.run_on, r.from_at, r.to_at, r.compared_up_to, r.ended_at, r.compared_calls, r.our_cost, r.proxy_cost,
    r.missing_here, r.missing_at_proxy, r.tokens_differ, r.cost_differs, r.corrected, r.not_corrected
  FROM reconciliations AS r;

COMMENT ON VIEW analytics.reconciliations IS
  'What the nightly comparison with the proxy''s records has found; all organisations together, for operators.';
COMMENT ON COLUMN analytics.reconciliations.run_on IS 'Day (UTC) of the run.';
COMMENT ON COLUMN analytics.reconciliations.from_at IS 'It compares calls that were made from here on.';
COMMENT ON COLUMN analytics.reconciliations.to_at IS 'It compares calls that were made before.';
COMMENT ON COLUMN analytics.reconciliations.compared_up_to IS 'How far it came.';
COMMENT ON COLUMN analytics.reconciliations.ended_at IS
  'When it was through; NULL: it is still at it, or was given up.';
COMMENT ON COLUMN analytics.reconciliations.compared_calls IS 'Calls that were compared.';
COMMENT ON COLUMN analytics.reconciliations.our_cost IS
  'US dollars of these calls here, before their correction; NULL: none has a cost.';
COMMENT ON COLUMN analytics.reconciliations.proxy_cost IS
  'US dollars of these calls at the proxy; NULL: none has a cost.';
COMMENT ON COLUMN analytics.reconciliations.missing_here IS 'Records of the proxy without a call here.';
COMMENT ON COLUMN analytics.reconciliations.missing_at_proxy IS 'Calls without a record at the proxy.';
COMMENT ON COLUMN analytics.reconciliations.tokens_differ IS 'Calls with other tokens at the proxy.';
COMMENT ON COLUMN analytics.reconciliations.cost_differs IS 'Calls with the same tokens and another cost at the proxy.';
COMMENT ON COLUMN analytics.reconciliations.corrected IS 'Estimates that were replaced by what the proxy knew.';
COMMENT ON COLUMN analytics.reconciliations.not_corrected IS 'Estimates that could not be replaced.';
