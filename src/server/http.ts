import cors from '@fastify/cors';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ServerConfig } from './server-config';
import { AppError } from '../errors';
import type { Logger } from '../lib/logger';
import type { Metrics } from '../lib/metrics';
import { EXPORT_PATH } from '../services/exports/export-link';
import type { Viewer } from '../domain/principal';
import { readCredential } from './auth';
import { addExample } from './example-route';
import type { Explorer } from './explorer';
import { addExports } from './export-route';
import { formatError, statusOf, toAppError } from './graphql/format-error';
import { graphqlHandler, type GraphqlRouteDeps } from './graphql/graphql-route';
import { charsetOf, jsonText } from './json-body';
import { requestIdOf } from './graphql/request';

export interface Readiness {
  ready: boolean;
  [component: string]: unknown;
}
export interface HttpDeps extends GraphqlRouteDeps {
  metrics: Pick<Metrics, 'httpRequests'>;
  readiness: () => Promise<Readiness>;
  explorer: Explorer | null;
  /** true from the moment on when no new work is taken. */
  isStopping: () => boolean;
}

/** A client that takes longer for its headers, or for its whole request, is cut off (slowloris). Milliseconds. */
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 60_000;
/** Longer than load balancers keep idle connections (60 s is usual), or they meet ours just closed. */
const KEEP_ALIVE_MS = 72_000;
export const GRAPHQL_PATH = '/graphql';

declare module 'fastify' {
  interface FastifyRequest {
    viewer: Viewer | null;
  }
}

/**
 * The HTTP door: who is it, is it well-formed, then Apollo. Everything that is refused here has the shape of a GraphQL
 * error.
 */
export async function buildHttp(deps: HttpDeps): Promise<FastifyInstance> {
  const { config, logger } = deps;
  const app = fastify({
    logger: false,
    bodyLimit: config.maxBodyBytes,
    trustProxy: config.trustedProxies.length ? config.trustedProxies : false,
    genReqId: (raw) => requestIdOf(raw.headers),
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: 5_000 },
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 200 },
  });
  app.decorateRequest('viewer', null);
  app.addHook('onRequest', async (request, reply) => {
    reply
      .header('x-request-id', request.id)
      .header('x-content-type-options', 'nosniff')
      .header('cache-control', 'no-store');
  });
  app.addHook('onResponse', async (request, reply) =>
    deps.metrics.httpRequests.add({ door: doorOf(request), status: String(reply.statusCode) }),
  );
  if (config.corsOrigins.length) {
    await app.register(cors, {
      origin: config.corsOrigins.includes('*') ? '*' : config.corsOrigins,
      methods: ['GET', 'POST'],
      exposedHeaders: ['x-request-id', 'retry-after'],
      maxAge: 600,
      // Callers identify themselves with a bearer token: cookies are never wanted.
      credentials: false,
    });
  }
  takeJsonOnly(app);
  app.setErrorHandler((error: FastifyError, request, reply) =>
    sendError(reply, error, { logger, requestId: request.id, config }),
  );
  app.setNotFoundHandler((request, reply) => {
    const known = request.url.split('?', 1)[0] === GRAPHQL_PATH;
    if (known) reply.header('allow', 'GET, POST');
    const error = new AppError('NOT_FOUND', {
      public: known ? 'GraphQL is asked by GET and POST.' : `There is nothing here; the graph is at ${GRAPHQL_PATH}.`,
    });
    return sendError(reply, error, { logger, requestId: request.id, config, status: known ? 405 : 404 });
  });
  addHealth(app, deps);
  addExports(app, deps);
  deps.explorer?.addRoutes(app);
  addExample(app, deps);
  app.route({
    method: ['GET', 'POST'],
    url: GRAPHQL_PATH,
    onRequest: (request, reply) => admit(deps, request, reply),
    handler: graphqlHandler(deps),
  });
  return app;
}

