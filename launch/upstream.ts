import type { DirectUpstream, UpstreamConfig } from '../src/config';
import type { LitellmProbe } from './litellm';

export type Env = Record<string, string | undefined>;

/** Where a LiteLLM of the machine is looked for. */
export const USUAL_LITELLM = 'http://127.0.0.1:4000';

/** What the search needs; all of it is replaced in tests. */
export interface UpstreamTools {
  /** Does a LiteLLM answer there, and take this key for an administrator's? */
  probe(baseUrl: string, masterKey: string): Promise<LitellmProbe>;
  /**
   * Starts a LiteLLM of our own (after installing it, where that is needed), with what it needs behind it. Throws when
   * it cannot be had.
   */
  startOwnLitellm(): Promise<{ baseUrl: string; masterKey: string; detail: string }>;
  /** The demonstration provider, for use without LiteLLM. `baseUrl` with `/v1`. */
  startDemoProvider(): Promise<{ baseUrl: string }>;
}

export interface FoundUpstream {
  config: UpstreamConfig;
  /** For the last lines of the start. */
  description: string;
  /** One line, said loudly. */
  warning: string | null;
}

/**
 * The upstream, in this order: LLM_BASE_URL; a LiteLLM on port 4000 that accepts LITELLM_MASTER_KEY; a LiteLLM of our
 * own; the demonstration provider without LiteLLM. Throws when the person configured something that contradicts what
 * answers there.
 */
export async function findUpstream(env: Env, tools: UpstreamTools): Promise<FoundUpstream> {
  const given = text(env.LLM_BASE_URL);
  const masterKey = text(env.LITELLM_MASTER_KEY);
  if (given) return useGiven(given.replace(/\/+$/, ''), masterKey, env, tools);
  if (masterKey && (await tools.probe(USUAL_LITELLM, masterKey)) === 'ACCEPTED') {
    return {
      config: litellm(USUAL_LITELLM, masterKey),
      description: `LiteLLM, already running on ${USUAL_LITELLM}`,
      warning: null,
    };
  }
  try {
    const own = await tools.startOwnLitellm();
    return {
      config: litellm(own.baseUrl, own.masterKey),
      description: `LiteLLM on ${own.baseUrl}, started for this, ${own.detail}`,
      warning: null,
    };
  } catch (error) {
    if (error instanceof StoppedMeanwhile) throw error;
    const demo = await tools.startDemoProvider();
    return {
      config: { kind: 'DIRECT', baseUrl: demo.baseUrl, apiKey: null, provider: 'demo' },
      description: 'the demonstration provider, without LiteLLM',
      warning: `NO LITELLM: ${firstLine(error)} So there are no virtual keys, fallbacks or spend records of the proxy, and the answers are a demonstration.`,
    };
  }
}

/** Thrown by tools when the start is being stopped: no reason to try something else. */
export class StoppedMeanwhile extends Error {}

async function useGiven(
  given: string,
  masterKey: string | null,
  env: Env,
  tools: UpstreamTools,
): Promise<FoundUpstream> {
  const direct: DirectUpstream = {
    kind: 'DIRECT',
    baseUrl: given,
    apiKey: text(env.LLM_API_KEY),
    provider: text(env.LLM_PROVIDER) ?? 'direct',
  };
  const plain = { config: direct, description: `${given}, directly (LLM_BASE_URL)`, warning: null };
  if (!masterKey) return plain;
  const root = given.replace(/\/v1$/, '');
  const answer = await tools.probe(root, masterKey);
  if (answer === 'NO_LITELLM')
    return {
      ...plain,
      warning:
        'LITELLM_MASTER_KEY is set, but LLM_BASE_URL does not answer like a LiteLLM: it is used directly, without virtual keys.',
    };
  if (answer === 'KEY_REFUSED')
    throw new Error(`The LiteLLM at ${root} does not accept LITELLM_MASTER_KEY. Set the key that it was started with.`);
  const warning = answer === 'NO_ANSWER' ? `The LiteLLM at ${root} does not answer yet; calls wait for it.` : null;
  return { config: litellm(root, masterKey, direct), description: `LiteLLM on ${root} (LLM_BASE_URL)`, warning };
}

const litellm = (baseUrl: string, masterKey: string, otherwise: DirectUpstream | null = null): UpstreamConfig => ({
  kind: 'LITELLM',
  baseUrl,
  masterKey,
  otherwise,
});
const text = (value: string | undefined): string | null => value?.trim() || null;

function firstLine(error: unknown): string {
  const line = (error instanceof Error ? error.message : String(error)).split('\n')[0]!.trim();
  return /[.!?]$/.test(line) ? line : `${line}.`;
}
