import { ApolloServer, HeaderMap, type ApolloServerPlugin, type GraphQLRequestContext, type GraphQLRequestListener } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled, ApolloServerPluginInlineTraceDisabled, ApolloServerPluginLandingPageDisabled, ApolloServerPluginSchemaReportingDisabled, ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import { GraphQLError, type GraphQLFormattedError, type GraphQLSchema } from 'graphql';
import type { Logger } from '../lib/logger';
import { boundedResult } from './answer-size';
import type { RequestContext } from '../resolvers/context';
import { formatError } from './format-error';
import { LIMITS, OperationGuard, parseOptions } from './guards';
import { OperationRunner, type OperationResult } from './jit';

export interface ApolloDeps {
  schema: GraphQLSchema;
  logger: Logger;
  production: boolean;
  /** false: everything through graphql-js, for comparison. */
  jit?: boolean;
}

/**
 * Apollo Server does what it does well: CSRF protection, media types, parsing, validation and the cache of documents. Execution is ours, through
 * its documented hook `responseForOperation`, so that errors have one form at both doors and hot operations are compiled.
 */
export async function startApollo({ schema, logger, production, jit }: ApolloDeps): Promise<ApolloServer<RequestContext>> {
  const server = new ApolloServer<RequestContext>({
    schema,
    // NODE_ENV decides nothing here: our configuration does.
    nodeEnv: production ? 'production' : 'test',
    stopOnTerminationSignals: false,
    // Who may ask is a question of the viewer: guards.ts answers it for both doors.
    introspection: true,
    includeStacktraceInErrorResponses: false,
    hideSchemaDetailsFromClientErrors: production,
    persistedQueries: false,
    allowBatchedHttpRequests: false,
    csrfPrevention: true,
    parseOptions: { ...parseOptions },
    validationOptions: { maxErrors: LIMITS.errors },
    formatError: (_formatted, error) => formatError(error, { logger }),
    // Compact, and without the line feed of Apollo's own.
    stringifyResult: (result) => JSON.stringify(result),
    logger: apolloLogger(logger),
    plugins: [
      // On by default, and doubles the cost of lists.
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginSchemaReportingDisabled(),
      ApolloServerPluginInlineTraceDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      executionPlugin({ schema, logger, production, jit }),
    ],
  });
  await server.start();
  return server;
}

type Context = GraphQLRequestContext<RequestContext>;

function executionPlugin({ schema, logger, production, jit }: ApolloDeps): ApolloServerPlugin<RequestContext> {
  const guard = new OperationGuard();
  const runner = new OperationRunner({ hideSuggestions: production, jit });
  // One for all requests: it keeps nothing of them.
  const listener: GraphQLRequestListener<RequestContext> = {
    async didResolveOperation({ request, document, operation, contextValue }) {
      if (!operation) return;
      if (operation.operation === 'subscription') {
        throw new GraphQLError('Subscriptions go over WebSocket (graphql-transport-ws), or by POST with `accept: text/event-stream`, at the same address.', { extensions: { code: 'BAD_USER_INPUT', http: { status: 400 } } });
      }
      const refused = guard.check({ schema, document, operation, variables: request.variables, viewer: contextValue.viewer, production });
      if (refused) throw refused;
    },
    async responseForOperation(context) {
      const { request, document, operation, operationName, contextValue } = context;
      // An operation that cannot be told among several: Apollo words that error.
      if (!operation) return null;
      const result: OperationResult = boundedResult(await runner.run({ schema, document, operation, operationName, variables: request.variables, contextValue }));
      const errors = result.errors?.map((error) => formatError(error, { logger, requestId: contextValue.requestId }));
      const http = { status: statusFor(result, errors), headers: new HeaderMap() };
      const retryAfterMs = http.status === 503 ? errors?.[0]?.extensions?.retryAfterMs : undefined;
      if (typeof retryAfterMs === 'number') http.headers.set('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
      return { http, body: { kind: 'single', singleResult: { data: result.data, errors } } };
    },
    async willSendResponse(context) {
      addRequestId(context);
    },
  };
  return { requestDidStart: async () => listener };
}

/** 200 for what was executed, as GraphQL over HTTP has it; 503 when nothing came of it but "not now", so that proxies and clients repeat. */
function statusFor(result: OperationResult, errors: GraphQLFormattedError[] | undefined): number | undefined {
  if (result.badVariables) return 400;
  if (!errors || (result.data !== null && result.data !== undefined)) return undefined;
  return errors.every((error) => error.extensions?.code === 'SERVICE_UNAVAILABLE') ? 503 : undefined;
}

/** Errors that Apollo itself met came through `formatError`, which does not know the request. */
function addRequestId({ response, contextValue }: Context): void {
  if (response.body?.kind !== 'single') return;
  for (const error of response.body.singleResult.errors ?? []) {
    if (error.extensions?.code === 'INTERNAL_SERVER_ERROR') error.extensions.requestId ??= contextValue.requestId;
  }
}

const apolloLogger = (logger: Logger): { debug(m?: unknown): void; info(m?: unknown): void; warn(m?: unknown): void; error(m?: unknown): void } => ({
  debug: (message) => logger.debug({ from: 'apollo' }, String(message)),
  info: (message) => logger.info({ from: 'apollo' }, String(message)),
  warn: (message) => logger.warn({ from: 'apollo' }, String(message)),
  error: (message) => logger.error({ from: 'apollo' }, String(message)),
});
