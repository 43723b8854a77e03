import {
  ApolloServer,
  HeaderMap,
  type ApolloServerPlugin,
  type GraphQLRequestContext,
  type GraphQLRequestListener,
} from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import { GraphQLError, type GraphQLSchema } from 'graphql';
import type { Logger } from '../../lib/logger';
import type { RequestContext } from '../../resolvers/context';
import type { Execution } from './execution';
import { formatError } from './format-error';
import { LIMITS, parseOptions } from './guards';
import type { Shortcut } from './shortcut';

export interface ApolloDeps {
  schema: GraphQLSchema;
  logger: Logger;
  production: boolean;
  execution: Execution;
  /** Hears of the documents that may take it from now on. */
  shortcut: Shortcut | null;
}

/**
 * Apollo Server does what it does well: CSRF protection, media types, parsing, validation and the cache of documents.
 * Execution is ours, through its documented hook `responseForOperation`, so that errors have one form at both doors and
 * hot operations are compiled.
 */
export async function startApollo(deps: ApolloDeps): Promise<ApolloServer<RequestContext>> {
  const { schema, logger, production } = deps;
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
      executionPlugin(deps),
    ],
  });
  await server.start();
  return server;
}

type Context = GraphQLRequestContext<RequestContext>;

function executionPlugin({ execution, shortcut }: ApolloDeps): ApolloServerPlugin<RequestContext> {
  // One for all requests: it keeps nothing of them.
  const listener: GraphQLRequestListener<RequestContext> = {
    async didResolveOperation({ source, request: { variables }, document, operation, operationName, contextValue }) {
      if (!operation) return;
      if (operation.operation === 'subscription') {
        throw new GraphQLError(
          'Subscriptions go over WebSocket (graphql-transport-ws), or by POST with `accept: text/event-stream`, at the same address.',
          { extensions: { code: 'BAD_USER_INPUT', http: { status: 400 } } },
        );
      }
      shortcut?.learnDocument(source, document);
      const refused = execution.refusal({ document, operation, operationName, variables, contextValue });
      if (refused) throw refused;
    },
    async responseForOperation({ request: { variables }, document, operation, operationName, contextValue }) {
      // An operation that cannot be told among several: Apollo words that error.
      if (!operation) return null;
      const asked = { document, operation, operationName, variables, contextValue };
      const { status, retryAfter, data, errors } = await execution.answer(asked);
      const http = { status, headers: new HeaderMap() };
      if (retryAfter !== undefined) http.headers.set('retry-after', retryAfter);
      return { http, body: { kind: 'single', singleResult: { data, errors } } };
    },
    async willSendResponse(context) {
      addRequestId(context);
    },
  };
  return { requestDidStart: async () => listener };
}

/** Errors that Apollo itself met came through `formatError`, which does not know the request. */
function addRequestId({ response, contextValue }: Context): void {
  if (response.body?.kind !== 'single') return;
  for (const error of response.body.singleResult.errors ?? []) {
    if (error.extensions?.code === 'INTERNAL_SERVER_ERROR') error.extensions.requestId ??= contextValue.requestId;
  }
}

const apolloLogger = (
  logger: Logger,
): { debug(m?: unknown): void; info(m?: unknown): void; warn(m?: unknown): void; error(m?: unknown): void } => ({
  debug: (message) => logger.debug({ from: 'apollo' }, String(message)),
  info: (message) => logger.info({ from: 'apollo' }, String(message)),
  warn: (message) => logger.warn({ from: 'apollo' }, String(message)),
  error: (message) => logger.error({ from: 'apollo' }, String(message)),
});
