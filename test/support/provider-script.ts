/** Something that a test opens when it is time: no sleeping, no guessing. */
export interface Gate {
  opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** A gate that nobody opens: silence until the other side gives up. */
export const forever: Gate = { opened: new Promise<void>(() => {}), open: () => {} };

export interface ProviderUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details?: Record<string, number>;
  completion_tokens_details?: Record<string, number>;
}
/** One delta of a stream; whole replies join them. A string is text. */
export type Piece =
  | string
  | { reasoning: string }
  | { toolCall: { index?: number; id?: string; name?: string; arguments?: string } }
  | { raw: string };

export interface Hold {
  after: number;
  until: Gate;
}

/** How one request is answered. What is left out is done right. */
export interface Answer {
  pieces?: Piece[];
  /** null: none is sent. More than one: each in a chunk of its own. Default: 11 prompt tokens, one per piece. */
  usage?: ProviderUsage | ProviderUsage[] | null;
  finishReason?: string;
  /** The model that the answer names. */
  model?: string;
  headers?: Record<string, string>;
  /** Nothing, not even the head, before this opens. */
  holdHead?: Gate;
  /** After so many pieces, silence until the gate opens. */
  hold?: Hold | Hold[];
  /** Milliseconds between pieces. */
  pieceMs?: number;
  /** After so many pieces the connection is destroyed. */
  cutAfter?: number;
  /** After so many pieces the answer ends politely, without finish, usage or [DONE]. */
  endAfter?: number;
  /** After so many pieces this error object comes as an event, and then nothing: no finish, no usage, no [DONE]. */
  errorAfter?: { pieces: number; error: Record<string, unknown> };
  /** false: the stream ends without [DONE]. */
  done?: boolean;
  wire?: Wire;
}

/** Forms that the SSE standard allows and parsers get wrong. */
export interface Wire {
  /** Bytes of each write: 1 splits every character. */
  writeBytes?: number;
  lineEnd?: '\n' | '\r\n' | '\r';
  /** A comment before every event. */
  comments?: boolean;
  /** Pretty-printed JSON, one `data:` line for each of its lines. */
  multiLine?: boolean;
  /** `data:{…}` without the space. */
  noSpace?: boolean;
}

/** A refusal instead of an answer. A function sees the request: to echo a key, for example. */
export interface Failure {
  status: number;
  headers?: Record<string, string>;
  body:
    | string
    | Record<string, unknown>
    | ((request: { headers: Record<string, string>; body: unknown }) => string | Record<string, unknown>);
  holdHead?: Gate;
  /** The connection is destroyed behind the body, whatever its length was to be. */
  cut?: boolean;
}
export type Script = Answer | Failure;
export const isFailure = (script: Script): script is Failure => 'status' in script;

const openaiError = (message: string, type: string, code: string | null = null): Record<string, unknown> => ({
  error: { message, type, param: null, code },
});

/** The faults that every provider has had. */
export const faults = {
  /** Providers echo the key that they refuse. */
  unauthorizedEcho: (): Failure => ({
    status: 401,
    body: ({ headers }) =>
      openaiError(
        `Incorrect API key provided: ${headers.authorization?.replace('Bearer ', '')}. You can find your API key at https://provider.example/keys.`,
        'invalid_request_error',
        'invalid_api_key',
      ),
  }),
  /** `retryAfter` as the header is sent: seconds, an HTTP date, or nonsense. */
  rateLimited: (retryAfter?: string): Failure => ({
    status: 429,
    headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter },
    body: openaiError('Rate limit reached for requests', 'requests', 'rate_limit_exceeded'),
  }),
  internal: (): Failure => ({
    status: 500,
    body: openaiError('The server had an error while processing your request', 'server_error'),
  }),
  badGatewayHtml: (): Failure => ({
    status: 502,
    headers: { 'content-type': 'text/html' },
    body: '<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>',
  }),
  unavailable: (): Failure => ({
    status: 503,
    headers: { 'retry-after': '7' },
    body: openaiError('Service unavailable', 'server_error'),
  }),
  overloaded: (): Failure => ({
    status: 529,
    body: { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
  }),
  contextTooLong: (): Failure => ({
    status: 400,
    body: openaiError(
      "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
      'invalid_request_error',
      'context_length_exceeded',
    ),
  }),
  unprocessable: (): Failure => ({
    status: 422,
    body: openaiError('This model does not take that', 'invalid_request_error'),
  }),
  contentPolicy: (): Failure => ({
    status: 400,
    body: openaiError(
      'Your request was rejected as a result of our safety system.',
      'invalid_request_error',
      'content_policy_violation',
    ),
  }),
} satisfies Record<string, (...args: never[]) => Failure>;
