import { proxyCost } from './headers';
import type { UpstreamUsage } from '../upstream';
import type { TokenBuckets } from '../../../domain/money';

/**
 * More than any context window: a count above it is a fault of the upstream, whatever the call. What the call itself
 * rules out, settlement refuses, which knows it (`plausible`).
 */
const ABSURD = 100_000_000;

type Shape = Record<string, unknown>;
const part = (value: unknown): Shape => (typeof value === 'object' && value !== null ? (value as Shape) : {});

/**
 * OpenAI's usage object, with the proxy's additions, as disjoint buckets. `prompt_tokens` includes cached and
 * cache-writing tokens,
 * `completion_tokens` includes reasoning. null when there is none or it is absurd (negative, not whole, parts above
 * their whole).
 */
export function readUsage(
  raw: unknown,
  upstream: 'LITELLM' | 'DIRECT',
  streamed: boolean,
  serviceTier?: unknown,
): UpstreamUsage | null {
  if (typeof raw !== 'object' || raw === null) return null;
  const usage = raw as Shape;
  const promptDetails = part(usage.prompt_tokens_details);
  const completionDetails = part(usage.completion_tokens_details);
  const creationDetails = part(promptDetails.cache_creation_token_details);

  const prompt = usage.prompt_tokens;
  const completion = usage.completion_tokens;
  const cacheRead = promptDetails.cached_tokens ?? usage.cache_read_input_tokens ?? 0;
  const cacheWrite = promptDetails.cache_creation_tokens ?? usage.cache_creation_input_tokens ?? 0;
  const oneHour = creationDetails.ephemeral_1h_input_tokens ?? 0;
  const reasoning = completionDetails.reasoning_tokens ?? 0;

  const counts = [prompt, completion, cacheRead, cacheWrite, oneHour, reasoning];
  if (!counts.every((n): n is number => Number.isInteger(n) && (n as number) >= 0 && (n as number) < ABSURD))
    return null;
  const [p, c, read, write, hour, think] = counts as [number, number, number, number, number, number];
  if (read + write > p || think > c || hour > write) return null;
  // No call is without a prompt: these zeros are the proxy's, where the provider of a whole answer said nothing.
  if (p === 0 && c === 0) return null;
  const tokens: TokenBuckets = {
    uncachedPrompt: p - read - write,
    cacheRead: read,
    cacheWrite: write,
    cacheWriteOneHour: hour,
    output: c - think,
    reasoning: think,
  };
  // The proxy fills in a count of its own where a streaming provider gave none, and does not say so; the one sign is
  // that the details are missing.
  const fromProvider =
    upstream === 'DIRECT' ||
    !streamed ||
    (usage.prompt_tokens_details !== undefined && usage.prompt_tokens_details !== null);
  return {
    tokens,
    fromProvider,
    raw: keepable(usage),
    cost: proxyCost(usage.cost),
    serviceTier: serviceTierOf(serviceTier ?? usage.service_tier),
  };
}

/**
 * OpenAI names the tier beside the usage (`default`, `flex`, `priority`), Anthropic within it (`standard`, `priority`,
 * `batch`). The usual one is null.
 */
function serviceTierOf(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > 50 || !/^[\w-]+$/.test(value)) return null;
  const tier = value.toLowerCase();
  return ['default', 'auto', 'standard', 'standard_only'].includes(tier) ? null : tier;
}

/**
 * Figures and short words, a few levels deep: what a usage object is made of. Anything else is cut, since it is stored
 * with every call.
 */
function keepable(usage: Shape, depth = 0): Shape {
  const kept: Shape = {};
  for (const [key, value] of Object.entries(usage).slice(0, 50)) {
    if (key.length > 100 || key === '__proto__' || key.includes('\0') || !key.isWellFormed()) continue;
    if (typeof value === 'number' || typeof value === 'boolean' || value === null) kept[key] = value;
    else if (typeof value === 'string' && value.length <= 200) kept[key] = value;
    else if (typeof value === 'object' && !Array.isArray(value) && depth < 3)
      kept[key] = keepable(value as Shape, depth + 1);
  }
  return kept;
}
