import { HeaderMap, type ApolloServer } from '@apollo/server';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { GraphQLError, GraphQLSchema } from 'graphql';
import type { ServerConfig } from '../server-config';
import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import type { Services, RequestContext } from '../../resolvers/context';
import { formatError, type ErrorScope } from './format-error';
import { LIMITS, parseAndValidate, SizeGuard, tooLong } from './guards';
import { contextOf, leavingSignal, originOf, traceIdOf } from './request';
import type { Shortcut } from './shortcut';
import type { EventsDoor } from '../sse/sse';

export interface GraphqlRouteDeps {
  config: ServerConfig;
  apollo: ApolloServer<RequestContext>;
  /** null: everything through Apollo. */
  shortcut: Shortcut | null;
  schema: GraphQLSchema;
  services: Services;
  logger: Logger;
  /** Subscriptions by server-sent events. */
  events: EventsDoor;
}

/** Headers that Apollo looks at. It gets no others: the credentials stay here. */
const APOLLO_HEADERS = ['content-type', 'accept', 'x-apollo-operation-name', 'apollo-require-preflight'] as const;

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/**
 * Answers a request whose viewer is known and whose body was read. Own integration instead of
 * `@as-integrations/fastify`: that one builds a URL from the `Host` header for each request, which throws (a 500) for a
 * malformed one, and copies every header for plugins that we do not have.
 */
export function graphqlHandler(deps: GraphqlRouteDeps): Handler {
  const sizes = new SizeGuard(deps.schema);
  return async (request, reply) => {
    if (deps.events.take(request, reply)) return reply;
    const context = (): RequestContext =>
      contextOf(deps.services, request.viewer!, request.id, traceIdOf(request.headers.traceparent), {
        signal: () => leavingSignal(reply.raw),
        baseUrl: () => deps.config.publicUrl ?? originOf(request),
      });
    const short = deps.shortcut?.take(request, context);
    if (short) {
      const { status, contentType, retryAfter, text } = await short;
      if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
      return reply.header('content-type', contentType).code(status).send(text);
    }
    const refused = refuseDocument(deps, sizes, request);
    if (refused) return sendErrors(reply, refused, { logger: deps.logger, requestId: request.id });
    return askApollo(deps, request, reply, context);
  };
}

async function askApollo(
  { apollo, shortcut }: GraphqlRouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  context: () => RequestContext,
): Promise<FastifyReply> {
  const headers = new HeaderMap();
  for (const name of APOLLO_HEADERS) {
    const value = request.headers[name];
    if (value !== undefined) headers.set(name, String(value));
  }
  // Apollo refuses a GET that a page of another site could send without asking. Nobody comes here without an
  // `Authorization` header, which such a page cannot send: browsers ask first. Clients that send queries by GET (urql
  // does) need no header more.
  if (request.method === 'GET') headers.set('apollo-require-preflight', 'authorization');
  const question = request.url.indexOf('?');
  const search = question < 0 ? '' : request.url.slice(question);
  const response = await apollo.executeHTTPGraphQLRequest({
    httpGraphQLRequest: { method: request.method, headers, search, body: request.body },
    context: async () => context(),
  });
  for (const [name, value] of response.headers) reply.header(name, value);
  const status = response.status ?? 200;
  reply.code(status);
  if (response.body.kind !== 'complete') {
    // Only @defer and @stream answer in parts, and the graph has neither.
    throw new AppError('INTERNAL_SERVER_ERROR', { internal: 'an answer in parts' });
  }
  if (status === 200) shortcut?.learnContentType(request.headers.accept, response.headers.get('content-type'));
  return reply.send(response.body.string);
}

/**
 * Documents that are too large, which Apollo would validate beside the rules of the language and not before. And what
 * it would answer with a 500: it hashes a document of any length before it looks at it, and graphql-js 16 throws while
 * it validates a subscription whose root field has `@include(if: $variable)`. Only documents with that word in them pay
 * for the second look.
 */
function refuseDocument(
  { schema, config }: GraphqlRouteDeps,
  sizes: SizeGuard,
  request: FastifyRequest,
): readonly GraphQLError[] | null {
  const query =
    request.method === 'GET'
      ? new URLSearchParams(request.url.split('?')[1]).get('query')
      : (request.body as { query?: unknown } | null | undefined)?.query;
  if (typeof query !== 'string') return null;
  if (query.length > LIMITS.queryLength) return [tooLong()];
  if (!query.includes('subscription')) return sizes.refuse(query);
  return parseAndValidate(schema, query, config.env === 'production').errors ?? null;
}

function sendErrors(reply: FastifyReply, errors: readonly unknown[], scope: ErrorScope): FastifyReply {
  const text = JSON.stringify({ errors: errors.map((error) => formatError(error, scope)) });
  return reply.code(400).header('content-type', 'application/json; charset=utf-8').send(text);
}
