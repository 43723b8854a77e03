import {
  canonicalRates,
  isFreeOnPurpose,
  ratesKey,
  ratesOfModelInfo,
} from '../../../src/services/pricing/canonical-rates';
import { knownModel } from '../../../src/services/pricing/fallback-prices';

describe('rates from the proxy', () => {
  it('takes every bucket as an exact decimal', () => {
    const info = {
      input_cost_per_token: 3e-6,
      output_cost_per_token: 1.5e-5,
      cache_read_input_token_cost: 3e-7,
      cache_creation_input_token_cost: 3.75e-6,
      cache_creation_input_token_cost_above_1hr: 6e-6,
      output_cost_per_reasoning_token: 2e-5,
      input_cost_per_request: 0.005,
    };
    expect(ratesOfModelInfo(info)).toEqual({
      input: '0.000003',
      output: '0.000015',
      cacheRead: '0.0000003',
      cacheWrite: '0.00000375',
      cacheWriteOneHour: '0.000006',
      reasoning: '0.00002',
      perRequest: '0.005',
    });
  });

  it.each([
    ['nothing', {}],
    ['null prices', { input_cost_per_token: null, output_cost_per_token: null }],
    ['an input price alone', { input_cost_per_token: 1e-6, output_cost_per_token: null }],
    ['zeros that the proxy filled in', { input_cost_per_token: 0, output_cost_per_token: 0.0 }],
    ['a negative price', { input_cost_per_token: -1e-6, output_cost_per_token: 1e-6 }],
    ['something that is no number', { input_cost_per_token: 'free', output_cost_per_token: {} }],
  ])('is no price for %s', (_case, info) => {
    expect(ratesOfModelInfo(info)).toBeNull();
  });

  it('zeros are a price where the configuration of the deployment names them', () => {
    const info = {
      input_cost_per_token: 0,
      output_cost_per_token: 0,
      pricing_overrides: ['input_cost_per_token', 'output_cost_per_token'],
    };
    expect(isFreeOnPurpose(info, {})).toBe(true);
    expect(isFreeOnPurpose({}, { input_cost_per_token: 0, output_cost_per_token: 0 })).toBe(true);
    expect(isFreeOnPurpose({ pricing_overrides: [] }, { input_cost_per_token: 0 })).toBe(false);
    expect(ratesOfModelInfo(info, true)).toEqual({ input: '0', output: '0' });
  });

  it('an embedding model needs no output price', () => {
    expect(ratesOfModelInfo({ mode: 'embedding', input_cost_per_token: 2e-8 })).toEqual({
      input: '0.00000002',
      output: '0',
    });
  });

  it('reads length tiers, and a field that a tier lacks keeps the rate below', () => {
    const info = {
      input_cost_per_token: 1e-6,
      output_cost_per_token: 2e-6,
      cache_read_input_token_cost: 1e-7,
      input_cost_per_token_above_200k_tokens: 4e-6,
      cache_read_input_token_cost_above_200k_tokens: null,
      output_cost_per_token_above_128k_tokens: 3e-6,
      input_cost_per_token_above_200k_tokens_priority: 9e-6,
    };
    expect(ratesOfModelInfo(info)?.tiers).toEqual([
      { abovePromptTokens: 128_000, input: '0.000001', output: '0.000003', cacheRead: '0.0000001' },
      { abovePromptTokens: 200_000, input: '0.000004', output: '0.000003', cacheRead: '0.0000001' },
    ]);
  });

  it('a provider that charges from the bound on has its bound one token lower', () => {
    const info = {
      litellm_provider: 'xai',
      input_cost_per_token: 1e-6,
      output_cost_per_token: 2e-6,
      input_cost_per_token_above_200k_tokens: 2e-6,
    };
    expect(ratesOfModelInfo(info)?.tiers?.[0]?.abovePromptTokens).toBe(199_999);
  });

  it('reads a table of ranges', () => {
    const rows = [
      { range: [256_000, 1_000_000], input_cost_per_token: 2e-6, output_cost_per_token: 4e-6 },
      {
        range: [0, 256_000],
        input_cost_per_token: 1e-6,
        output_cost_per_token: 3e-6,
        output_cost_per_reasoning_token: 5e-6,
      },
    ];
    expect(ratesOfModelInfo({ input_cost_per_token: 0, output_cost_per_token: 0, tiered_pricing: rows })).toEqual({
      input: '0.000001',
      output: '0.000003',
      reasoning: '0.000005',
      tiers: [{ abovePromptTokens: 256_000, input: '0.000002', output: '0.000004' }],
    });
  });

  it('equal rates have one form, however they are written', () => {
    expect(ratesKey({ output: '2.50', input: '1e-6', tiers: [] })).toBe(
      ratesKey({ input: '0.000001', output: '2.5', cacheRead: undefined }),
    );
    expect(ratesKey({ input: '1', output: '2', cacheRead: '1' })).not.toBe(ratesKey({ input: '1', output: '2' }));
    expect(
      canonicalRates({
        input: '1',
        output: '1',
        tiers: [
          { abovePromptTokens: 9, input: '1', output: '1' },
          { abovePromptTokens: 3, input: '1', output: '1' },
        ],
      }).tiers?.map((tier) => tier.abovePromptTokens),
    ).toEqual([3, 9]);
  });
});

describe('the shipped table', () => {
  it.each([
    'gpt-4o-mini',
    'openai/gpt-4o-mini',
    'azure/gpt-4o-mini',
    'openrouter/openai/gpt-4o-mini',
    'gpt-4o-mini-2024-07-18',
    'GPT-4o-mini',
  ])('knows %s', (name) => {
    expect(knownModel([name])?.rates).toEqual({ input: '0.00000015', output: '0.0000006', cacheRead: '0.000000075' });
  });

  it('prefers the exact dated version', () => {
    expect(knownModel(['gpt-4o-2024-05-13'])?.rates.input).toBe('0.000005');
    expect(knownModel(['gpt-4o-2024-11-20'])?.rates.input).toBe('0.0000025');
  });

  it.each(['demo-small', 'openai/demo-small', 'ollama/gpt-4o-mini', 'my-gpt-4o-mini', ''])(
    'guesses nothing for %p',
    (name) => {
      expect(knownModel([name])).toBeNull();
    },
  );

  it('takes the first name that it knows', () => {
    expect(knownModel(['groq/openai/gpt-oss-20b', 'gpt-4o'])?.provider).toBe('groq');
    expect(knownModel(['direct/gpt-4o', 'gpt-4o'])?.provider).toBe('openai');
  });
});
