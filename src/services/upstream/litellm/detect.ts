import { request } from 'undici';

export type ProbeResult = 'LITELLM' | 'OTHER' | 'NO_ANSWER';

/**
 * What answers at this address? `/health/liveliness` needs no key and does no work; nobody else has it under this name.
 */
export async function probe(baseUrl: string, timeoutMs = 3_000): Promise<ProbeResult> {
  try {
    const response = await request(`${baseUrl}/health/liveliness`, { signal: AbortSignal.timeout(timeoutMs) });
    const text = await response.body.text();
    if (response.statusCode === 200 && /alive/i.test(text)) return 'LITELLM';
    return response.statusCode >= 502 && response.statusCode <= 504 ? 'NO_ANSWER' : 'OTHER';
  } catch {
    return 'NO_ANSWER';
  }
}

/** The proxy's own word about itself. Its status code is 200 also while its database is away: the body counts. */
export async function litellmHealth(
  baseUrl: string,
): Promise<{ state: 'UP' | 'DEGRADED' | 'DOWN'; detail: string | null }> {
  const response = await request(`${baseUrl}/health/readiness`, { signal: AbortSignal.timeout(2_500) });
  const text = await response.body.text();
  if (response.statusCode !== 200) return { state: 'DOWN', detail: `answers ${response.statusCode}` };
  const body = JSON.parse(text) as { status?: string; db?: string };
  return body.db === 'connected'
    ? { state: 'UP', detail: null }
    : { state: 'DEGRADED', detail: 'the proxy has no database' };
}

/** An OpenAI-compatible server is up when it lists its models. */
export async function directHealth(
  baseUrl: string,
  apiKey: string | null,
): Promise<{ state: 'UP' | 'DOWN'; detail: string | null }> {
  const response = await request(`${baseUrl}/models`, {
    headers: apiKey ? { authorization: `Bearer ${apiKey}` } : {},
    signal: AbortSignal.timeout(2_500),
  });
  await response.body.dump();
  return response.statusCode < 500
    ? {
        state: 'UP',
        detail: response.statusCode === 200 ? null : `answers ${response.statusCode} to the list of models`,
      }
    : { state: 'DOWN', detail: `answers ${response.statusCode}` };
}
