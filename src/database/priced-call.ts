/**
 * A row of `llm_usage` as `weir.cost_as_of` takes it: a function that takes a row of the table itself could not be used
 * on a distributed one.
 */
export const pricedCall = (row: string): string =>
  `ROW(${[
    'organization_id',
    'occurred_at',
    'served_model',
    'deployment',
    'service_tier',
    'book_number',
    'usage_source',
    'sign',
    'uncached_prompt_tokens',
    'cache_read_tokens',
    'cache_write_tokens',
    'cache_write_one_hour_tokens',
    'output_tokens',
    'reasoning_tokens',
    'price_number',
    'cost',
    'cost_input',
    'cost_cache_read',
    'cost_cache_write',
    'cost_output',
    'cost_reasoning',
    'cost_request',
  ]
    .map((name) => `${row}.${name}`)
    .join(', ')})::weir.priced_call`;
