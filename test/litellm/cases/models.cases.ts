import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { LitellmModelSource } from '../../../src/services/catalog/litellm-model-source';
import { FALLBACKS } from '../../support/litellm-models';
import type { LitellmRig } from '../../support/litellm-rig';
import { deploymentOf } from './running.cases';

const MODELS = `query ($all: Boolean! = false) { models(includeUnavailable: $all) { stale source items { id provider mode contextWindow maxOutputTokens capabilities available unavailableReason price { inputPerMillion outputPerMillion source } } } }`;

export function modelCases(rig: LitellmRig): void {
  const modelsOf = async (planId: string, all = false): Promise<any> => {
    const user = await rig.user(planId);
    const { data, errors } = await rig.app.graphql(user.token, MODELS, { all });
    expect(errors).toBeNull();
    return data.models;
  };
  const ids = (list: any): string[] => list.items.map((model: any) => model.id).sort();

  it('[5] lists to a key the models that it may use, and no others', async () => {
    const { body } = await rig.litellm.ask('/key/generate', { body: { models: ['test-small', 'test-embedding'] } });
    const own = await rig.litellm.ask('/v1/models', { key: body.key });
    expect(ids({ items: own.body.data })).toEqual(['test-embedding', 'test-small']);
    const all = await rig.litellm.ask('/v1/models');
    expect(ids({ items: all.body.data })).toContain('test-chat');
  });

  it('[6, 8] tells of each alias its provider, its mode, its limits and what it can do', async () => {
    const { body } = await rig.litellm.ask('/model_group/info');
    const group = (name: string): any => body.data.find((entry: any) => entry.model_group === name);
    expect(group('test-chat')).toMatchObject({
      providers: ['openai'],
      mode: 'chat',
      max_input_tokens: 128_000,
      max_output_tokens: 16_384,
      supports_vision: true,
      supports_function_calling: true,
      supports_reasoning: false,
    });
    expect(group('test-embedding')).toMatchObject({ providers: ['openai'], mode: 'embedding' });
    expect(group('test-other-provider').providers).toEqual(['groq']);
  });

  it('[7] tells of each deployment its id and its prices, null where it knows none', async () => {
    const { body } = await rig.litellm.ask('/v1/model/info');
    expect(deploymentOf(body, 'test-chat-1')).toMatchObject({
      model_name: 'test-chat',
      litellm_params: { model: 'openai/test-chat' },
      model_info: {
        input_cost_per_token: 0.0000025,
        output_cost_per_token: 0.00001,
        cache_read_input_token_cost: 0.00000025,
      },
    });
    expect(deploymentOf(body, 'test-reasoner-1').model_info.output_cost_per_reasoning_token).toBe(0.000001);
    expect(deploymentOf(body, 'test-two-a').model_name).toBe('test-two');
    expect(deploymentOf(body, 'test-two-b').model_name).toBe('test-two');
    expect(deploymentOf(body, 'test-unpriced-1').model_info.input_cost_per_token ?? null).toBeNull();
  });

  it('[51] tells the administrator, and nobody else, what its router falls back to, of every kind', async () => {
    const { status, body } = await rig.litellm.ask('/router/settings');
    expect(status).toBe(200);
    expect(body.current_values).toMatchObject({ ...FALLBACKS, model_group_alias: {} });
    const user = await rig.litellm.ask('/key/generate', { body: { models: ['test-small'] } });
    expect((await rig.litellm.ask('/router/settings', { key: user.body.key })).status).toBe(401);
  });

  it('every model comes with the fallbacks of its fallbacks', async () => {
    const admin = new LitellmAdmin({ baseUrl: rig.litellm.baseUrl, masterKey: rig.litellm.masterKey });
    const { models, fallbacksUnknown } = await new LitellmModelSource({ admin }).fetch().finally(() => admin.close());
    expect(fallbacksUnknown).toBeUndefined();
    const fallbacks = (id: string): unknown => models.find((model) => model.id === id)?.fallbacks;
    expect(fallbacks('test-primary')).toEqual(['test-small', 'test-two', 'test-known']);
    expect(fallbacks('test-small')).toEqual(['test-known']);
    expect(fallbacks('test-chat')).toEqual([]);
  });

  it('a user sees the models of the plan, by exact id and by provider/*', async () => {
    expect(ids(await modelsOf(await rig.plan(['test-small'])))).toEqual(['test-small']);
    expect(ids(await modelsOf(await rig.plan(['groq/*', 'test-chat'])))).toEqual(['test-chat', 'test-other-provider']);
    const openai = ids(await modelsOf(rig.planId));
    expect(openai).toEqual(
      expect.arrayContaining(['test-chat', 'test-embedding', 'test-known', 'test-small', 'test-two', 'test-unpriced']),
    );
    expect(openai).not.toContain('test-other-provider');
  });

  it('a model comes with what the proxy says of it, and with its price', async () => {
    const list = await modelsOf(rig.planId, true);
    expect(list).toMatchObject({ stale: false, source: 'PROXY' });
    const model = (id: string): any => list.items.find((entry: any) => entry.id === id);
    expect(model('test-chat')).toMatchObject({
      provider: 'openai',
      mode: 'CHAT',
      contextWindow: 128_000,
      maxOutputTokens: 16_384,
      available: true,
      price: { inputPerMillion: '2.5', outputPerMillion: '10', source: 'PROXY' },
    });
    expect(model('test-chat').capabilities).toEqual(
      expect.arrayContaining(['STREAMING', 'TOOLS', 'VISION', 'STRUCTURED_OUTPUT']),
    );
    expect(model('test-unpriced').price).toBeNull();
    expect(model('test-other-provider')).toMatchObject({
      provider: 'groq',
      available: false,
      unavailableReason: 'NOT_ON_PLAN',
    });
  });
}
