import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import { AppError, ERROR_TABLE, type ErrorCode } from '../../errors';
import type { Logger } from '../../lib/logger';
import { createRedactor } from '../../lib/redact';
import { codeOf, isUnavailable } from '../../database/postgres-errors';

/**
 * Codes that Apollo Server and graphql-js give to requests that cannot be executed: they say nothing about us and go
 * out as they are.
 */
export const PROTOCOL_CODES = {
  GRAPHQL_PARSE_FAILED: 'The document is not valid GraphQL, or has too many tokens.',
  GRAPHQL_VALIDATION_FAILED:
    'The document does not fit the schema, or is deeper, wider or more expensive than allowed.',
  OPERATION_RESOLUTION_FAILURE: 'The document has several operations and `operationName` names none of them.',
  BAD_REQUEST: 'The HTTP request is not a GraphQL request: method, media type, CSRF protection, shape of the body.',
  PERSISTED_QUERY_NOT_SUPPORTED: 'Persisted queries are not in use: send the document.',
} as const;

export interface ErrorScope {
  logger: Logger;
  requestId?: string;
}

/** Characters of a message. graphql-js quotes what it refuses, and that may be an 8 MB prompt. */
const MAX_MESSAGE = 500;
const redactor = createRedactor();
const publicText = (text: string): string =>
  redactor.text(text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text);

/**
 * Anything thrown, as a client may see it: one code, a public text, never a cause or a stack. What the operator has to
 * know is logged. Never throws.
 */
export function formatError(error: unknown, scope: ErrorScope): GraphQLFormattedError {
  try {
    const graphqlError = error instanceof GraphQLError ? error : null;
    const { message, extensions } = describe(error, scope);
    return {
      message,
      ...(graphqlError?.locations ? { locations: graphqlError.locations } : {}),
      ...(graphqlError?.path ? { path: graphqlError.path } : {}),
      extensions,
    };
  } catch {
    // A getter of a foreign error object threw: even then there is an answer.
    return {
      message: ERROR_TABLE.INTERNAL_SERVER_ERROR.message,
      extensions: { code: 'INTERNAL_SERVER_ERROR', ...(scope.requestId ? { requestId: scope.requestId } : {}) },
    };
  }
}

type Described = { message: string; extensions: Record<string, unknown> & { code: string } };

function describe(error: unknown, scope: ErrorScope): Described {
  const original = originalOf(error);
  const known = toAppError(original);
  if (known) return describeAppError(known, original, error, scope);

  if (original instanceof GraphQLError) {
    // graphql-jit's own errors have none.
    const { code, argument } = original.extensions ?? {};
    if (code === 'BAD_USER_INPUT' || (typeof code === 'string' && code in PROTOCOL_CODES)) {
      return {
        message: publicText(original.message),
        extensions: { code, ...(typeof argument === 'string' ? { argument: publicText(argument) } : {}) },
      };
    }
    // A nullable variable that is null, given to an argument that may not be: found only at execution, and the client's
    // mistake.
    const name = /^Argument "([^"]+)" of (?:non-null|required) type /.exec(original.message)?.[1];
    if (name) return { message: publicText(original.message), extensions: { code: 'BAD_USER_INPUT', argument: name } };
  }
  scope.logger.error({ err: original, requestId: scope.requestId, path: pathOf(error) }, 'an operation failed');
  return withRequestId(
    { message: ERROR_TABLE.INTERNAL_SERVER_ERROR.message, extensions: { code: 'INTERNAL_SERVER_ERROR' } },
    scope,
  );
}

function describeAppError(known: AppError, original: unknown, error: unknown, scope: ErrorScope): Described {
  const fields = { code: known.code, err: original, requestId: scope.requestId, path: pathOf(error) };
  if (known.code === 'INTERNAL_SERVER_ERROR') scope.logger.error(fields, 'an operation failed');
  else if (known.code === 'SERVICE_UNAVAILABLE') scope.logger.warn(fields, 'an operation is temporarily unavailable');
  const described: Described = {
    // Our own words need no redaction, and one of them tells how a bearer token is sent.
    message: known.public === ERROR_TABLE[known.code].message ? known.public : publicText(known.public),
    extensions: {
      code: known.code,
      ...(known.argument === undefined ? {} : { argument: publicText(known.argument) }),
      ...(known.retryAfterMs === undefined ? {} : { retryAfterMs: known.retryAfterMs }),
    },
  };
  return known.code === 'INTERNAL_SERVER_ERROR' || known.code === 'SERVICE_UNAVAILABLE'
    ? withRequestId(described, scope)
    : described;
}

const withRequestId = (described: Described, scope: ErrorScope): Described =>
  scope.requestId === undefined
    ? described
    : { ...described, extensions: { ...described.extensions, requestId: scope.requestId } };

/**
 * graphql-js wraps what resolvers throw, sometimes twice. An error that Apollo has given a code is the original: it
 * wraps one of graphql-js without.
 */
function originalOf(error: unknown): unknown {
  let current = error;
  for (let depth = 0; depth < 5; depth += 1) {
    if (
      !(current instanceof GraphQLError) ||
      !current.originalError ||
      String(current.extensions?.code) in PROTOCOL_CODES
    )
      break;
    current = current.originalError;
  }
  return current;
}

/** An AppError, or a failure of the database that has a public meaning; null for everything else. */
export function toAppError(error: unknown): AppError | null {
  let current: unknown = error;
  for (let depth = 0; depth < 6 && current instanceof Error; depth += 1) {
    if (current instanceof AppError) return current;
    if (isUnavailable(current)) return new AppError('SERVICE_UNAVAILABLE', { cause: error });
    // A character that Postgres cannot store: refused at the arguments, this is the net below.
    if (codeOf(current) === '22021' || codeOf(current) === '22P05')
      return new AppError('BAD_USER_INPUT', {
        public: 'A text contains a character that cannot be stored.',
        cause: error,
      });
    current =
      current.cause ??
      (current as { driverError?: unknown }).driverError ??
      (current instanceof AggregateError ? current.errors[0] : undefined);
  }
  return null;
}

const pathOf = (error: unknown): string | undefined =>
  error instanceof GraphQLError ? error.path?.join('.') : undefined;

/** Errors of variables that graphql-js could not read, with the place of the fault: `input.messages[0].role`. */
export function variableErrors(errors: readonly GraphQLError[]): GraphQLError[] {
  return errors.map((error) => {
    const variable = /^Variable "\$([^"]+)"/.exec(error.message)?.[1];
    const place = / at "([A-Za-z0-9_.[\]]+)"; /.exec(error.message)?.[1] ?? variable;
    const missing = /Field "([A-Za-z0-9_]+)" (?:of required type .* was not provided|is not defined by type )/.exec(
      error.message,
    )?.[1];
    const argument = place && (missing ? `${place}.${missing}` : place);
    return new GraphQLError(error.message, {
      nodes: error.nodes,
      extensions: { code: 'BAD_USER_INPUT', ...(argument ? { argument } : {}) },
    });
  });
}

/** The HTTP status of a code that ends a whole request. */
export const statusOf = (code: ErrorCode): number => ERROR_TABLE[code].status;
