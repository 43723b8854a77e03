/**
 * What went wrong upstream, once and for all in our words. The table is in docs/litellm.md; types and shapes were
 * measured, not read in a manual.
 */
export type UpstreamErrorKind =
  | 'ABORTED' // by us
  | 'ACCESS_DENIED' // the key or its team may not use the model
  | 'KEY_REJECTED' // the proxy does not know our key, or it is blocked or expired
  | 'MODEL_UNAVAILABLE'
  | 'RATE_LIMITED'
  | 'CONTEXT_TOO_LONG'
  | 'CONTENT_BLOCKED'
  | 'PROXY_BUDGET'
  | 'INVALID_REQUEST'
  | 'TIMEOUT'
  | 'INTERRUPTED' // after the first byte
  | 'FAILED';

export interface UpstreamErrorDetails {
  retryable?: boolean;
  /** Milliseconds. */
  retryAfterMs?: number | null;
  origin?: 'PROXY' | 'PROVIDER';
  dimension?: 'REQUESTS' | 'TOKENS' | 'PARALLEL_CALLS' | 'UNKNOWN';
  /** HTTP status; null: no answer came. */
  status?: number | null;
  cause?: unknown;
}

/** `message` holds the upstream's own words: for the log (redacted), never for a client. */
export class UpstreamError extends Error {
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
  readonly origin: 'PROXY' | 'PROVIDER';
  readonly dimension: 'REQUESTS' | 'TOKENS' | 'PARALLEL_CALLS' | 'UNKNOWN';
  readonly status: number | null;

  constructor(
    readonly kind: UpstreamErrorKind,
    message: string,
    details: UpstreamErrorDetails = {},
  ) {
    super(message.slice(0, 2_000), { cause: details.cause });
    this.name = 'UpstreamError';
    this.retryable = details.retryable ?? false;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.origin = details.origin ?? 'PROVIDER';
    this.dimension = details.dimension ?? 'UNKNOWN';
    this.status = details.status ?? null;
  }
}

/** No HTTP answer at all: refused, reset, name not found, TLS. `begun`: bytes of the answer had come. */
export function mapNetworkError(error: unknown, begun: boolean): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const { code, message } = error as { code?: string; message?: string };
  const text = `${code ?? ''} ${message ?? String(error)}`.trim();
  if (begun) return new UpstreamError('INTERRUPTED', text, { retryable: true, cause: error });
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return new UpstreamError('TIMEOUT', text, { retryable: true, cause: error });
  return new UpstreamError('MODEL_UNAVAILABLE', text, {
    retryable: true,
    retryAfterMs: 2_000,
    origin: 'PROXY',
    cause: error,
  });
}
