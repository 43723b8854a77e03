import { Client } from 'pg';
import { litellmHealth, probe } from '../../../src/services/upstream/litellm/detect';
import { probeLitellm } from '../../../launch/litellm';
import type { LitellmRig } from '../../support/litellm-rig';

export function runningCases(rig: LitellmRig): void {
  it('[1] says without a key that it is alive, and so is known for a LiteLLM', async () => {
    const { status, body } = await rig.litellm.ask('/health/liveliness', { key: null });
    expect([status, body]).toEqual([200, "I'm alive!"]);
    expect(await probe(rig.litellm.baseUrl)).toBe('LITELLM');
    expect(await probe(rig.litellm.provider.url)).toBe('OTHER');
  });

  it('[2] says without a key that it has its database, and /health/ready of the product passes that on', async () => {
    expect(await rig.litellm.ask('/health/readiness', { key: null })).toMatchObject({
      status: 200,
      body: { db: 'connected' },
    });
    expect(await litellmHealth(rig.litellm.baseUrl)).toEqual({ state: 'UP', detail: null });
    const ready = await fetch(new URL('/health/ready', rig.app.url));
    expect(ready.status).toBe(200);
  });

  it('[3] serves the models of its configuration, and knows list prices without the network', async () => {
    const { body } = await rig.litellm.ask('/v1/model/info');
    expect(deploymentOf(body, 'test-chat-1')).toMatchObject({
      model_name: 'test-chat',
      model_info: { input_cost_per_token: 0.0000025 },
    });
    expect(deploymentOf(body, 'test-known-1').model_info).toMatchObject({
      input_cost_per_token: 0.00000015,
      output_cost_per_token: 0.0000006,
      max_input_tokens: 128_000,
    });
  });

  it('[4] finds a spend row by our call id through an index', async () => {
    const client = new Client({ connectionString: rig.litellm.databaseUrl });
    await client.connect();
    try {
      const { rows } = await client.query(
        `SELECT indexdef FROM pg_indexes WHERE tablename = 'LiteLLM_SpendLogs' AND indexdef LIKE '%(litellm_call_id)%'`,
      );
      expect(rows).toHaveLength(1);
    } finally {
      await client.end();
    }
  });

  it('[18] lets administrators list keys, and nobody else: so a master key is told from a wrong one', async () => {
    const { baseUrl, masterKey } = rig.litellm;
    expect(await probeLitellm(baseUrl, masterKey)).toBe('ACCEPTED');
    expect(await probeLitellm(baseUrl, 'sk-not-the-master-key')).toBe('KEY_REFUSED');
    const { body } = await rig.litellm.ask('/key/generate', { body: { models: ['test-small'] } });
    expect(await probeLitellm(baseUrl, body.key)).toBe('KEY_REFUSED');
  });
}

export const deploymentOf = (body: any, id: string): any =>
  body.data.find((deployment: any) => deployment.model_info.id === id);
