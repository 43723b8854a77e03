import { LitellmModelSource } from '../../../src/services/catalog/litellm-model-source';
import { modelLabel } from '../../../src/services/catalog/model-label';

describe('the models of the proxy', () => {
  it('puts together what its lists and its router say', async () => {
    const source = new LitellmModelSource({
      admin: {
        models: async () => [{ id: 'smart' }, { id: 'smart' }, { id: 'openai/*' }, { id: 'embed' }, { id: 'bare' }],
        modelGroups: async () => [
          {
            model_group: 'smart',
            providers: ['anthropic'],
            mode: 'chat',
            max_input_tokens: 200_000,
            max_output_tokens: 64_000,
            supports_vision: true,
            supports_function_calling: true,
            supports_reasoning: false,
          },
          {
            model_group: 'embed',
            providers: ['openai'],
            mode: 'embedding',
            max_input_tokens: 8_191,
            input_cost_per_token: 2e-8,
          },
        ],
        deployments: async () => [
          {
            model_name: 'smart',
            litellm_params: { model: 'anthropic/claude-sonnet-4-5' },
            model_info: {
              id: 'd1',
              supports_prompt_caching: true,
              max_output_tokens: 32_000,
              input_cost_per_token: 3e-6,
              output_cost_per_token: 15e-6,
            },
          },
          {
            model_name: 'smart',
            litellm_params: { model: 'anthropic/claude-mystery' },
            model_info: { id: 'd2', input_cost_per_token: null, output_cost_per_token: null },
          },
        ],
        routing: async () => ({ fallbacks: [{ smart: ['bare'] }], context_window_fallbacks: [{ bare: ['other'] }] }),
      },
    });
    const { models, prices, fallbacksUnknown } = await source.fetch();
    expect(fallbacksUnknown).toBeUndefined();
    expect(models).toEqual([
      {
        id: 'smart',
        label: 'Smart',
        provider: 'anthropic',
        mode: 'CHAT',
        contextWindow: 200_000,
        maxOutputTokens: 32_000,
        capabilities: ['TOOLS', 'VISION', 'PROMPT_CACHE', 'STREAMING'],
        fallbacks: ['bare', 'other'],
      },
      {
        id: 'embed',
        label: 'Embed',
        provider: 'openai',
        mode: 'EMBEDDING',
        contextWindow: 8_191,
        maxOutputTokens: null,
        capabilities: [],
        fallbacks: [],
      },
      {
        id: 'bare',
        label: 'Bare',
        provider: null,
        mode: 'CHAT',
        contextWindow: null,
        maxOutputTokens: null,
        capabilities: ['STREAMING'],
        fallbacks: ['other'],
      },
    ]);
    expect(prices).toEqual([
      {
        model: 'smart',
        deployment: 'd1',
        rates: { input: '0.000003', output: '0.000015' },
        knownAs: ['anthropic/claude-sonnet-4-5'],
      },
      { model: 'smart', deployment: 'd2', rates: null, knownAs: ['anthropic/claude-mystery'] },
      { model: 'embed', deployment: null, rates: { input: '0.00000002', output: '0' }, knownAs: ['embed'] },
      { model: 'bare', deployment: null, rates: null, knownAs: ['bare'] },
    ]);
  });

  it('are listed also where the router does not say its fallbacks', async () => {
    const refused = new Error('404');
    const source = new LitellmModelSource({
      admin: {
        models: async () => [{ id: 'smart' }],
        modelGroups: async () => [],
        deployments: async () => [],
        routing: () => Promise.reject(refused),
      },
    });
    expect(await source.fetch()).toMatchObject({ models: [{ id: 'smart', fallbacks: [] }], fallbacksUnknown: refused });
  });
});

describe('labels', () => {
  it.each([
    ['claude-sonnet-4-5', 'Claude Sonnet 4.5'],
    ['claude-haiku-4-5-20251001', 'Claude Haiku 4.5 20251001'],
    ['gpt-4o-mini', 'GPT-4o mini'],
    ['openai/gpt-oss-120b', 'GPT OSS 120b'],
    ['gemini-2.5-pro', 'Gemini 2.5 Pro'],
    ['deepseek-chat', 'DeepSeek Chat'],
    ['o3', 'o3'],
    ['demo-small', 'Demo Small'],
    ['---', '---'],
  ])('%s reads %s', (id, label) => {
    expect(modelLabel(id)).toBe(label);
  });
});
