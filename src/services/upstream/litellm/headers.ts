import type { SpendMetadata, UpstreamHead, UpstreamRequest } from '../upstream';

type ResponseHeaders = Record<string, string | string[] | undefined>;

const one = (headers: ResponseHeaders, name: string): string | null => {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
};
const count = (headers: ResponseHeaders, name: string): number => {
  const value = Number(one(headers, name) ?? 0);
  return Number.isInteger(value) && value > 0 && value < 1_000 ? value : 0;
};

/** A dollar figure of the proxy as decimal text. Zero is not a price there: unpriced models and all streams say 0.0. */
export function proxyCost(value: unknown): string | null {
  const text = typeof value === 'number' || typeof value === 'string' ? String(value) : '';
  return text.length <= 40 && /^\d+(\.\d+)?([eE][+-]?\d{1,2})?$/.test(text) && Number(text) > 0 ? text : null;
}

/** Characters of one value: ours are ids and short words, and a header is bounded. */
const MAX_VALUE = 128;

/** JSON for a header, which is ASCII: other characters are escaped, as JSON allows. */
const asciiJson = (metadata: SpendMetadata): string =>
  JSON.stringify(metadata, (_key, value: unknown) =>
    typeof value === 'string' ? value.slice(0, MAX_VALUE) : value,
  ).replace(/[^\x20-\x7e]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** What is sent with a call to the proxy. No spend tags: a tag that matches no deployment refuses the call. */
export const litellmRequestHeaders = (request: UpstreamRequest): Record<string, string> => ({
  'x-litellm-call-id': request.callId,
  // Should we vanish without a word, the proxy waits for the provider no longer than we would have. Seconds.
  'x-litellm-timeout': String(Math.ceil(request.timeoutMs / 1_000)),
  'x-litellm-spend-logs-metadata': asciiJson(request.metadata),
});

export const litellmHead = (headers: ResponseHeaders): UpstreamHead => ({
  servedModel: one(headers, 'x-litellm-model-group'),
  deployment: one(headers, 'x-litellm-model-id'),
  attempts: 1 + count(headers, 'x-litellm-attempted-retries') + count(headers, 'x-litellm-attempted-fallbacks'),
  cost: proxyCost(one(headers, 'x-litellm-response-cost')),
  // Only an answer from the cache has this header.
  fromCache: one(headers, 'x-litellm-cache-key') !== null,
});
