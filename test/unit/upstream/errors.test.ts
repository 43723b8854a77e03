import { mapHttpError, mapStreamError, retryAfterMs } from '../../../src/services/upstream/litellm/errors';
import { mapNetworkError } from '../../../src/services/upstream/errors';

const body = (type: string | null, message = 'said the upstream', param: string | null = null): string =>
  JSON.stringify({ error: { message, type, param, code: '0' } });

/** The table of docs/litellm.md. Its numbers stand in the names. */
describe('mapHttpError', () => {
  it.each<[string, number, Record<string, string>, string, object]>([
    ['an unknown key', 401, {}, body('token_not_found_in_db'), { kind: 'KEY_REJECTED' }],
    ['a blocked key', 401, {}, body('auth_error'), { kind: 'KEY_REJECTED' }],
    ['an expired key', 401, {}, body('expired_key'), { kind: 'KEY_REJECTED' }],
    ['a model outside the key', 403, {}, body('key_model_access_denied'), { kind: 'ACCESS_DENIED' }],
    ['a model outside the team', 401, {}, body('team_model_access_denied'), { kind: 'ACCESS_DENIED' }],
    [
      'a budget of the proxy, whatever the status',
      422,
      {},
      body('budget_exceeded'),
      { kind: 'PROXY_BUDGET', retryable: false },
    ],
    ['the same in older versions', 429, {}, body('budget_exceeded'), { kind: 'PROXY_BUDGET' }],
    [
      'requests a minute of a key',
      429,
      { 'retry-after': '12', rate_limit_type: 'requests' },
      body('throttling_error'),
      { kind: 'RATE_LIMITED', origin: 'PROXY', dimension: 'REQUESTS', retryAfterMs: 12_000 },
    ],
    [
      'parallel calls of a key',
      429,
      { 'retry-after': '60', rate_limit_type: 'max_parallel_requests' },
      body('throttling_error'),
      { kind: 'RATE_LIMITED', origin: 'PROXY', dimension: 'PARALLEL_CALLS' },
    ],
    [
      "a provider's own limit",
      429,
      { 'llm_provider-retry-after': '7' },
      body('throttling_error', 'litellm.RateLimitError: OpenAIException - slow down'),
      { kind: 'RATE_LIMITED', origin: 'PROVIDER', retryAfterMs: 7_000 },
    ],
    [
      'a limit with an absurd wait',
      429,
      { 'retry-after': '99999999' },
      body(null),
      { kind: 'RATE_LIMITED', retryAfterMs: 600_000 },
    ],
    [
      'all deployments cooling down',
      429,
      { 'retry-after': '5' },
      body('all_deployments_in_cooldown'),
      { kind: 'MODEL_UNAVAILABLE', retryable: true, retryAfterMs: 5_000 },
    ],
    ['a provider error', 500, {}, body('internal_server_error'), { kind: 'FAILED', retryable: true }],
    [
      "the provider's 401: the operator's key",
      401,
      {},
      body('authentication_error', 'Incorrect API key provided: sk-abc'),
      { kind: 'FAILED', retryable: false },
    ],
    ['a provider time-out', 408, {}, body('invalid_request_error'), { kind: 'TIMEOUT', retryable: true }],
    [
      'a context that is too long',
      400,
      {},
      body('invalid_request_error', 'litellm.ContextWindowExceededError: …'),
      { kind: 'CONTEXT_TOO_LONG', retryable: false },
    ],
    [
      'blocked content',
      400,
      {},
      body('invalid_request_error', 'Your request was rejected as a result of our safety system.'),
      { kind: 'CONTENT_BLOCKED' },
    ],
    [
      'a bad parameter',
      400,
      {},
      body('invalid_request_error', 'Unsupported value'),
      { kind: 'INVALID_REQUEST', retryable: false },
    ],
    [
      "a provider's 422",
      422,
      {},
      body('invalid_request_error', 'litellm.UnprocessableEntityError: …'),
      { kind: 'INVALID_REQUEST', retryable: false },
    ],
    [
      "a provider's 422 to a stream, where parameters may be left out",
      500,
      {},
      body('internal_server_error', "'NoneType' object has no attribute '__aiter__'"),
      { kind: 'INVALID_REQUEST', retryable: false },
    ],
    [
      'another fault of the proxy',
      500,
      {},
      body('internal_server_error', "'NoneType' object has no attribute 'get'"),
      { kind: 'FAILED', retryable: true },
    ],
    [
      'overload',
      529,
      {},
      '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
      { kind: 'MODEL_UNAVAILABLE', retryable: true },
    ],
    ['a page of a proxy in between', 502, {}, '<html>502</html>', { kind: 'FAILED', retryable: true }],
    ['a wrong route', 404, {}, '{"detail":"Not Found"}', { kind: 'FAILED', retryable: false }],
    ['nothing at all', 500, {}, '', { kind: 'FAILED', retryable: true }],
    ['null', 400, {}, 'null', { kind: 'INVALID_REQUEST' }],
  ])('%s', (_name, status, headers, text, expected) => {
    expect(mapHttpError(status, headers, text)).toMatchObject(expected);
  });
});

describe('what is no HTTP answer', () => {
  it('tells a proxy that is away from an answer that broke off', () => {
    expect(mapNetworkError(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }), false)).toMatchObject({
      kind: 'MODEL_UNAVAILABLE',
      retryable: true,
    });
    expect(mapNetworkError(Object.assign(new Error('reset'), { code: 'ECONNRESET' }), true)).toMatchObject({
      kind: 'INTERRUPTED',
    });
    expect(mapStreamError({ message: 'litellm.APIConnectionError: …', type: null, code: '500' })).toMatchObject({
      kind: 'INTERRUPTED',
      retryable: true,
    });
  });

  it('reads Retry-After as seconds or as a date, and nonsense not at all', () => {
    const now = Date.parse('2026-11-01T00:00:00Z');
    expect(retryAfterMs('1.5', now)).toBe(1_500);
    expect(retryAfterMs('Sun, 01 Nov 2026 00:00:30 GMT', now)).toBe(30_000);
    expect(retryAfterMs('Sun, 01 Nov 2020 00:00:30 GMT', now)).toBe(1_000);
    expect(retryAfterMs('0', now)).toBe(1_000);
    expect(retryAfterMs('-5', now)).toBeNull();
    expect(retryAfterMs('soon', now)).toBeNull();
    expect(retryAfterMs(null, now)).toBeNull();
  });
});
