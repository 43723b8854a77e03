import type { UpstreamConfig } from '../src/config';
import type { SeedModel } from './seed-plans';

/** Milliseconds that the seed waits for the list: without it the plans follow at the next start. */
const PATIENCE_MS = 10_000;

interface GroupInfo {
  model_group?: string;
  providers?: string[];
  mode?: string | null;
  output_cost_per_token?: number | null;
}
interface ListedModel {
  id?: string;
}

/** What the upstream serves, as far as the demonstration's plans care; empty when it does not say. */
export async function readSeedModels(upstream: UpstreamConfig): Promise<SeedModel[]> {
  try {
    if (upstream.kind === 'LITELLM')
      return fromGroups(await ask(`${upstream.baseUrl}/model_group/info`, upstream.masterKey));
    return fromList(await ask(`${upstream.baseUrl}/models`, upstream.apiKey), upstream.provider);
  } catch {
    return [];
  }
}

async function ask(url: string, key: string | null): Promise<unknown[]> {
  const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = (await response.json()) as { data?: unknown };
  return response.ok && Array.isArray(body.data) ? body.data : [];
}

function fromGroups(groups: unknown[]): SeedModel[] {
  return (groups as GroupInfo[]).flatMap(({ model_group: id, providers, mode, output_cost_per_token: price }) =>
    id
      ? [
          {
            id,
            provider: providers?.[0] ?? null,
            outputPrice: typeof price === 'number' ? price : null,
            chat: mode == null || mode === 'chat' || mode === 'responses',
          },
        ]
      : [],
  );
}

function fromList(models: unknown[], provider: string): SeedModel[] {
  return (models as ListedModel[]).flatMap(({ id }) =>
    id ? [{ id, provider, outputPrice: null, chat: !/embed|whisper|tts|dall|image|moderation/i.test(id) }] : [],
  );
}
