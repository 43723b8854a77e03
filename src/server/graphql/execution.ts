import type { GraphQLError, GraphQLFormattedError, GraphQLSchema } from 'graphql';
import type { Logger } from '../../lib/logger';
import { boundedResult } from './response-limit';
import type { RequestContext } from '../../resolvers/context';
import { formatError } from './format-error';
import { OperationGuard } from './guards';
import { OperationRunner, type Operation, type OperationResult } from './jit';

export interface ExecutionDeps {
  schema: GraphQLSchema;
  logger: Logger;
  production: boolean;
  /** false: everything through graphql-js, for comparison. */
  jit?: boolean;
}
export type Asked = Omit<Operation, 'schema' | 'contextValue'> & { contextValue: RequestContext };
export interface Answer {
  /** undefined: that of success. */
  status?: number;
  /** Seconds, for the header of that name. */
  retryAfter?: string;
  data: OperationResult['data'];
  errors: GraphQLFormattedError[] | undefined;
}

/** What happens to a query or mutation of the HTTP door that fits the schema, by whichever way it comes. */
export class Execution {
  private readonly guard = new OperationGuard();
  private readonly runner: OperationRunner;

  constructor(private readonly deps: ExecutionDeps) {
    this.runner = new OperationRunner({ hideSuggestions: deps.production, jit: deps.jit });
  }

  /** The error that refuses the operation to this viewer with these variables, or null. */
  refusal({ document, operation, variables, contextValue }: Asked): GraphQLError | null {
    const { schema, production } = this.deps;
    return this.guard.check({ schema, document, operation, variables, viewer: contextValue.viewer, production });
  }

  async answer(asked: Asked): Promise<Answer> {
    const { schema, logger } = this.deps;
    const { requestId } = asked.contextValue;
    const result: OperationResult = boundedResult(await this.runner.run({ ...asked, schema }));
    const errors = result.errors?.map((error) => formatError(error, { logger, requestId }));
    const status = statusFor(result, errors);
    const retryAfterMs = status === 503 ? errors?.[0]?.extensions?.retryAfterMs : undefined;
    const retryAfter = typeof retryAfterMs === 'number' ? String(Math.ceil(retryAfterMs / 1_000)) : undefined;
    return { status, retryAfter, data: result.data, errors };
  }
}

/**
 * 200 for what was executed, as GraphQL over HTTP has it; 503 when nothing came of it but "not now", so that proxies
 * and clients repeat.
 */
function statusFor(result: OperationResult, errors: GraphQLFormattedError[] | undefined): number | undefined {
  if (result.badVariables) return 400;
  if (!errors || (result.data !== null && result.data !== undefined)) return undefined;
  return errors.every((error) => error.extensions?.code === 'SERVICE_UNAVAILABLE') ? 503 : undefined;
}
