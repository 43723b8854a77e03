/**
 * Every error code that a client can see in `extensions.code`: HTTP status, public text, and whether the same request
 * may succeed later. docs/errors.md is made from this table.
 */
export const ERROR_TABLE = {
  UNAUTHENTICATED: {
    status: 401,
    retryable: false,
    message: 'No valid credentials: send Authorization: Bearer <token>.',
    when: 'The token is missing, unknown, expired or revoked, or its user is blocked.',
    remedy: 'Send a valid API token or JWT as a bearer token, over HTTP and in `connection_init`.',
  },
  FORBIDDEN: {
    status: 403,
    retryable: false,
    message: 'This role may not do that.',
    when: 'The caller is known, and its role does not allow the field.',
    remedy: 'Ask an administrator for the role that the message names.',
  },
  NOT_FOUND: {
    status: 404,
    retryable: false,
    message: 'There is no such object.',
    when: 'The id names nothing that the caller may see. Objects of others answer like missing ones.',
    remedy: 'Check the id.',
  },
  BAD_USER_INPUT: {
    status: 400,
    retryable: false,
    message: 'An argument is not valid.',
    when: 'An argument is out of its range or contradicts another; `extensions.argument` names it.',
    remedy: 'Correct the argument. Nothing was spent.',
  },
  RATE_LIMITED: {
    status: 429,
    retryable: true,
    message: 'Too many requests.',
    when: 'A limit of the server itself was reached; `extensions.retryAfterMs` says how long to wait.',
    remedy: 'Wait, then repeat.',
  },
  SERVICE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: 'The service cannot do this right now.',
    when: 'The database or the proxy cannot be reached, or the server is shutting down; `extensions.retryAfterMs` says how long to wait.',
    remedy: 'Wait, then repeat. The operator reads /health/ready.',
  },
  INTERNAL_SERVER_ERROR: {
    status: 500,
    retryable: false,
    message: 'Something went wrong on our side.',
    when: 'A fault of the server. `extensions.requestId` finds it in the log.',
    remedy: 'Report the request id to the operator.',
  },
} as const;
export type ErrorCode = keyof typeof ERROR_TABLE;

export interface AppErrorOptions {
  /** Text for the client, written on purpose. Default: the table's. */
  public?: string;
  /** Text for the log only. */
  internal?: string;
  /** BAD_USER_INPUT, NOT_FOUND: the path of the field, as in `messages[0].content`. */
  argument?: string;
  /** Milliseconds until a repetition makes sense. */
  retryAfterMs?: number;
  /** Logged, never sent. */
  cause?: unknown;
}

/** The one error class that reaches clients: a code from the table, a public text, and the rest for the log. */
export class AppError extends Error {
  readonly public: string;
  readonly argument?: string;
  readonly retryAfterMs?: number;

  constructor(
    readonly code: ErrorCode,
    options: AppErrorOptions = {},
  ) {
    super(options.internal ?? options.public ?? ERROR_TABLE[code].message, { cause: options.cause });
    this.name = 'AppError';
    this.public = options.public ?? ERROR_TABLE[code].message;
    this.argument = options.argument;
    this.retryAfterMs = options.retryAfterMs ?? (code === 'SERVICE_UNAVAILABLE' ? 2_000 : undefined);
  }

  /**
   * The same for a door that has the named field inside another one: `maxTokens` under `input` is `input.maxTokens`.
   */
  under(parent: string): AppError {
    const { code, argument, cause } = this;
    if (argument === undefined || parent === '') return this;
    const [prefix, path] = argument === '' ? ['', parent] : [`${argument}: `, `${parent}.${argument}`];
    const text = this.public.startsWith(prefix) ? `${path}: ${this.public.slice(prefix.length)}` : this.public;
    return new AppError(code, { public: text, argument: path, cause, retryAfterMs: this.retryAfterMs });
  }
}

/** Rejects with errors whose fields are where the door has them. */
export const underField = <T>(parent: string, work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => Promise.reject(error instanceof AppError ? error.under(parent) : error));

/** `argument` empty: the request as a whole. */
export const badInput = (argument: string, message: string): AppError =>
  new AppError('BAD_USER_INPUT', { argument, public: argument === '' ? message : `${argument}: ${message}` });
export const forbidden = (needed: string): AppError =>
  new AppError('FORBIDDEN', { public: `This needs the role ${needed}.` });
export const notFound = (argument: string): AppError =>
  new AppError('NOT_FOUND', { argument, public: `${argument}: there is no such object.` });
