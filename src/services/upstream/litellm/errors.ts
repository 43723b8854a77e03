import { UpstreamError, type UpstreamErrorDetails, type UpstreamErrorKind } from '../errors';

type Headers = Record<string, string | string[] | undefined>;
const header = (headers: Headers, name: string): string | null => {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? null;
};

/** Longest wait that we pass on: providers have been seen asking for days. */
const MAX_RETRY_AFTER_MS = 600_000;

/** A wait of nothing would make clients that obey it ask in a loop. */
const MIN_RETRY_AFTER_MS = 1_000;

/** Seconds or an HTTP date, as milliseconds from now; null for nonsense. */
export function retryAfterMs(value: string | null, nowMs = Date.now()): number | null {
  const text = value?.trim() ?? '';
  const ms = /^\d+(\.\d+)?$/.test(text)
    ? Number(text) * 1_000
    : /^[A-Z][a-z]{2}, /.test(text)
      ? Date.parse(text) - nowMs
      : Number.NaN;
  return Number.isFinite(ms) ? Math.min(Math.max(Math.ceil(ms), MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS) : null;
}

interface ErrorBody {
  message: string;
  type: string;
  param: string;
}

/** `{"error":{"message","type","param","code"}}` and what stands in its place: other JSON, HTML, nothing. */
function readBody(text: string): ErrorBody {
  try {
    const parsed = JSON.parse(text) as { error?: unknown; detail?: unknown };
    const error = (typeof parsed.error === 'object' && parsed.error ? parsed.error : {}) as Record<string, unknown>;
    const message = error.message ?? (typeof parsed.error === 'string' ? parsed.error : parsed.detail) ?? '';
    return {
      message: typeof message === 'string' ? message : JSON.stringify(message),
      type: String(error.type ?? ''),
      param: String(error.param ?? ''),
    };
  } catch {
    return { message: text.slice(0, 500), type: '', param: '' };
  }
}

/** The two cases that differ from other 400s in nothing but their text. */
const CONTEXT_TOO_LONG =
  /ContextWindowExceededError|context_length_exceeded|maximum context length|prompt is too long|input is too long|exceeds the (?:maximum|max) (?:number of )?(?:input )?tokens/i;
const CONTENT_BLOCKED =
  /ContentPolicyViolationError|content_policy|content_filter|content management policy|safety system|flagged (?:as|by)|violat\w+ .{0,40}polic/i;

/**
 * A provider's 422 to a stream, where the proxy may leave out parameters (`drop_params`): it has asked twice, and has
 * nothing to stream. A whole answer is `null` then.
 */
const NOTHING_TO_STREAM = "'NoneType' object has no attribute '__aiter__'";

/** An HTTP answer that is not 2xx. */
export function mapHttpError(status: number, headers: Headers, bodyText: string): UpstreamError {
  const body = readBody(bodyText);
  const text = `upstream answered ${status}: ${body.type || 'no type'}: ${body.message}`;
  // The proxy passes the provider's own wait on under another name.
  const wait =
    retryAfterMs(header(headers, 'llm_provider-retry-after')) ?? retryAfterMs(header(headers, 'retry-after'));
  const make = (kind: UpstreamErrorKind, details: UpstreamErrorDetails = {}) =>
    new UpstreamError(kind, text, { status, ...details });

  // A budget goes by its type: versions of the proxy have answered 400, 401, 422 and 429 for it.
  if (body.type === 'budget_exceeded') return make('PROXY_BUDGET', { origin: 'PROXY' });
  if (body.type.endsWith('_model_access_denied')) return make('ACCESS_DENIED', { origin: 'PROXY' });
  if (['token_not_found_in_db', 'expired_key', 'auth_error'].includes(body.type))
    return make('KEY_REJECTED', { origin: 'PROXY' });
  if (body.type === 'all_deployments_in_cooldown')
    return make('MODEL_UNAVAILABLE', { retryable: true, retryAfterMs: wait ?? 5_000, origin: 'PROXY' });
  // The team may use it, and the proxy no longer has it: our list is older than its.
  if (status === 400 && body.message.includes('Invalid model name passed in model='))
    return make('MODEL_UNAVAILABLE', { retryable: true, origin: 'PROXY' });
  if (CONTEXT_TOO_LONG.test(body.message) && status < 500) return make('CONTEXT_TOO_LONG');
  if (CONTENT_BLOCKED.test(body.message) && status < 500) return make('CONTENT_BLOCKED');
  if (status === 429) return rateLimited(headers, body, wait, make);
  if (status === 408 || status === 504) return make('TIMEOUT', { retryable: true, retryAfterMs: wait });
  // "Overloaded", in the words of one large provider.
  if (status === 529 || status === 503)
    return make('MODEL_UNAVAILABLE', { retryable: true, retryAfterMs: wait ?? 5_000 });
  if (status === 400 || status === 422 || status === 413) return make('INVALID_REQUEST');
  if (body.message.includes(NOTHING_TO_STREAM)) return make('INVALID_REQUEST');
  // The upstream's own credentials or address are wrong: the operator's matter, repeating does not help.
  if (status === 401 || status === 403 || status === 404) return make('FAILED');
  return make('FAILED', { retryable: true, retryAfterMs: wait });
}

function rateLimited(
  headers: Headers,
  body: ErrorBody,
  wait: number | null,
  make: (kind: UpstreamErrorKind, details: UpstreamErrorDetails) => UpstreamError,
): UpstreamError {
  const fromProvider =
    header(headers, 'llm_provider-retry-after') !== null ||
    /RateLimitError: \w+Exception/.test(body.message) ||
    header(headers, 'rate_limit_type') === null;
  const type = header(headers, 'rate_limit_type') ?? '';
  const dimension = /parallel/.test(type)
    ? 'PARALLEL_CALLS'
    : /token/.test(type)
      ? 'TOKENS'
      : /request/.test(type)
        ? 'REQUESTS'
        : 'UNKNOWN';
  return make('RATE_LIMITED', {
    retryable: true,
    retryAfterMs: wait,
    origin: fromProvider ? 'PROVIDER' : 'PROXY',
    dimension,
  });
}

/** An error object inside a stream that had begun with 200. */
export function mapStreamError(error: unknown): UpstreamError {
  const { message, code } = (typeof error === 'object' && error ? error : { message: String(error) }) as {
    message?: unknown;
    code?: unknown;
  };
  const text = typeof message === 'string' ? message : JSON.stringify(error);
  if (CONTENT_BLOCKED.test(text)) return new UpstreamError('CONTENT_BLOCKED', text);
  return new UpstreamError('INTERRUPTED', `error in the stream: ${String(code ?? '')} ${text}`, { retryable: true });
}
