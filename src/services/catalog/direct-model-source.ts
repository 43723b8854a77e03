import { Agent, request } from 'undici';
import { AppError } from '../../errors';
import { knownModel } from '../pricing/fallback-prices';
import { modelLabel } from './model-label';
import type { ModelSourceAnswer, ModelSourceClient } from './model-source';
import type { CatalogModel } from '../../domain/model';

export interface DirectModelSourceOptions {
  /** With `/v1`. */
  baseUrl: string;
  apiKey: string | null;
  /** As plans name it in `provider/*`. */
  provider: string;
  /** Milliseconds to the end of the answer. */
  timeoutMs?: number;
}

// More than any provider lists; what is longer is no list of models.
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/**
 * The models of an OpenAI-compatible server, from GET /models. It tells ids and nothing else; limits are known for
 * well-known models only.
 */
export class DirectModelSource implements ModelSourceClient {
  readonly upstream = 'DIRECT';
  private readonly agent: Agent;
  private readonly timeoutMs: number;

  constructor(private readonly options: DirectModelSourceOptions) {
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.agent = new Agent({
      connections: 2,
      connect: { timeout: 3_000 },
      headersTimeout: this.timeoutMs,
      bodyTimeout: this.timeoutMs,
      maxResponseSize: MAX_ANSWER_BYTES,
    });
  }

  async fetch(): Promise<ModelSourceAnswer> {
    const ids = await this.ids();
    return {
      models: ids.map((id) => mapDirectModel(id, this.options.provider)),
      prices: ids.map((id) => ({
        model: id,
        deployment: null,
        rates: null,
        knownAs: namesOf(id, this.options.provider),
      })),
    };
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private async ids(): Promise<string[]> {
    let body: unknown;
    try {
      const response = await request(`${this.options.baseUrl}/models`, {
        dispatcher: this.agent,
        signal: AbortSignal.timeout(this.timeoutMs),
        headers: this.options.apiKey === null ? {} : { authorization: `Bearer ${this.options.apiKey}` },
      });
      if (response.statusCode !== 200) {
        await response.body.dump();
        throw new Error(`GET /models answered ${response.statusCode}`);
      }
      body = await response.body.json();
    } catch (error) {
      throw new AppError('SERVICE_UNAVAILABLE', {
        public: 'The model provider cannot be reached right now.',
        internal: `direct upstream: ${error instanceof Error ? error.message : String(error)}`,
        cause: error,
      });
    }
    const data = (body as { data?: unknown } | null)?.data;
    if (!Array.isArray(data))
      throw new AppError('SERVICE_UNAVAILABLE', { internal: 'direct upstream: GET /models has no list' });
    const ids = (data as { id?: unknown }[])
      .map((model) => model?.id)
      .filter((id) => typeof id === 'string' && id !== '');
    return [...new Set(ids as string[])];
  }
}

// Of a server that says which provider it is, its ids are that provider's; of any other, well-known names are what they
// say.
const namesOf = (id: string, provider: string): string[] => (provider === 'direct' ? [id] : [`${provider}/${id}`, id]);

function mapDirectModel(id: string, provider: string): CatalogModel {
  const known = knownModel(namesOf(id, provider));
  const embedding = known ? known.mode === 'EMBEDDING' : /(^|[-/_.])embed/i.test(id);
  return {
    id,
    label: modelLabel(id),
    provider,
    mode: embedding ? 'EMBEDDING' : 'CHAT',
    contextWindow: known?.contextWindow ?? null,
    maxOutputTokens: known?.maxOutputTokens ?? null,
    capabilities: embedding ? [] : ['STREAMING'],
    fallbacks: [],
  };
}
