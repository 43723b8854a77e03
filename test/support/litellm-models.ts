import type { LitellmModel } from '../../launch/litellm-config';

/** The key that the proxy has for the provider. */
export const PROVIDER_KEY = 'sk-provider-of-the-operator-0123456789';

/** What the provider calls `test-small`. */
export const PROVIDERS_SMALL = 'small-2026-11-01';

interface Fields {
  id?: string;
  /** The proxy's own name of the model. */ as?: string;
  info?: Record<string, number | boolean | string>;
  params?: Record<string, number | boolean | string | string[]>;
}

/**
 * What the tests' proxy serves. Each deployment asks the fake provider at `url` (with `/v1`) for a model of its alias'
 * name.
 */
export function litellmModels(url: string): LitellmModel[] {
  const deployment = (
    name: string,
    { id = `${name}-1`, as = `openai/${name}`, info = {}, params = {} }: Fields,
  ): LitellmModel => ({
    model_name: name,
    litellm_params: { model: as, api_base: url, api_key: PROVIDER_KEY, ...params },
    model_info: { id, mode: 'chat', ...info },
  });
  const cheap = {
    input_cost_per_token: 0.00000015,
    output_cost_per_token: 0.0000006,
    cache_read_input_token_cost: 0.000000075,
  };
  return [
    deployment('test-chat', {
      info: {
        input_cost_per_token: 0.0000025,
        output_cost_per_token: 0.00001,
        cache_read_input_token_cost: 0.00000025,
        max_input_tokens: 128_000,
        max_output_tokens: 16_384,
        supports_function_calling: true,
        supports_vision: true,
        supports_response_schema: true,
      },
    }),
    deployment('test-small', {
      as: `openai/${PROVIDERS_SMALL}`,
      info: { ...cheap, max_input_tokens: 8_192, max_output_tokens: 4_096 },
    }),
    deployment('test-reasoner', {
      info: { ...cheap, output_cost_per_reasoning_token: 0.000001, supports_reasoning: true },
      params: { allowed_openai_params: ['reasoning_effort'] },
    }),
    deployment('test-unpriced', {}),
    // Falls back to test-small.
    deployment('test-primary', { info: { input_cost_per_token: 0.000003, output_cost_per_token: 0.000015 } }),
    // Two deployments of different prices behind one alias.
    deployment('test-two', {
      id: 'test-two-a',
      as: 'openai/test-two-a',
      info: { input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 },
    }),
    deployment('test-two', {
      id: 'test-two-b',
      as: 'openai/test-two-b',
      info: { input_cost_per_token: 0.000003, output_cost_per_token: 0.000004 },
    }),
    // Its price stands in the list that comes with LiteLLM, and nowhere else.
    deployment('test-known', { as: 'openai/gpt-4o-mini' }),
    deployment('test-other-provider', { as: 'groq/llama-3.3-70b-versatile' }),
    deployment('test-embedding', {
      info: { mode: 'embedding', input_cost_per_token: 0.00000002, output_cost_per_token: 0 },
    }),
  ];
}

/** Of the router: after failures, for prompts that are too long, and for content that a provider refuses. */
export const FALLBACKS = {
  fallbacks: [{ 'test-primary': ['test-small'] }],
  context_window_fallbacks: [{ 'test-small': ['test-known'] }],
  content_policy_fallbacks: [{ 'test-primary': ['test-two'] }],
};

/** One less than the product's: the proxy waits seconds before the second one. */
export const RETRIES = 1;