/** From a closed set, whatever was asked for. */
function doorOf(request: FastifyRequest): string {
  switch (request.routeOptions.url) {
    case GRAPHQL_PATH:
      return request.headers.accept?.includes('text/event-stream') ? 'sse' : 'graphql';
    case '/health/live':
    case '/health/ready':
      return 'health';
    default:
      return request.routeOptions.url?.startsWith(EXPORT_PATH) ? 'export' : 'other';
  }
}

/** Runs before the body is read: what nobody may ask costs nothing. Throws UNAUTHENTICATED, SERVICE_UNAVAILABLE. */
async function admit(
  { services, explorer, isStopping }: HttpDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply | void> {
  if (isStopping()) {
    reply.header('connection', 'close');
    throw new AppError('SERVICE_UNAVAILABLE', { public: 'The server is stopping.' });
  }
  // A browser that opens the address: the explorer's page holds no data and asks for it with a token like everybody.
  if (explorer && request.method === 'GET' && request.headers.accept?.includes('text/html'))
    return explorer.sendPage(request, reply);
  request.viewer = await services.auth.authenticate(readCredential({ headers: request.headers }));
  const charset = charsetOf(request.headers['content-type']);
  // Exotic charsets were a denial of service in GraphQL servers (CVE-2026-23897); JSON is UTF-8.
  if (charset !== null && charset !== 'utf-8' && charset !== 'utf8')
    throw new HttpError(415, 'The body has to be UTF-8.');
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new HttpError(415, 'The body may not be compressed.');
}

/** A refusal that has a status of HTTP and no code of its own. */
class HttpError extends AppError {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super('BAD_USER_INPUT', { public: message });
  }
}

function takeJsonOnly(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      void parse(request, jsonText(body as Buffer), done);
    } catch (error) {
      done(error as Error);
    }
  });
}

function sendError(
  reply: FastifyReply,
  error: unknown,
  scope: { logger: Logger; requestId: string; config: ServerConfig; status?: number },
): FastifyReply {
  const known = describe(error, scope.config);
  const formatted = formatError(known ?? error, scope);
  const code = toAppError(known ?? error)?.code ?? 'INTERNAL_SERVER_ERROR';
  const status = scope.status ?? (known instanceof HttpError ? known.status : statusOf(code));
  const retryAfterMs = formatted.extensions?.retryAfterMs;
  if ((status === 503 || status === 429) && typeof retryAfterMs === 'number')
    reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  return reply
    .code(status)
    .header('content-type', 'application/json; charset=utf-8')
    .send(JSON.stringify({ errors: [formatted] }));
}

/** Fastify's own refusals of bodies. */
function describe(error: unknown, config: ServerConfig): AppError | null {
  const code = (error as FastifyError | null)?.code;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new HttpError(
        413,
        `The body is larger than ${config.maxBodyBytes} bytes, images included (MAX_BODY_BYTES).`,
      );
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      // Also the answer to forms and text/plain, which browsers send to other sites without asking first (CSRF).
      return new HttpError(400, 'A GraphQL request by POST has the content type application/json.');
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new HttpError(400, 'The body is not valid JSON.');
    default:
      if (error instanceof AppError) return error;
      // secure-json-parse: broken JSON, or `__proto__` in it.
      return error instanceof SyntaxError ? new HttpError(400, 'The body is not valid JSON.') : null;
  }
}

/** Open to everybody: for load balancers and orchestrators. */
function addHealth(app: FastifyInstance, { readiness, isStopping, logger }: HttpDeps): void {
  app.get('/health/live', async () => ({ status: 'ok' }));
  app.get('/health/ready', async (_request, reply) => {
    if (isStopping()) return reply.code(503).send({ ready: false, reason: 'stopping' });
    try {
      const state = await readiness();
      return await reply.code(state.ready ? 200 : 503).send(state);
    } catch (error) {
      logger.warn({ err: error }, 'readiness could not be determined');
      return reply.code(503).send({ ready: false });
    }
  });
}
