import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { getOperationAST, GraphQLError, type ExecutionArgs, type GraphQLSchema } from 'graphql';
import { handleProtocols, makeServer, type Context, type Server as ProtocolServer } from 'graphql-ws';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Config } from '../config';
import { AppError } from '../errors';
import { LruMap } from '../lib/lru-map';
import type { Logger } from '../lib/logger';
import type { Services } from '../services/services';
import type { Viewer } from '../services/viewer/viewer.types';
import { boundedResult } from './answer-size';
import { formatError, toAppError } from './format-error';
import { CACHE, OperationGuard, parseAndValidate, type Parsed } from './guards';
import { isTooDeep } from './json-body';
import { contextOf, requestIdOf, traceIdOf } from './request';
import { startSubscription, type SubscriptionArgs } from './subscription';
import { CLOSE, Connection } from './ws-connection';

export interface WebSocketDeps {
  config: Config;
  schema: GraphQLSchema;
  services: Services;
  logger: Logger;
  server: Server;
  path: string;
  isStopping: () => boolean;
}
export interface WebSocketDoor {
  /** Ends the operations and sockets of viewers with an authentication error. */
  endViewers(match: (viewer: Viewer) => boolean, reason: string): void;
  /** Says 1001 to all sockets and resolves when they are gone, at the latest after a second. */
  close(): Promise<void>;
}

const INIT_TIMEOUT_MS = 3_000;
const MAX_OPERATIONS = 20;
const MAX_SOCKETS_PER_TOKEN = 100;
/** A client that does not answer a ping until the next one has gone, or reads nothing. */
const PING_MS = 12_000;
/** How soon revoked and expired credentials end what they have begun. The acceptance limit is 5 s. */
const SWEEP_MS = 2_000;

type Extra = { connection: Connection };

/** The WebSocket door: graphql-transport-ws for subscriptions only. It goes past Apollo, so guards, variables and errors are the same functions that the HTTP door calls. */
export function openWebSocketDoor(deps: WebSocketDeps): WebSocketDoor {
  const { config, schema, services, logger } = deps;
  const production = config.env === 'production';
  const connections = new Set<Connection>();
  const documents = new LruMap<string, Parsed>(CACHE.documents);
  const guard = new OperationGuard();

  const documentOf = (query: string): Parsed => {
    let parsed = documents.get(query);
    if (!parsed) {
      parsed = parseAndValidate(schema, query, production);
      if (query.length <= CACHE.length) documents.set(query, parsed);
    }
    return parsed;
  };

  const onConnect = async (context: Context<Record<string, unknown>, Extra>): Promise<boolean> => {
    const { connection } = context.extra;
    try {
      if (deps.isStopping()) throw new AppError('SERVICE_UNAVAILABLE');
      const viewer = await services.auth.authenticate(authorizationOf(context.connectionParams));
      const key = tokenKey(viewer);
      let sockets = 0;
      for (const other of connections) if (other.viewer && tokenKey(other.viewer) === key) sockets += 1;
      if (sockets >= MAX_SOCKETS_PER_TOKEN) {
        connection.close(CLOSE.tooMany, `more than ${MAX_SOCKETS_PER_TOKEN} connections of one token`);
        return false;
      }
      connection.viewer = viewer;
      connection.admitted();
      return true;
    } catch (error) {
      const known = toAppError(error);
      if (known?.code === 'UNAUTHENTICATED') connection.close(CLOSE.unauthenticated, known.public);
      else {
        formatError(error, { logger, requestId: connection.requestId });
        connection.close(CLOSE.tryAgain, 'try again later');
      }
      // After our own close code: graphql-ws would send 4403, which clients retry.
      return false;
    }
  };

  const onSubscribe = (context: Context<Record<string, unknown>, Extra>, id: string, payload: { query: string; operationName?: string | null; variables?: Record<string, unknown> | null }): readonly GraphQLError[] | ExecutionArgs => {
    const { connection } = context.extra;
    const { viewer } = connection;
    if (!viewer) return [refused(new AppError('UNAUTHENTICATED'))];
    if (deps.isStopping()) return [refused(new AppError('SERVICE_UNAVAILABLE', { public: 'The server is stopping.' }))];
    if (viewer.expiresAtMs !== null && viewer.expiresAtMs <= Date.now()) return [refused(new AppError('UNAUTHENTICATED'))];
    if (Object.keys(context.subscriptions).length > MAX_OPERATIONS) {
      return [refused(new AppError('RATE_LIMITED', { public: `At most ${MAX_OPERATIONS} operations run on one connection.`, retryAfterMs: 1_000 }))];
    }
    const parsed = documentOf(String(payload.query));
    if (parsed.errors) return parsed.errors;
    const { document } = parsed;
    const operation = getOperationAST(document, payload.operationName);
    if (!operation) return [new GraphQLError('`operationName` names none of the operations.', { extensions: { code: 'OPERATION_RESOLUTION_FAILURE' } })];
    if (operation.operation !== 'subscription') return [refused(new AppError('BAD_USER_INPUT', { public: 'Only subscriptions go over WebSocket: send queries and mutations by HTTP.' }))];
    const tooBig = guard.check({ schema, document, operation, variables: payload.variables, viewer, production });
    if (tooBig) return [tooBig];
    const contextValue = contextOf(services, viewer, connection.nextRequestId(), connection.traceparentId);
    const args: SubscriptionArgs = { schema, document, operation, operationName: payload.operationName, variableValues: payload.variables, contextValue, hideSuggestions: production };
    return { ...args, rootValue: undefined, id } as ExecutionArgs;
  };

  const protocol: ProtocolServer<Extra> = makeServer<Record<string, unknown>, Extra>({
    schema,
    connectionInitWaitTimeout: INIT_TIMEOUT_MS,
    onConnect,
    onSubscribe,
    subscribe: async (args) => startSubscription(args as unknown as SubscriptionArgs),
    onOperation: (context, id, _payload, _args, result) => void context.extra.connection.began(id, result),
    onNext: (context, _id, _payload, args, result) => {
      const { errors, ...rest } = boundedResult(result);
      return errors && { ...rest, errors: errors.map((error) => formatError(error, { logger, requestId: requestIdIn(args, context) })) };
    },
    onError: (context, _id, _payload, errors) => errors.map((error) => formatError(error, { logger, requestId: context.extra.connection.requestId })),
    onComplete: (context, id) => context.extra.connection.ended(id),
  });

  const sockets = new WebSocketServer({ noServer: true, maxPayload: config.maxBodyBytes, handleProtocols, clientTracking: false, autoPong: false });
  const open = (socket: WebSocket, request: IncomingMessage, network: Duplex): void => {
    const connection = new Connection(socket, requestIdOf(request.headers), traceIdOf(request.headers.traceparent));
    connections.add(connection);
    connection.watchArrivals(network);
    socket.on('error', (error) => logger.debug({ err: error, requestId: connection.requestId }, 'a connection failed'));
    const closed = protocol.opened(connection.adapter((text) => !isTooDeep(text), (error) => logger.error({ err: error, requestId: connection.requestId }, 'a message could not be handled')), { connection });
    socket.once('close', (code, reason) => {
      connections.delete(connection);
      closed(code, String(reason)).catch((error: unknown) => logger.error({ err: error }, 'a connection could not be ended'));
    });
  };
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    const status = refusedUpgrade(deps, request);
    if (status) return void socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    sockets.handleUpgrade(request, socket, head, (opened) => open(opened, request, socket));
  };
  deps.server.on('upgrade', onUpgrade);

  const endViewers = (match: (viewer: Viewer) => boolean, reason: string): void => {
    for (const connection of connections) if (connection.viewer && match(connection.viewer)) connection.endAuthentication(reason);
  };
  const sweeper = setInterval(sweep(() => [...connections].flatMap(({ viewer }) => viewer ?? []), services, endViewers, logger), SWEEP_MS);
  const pinger = setInterval(() => {
    for (const connection of connections) connection.ping();
  }, PING_MS);
  sweeper.unref();
  pinger.unref();

  return {
    endViewers,
    async close() {
      clearInterval(sweeper);
      clearInterval(pinger);
      deps.server.off('upgrade', onUpgrade);
      await Promise.all([...connections].map((connection) => connection.goAway()));
      sockets.close();
    },
  };
}

/** Asks the database which of the connected viewers have ended since; credentials with a date are looked at here. */
function sweep(viewersOf: () => Viewer[], services: Services, endViewers: WebSocketDoor['endViewers'], logger: Logger): () => void {
  let running = false;
  return () => {
    const viewers = viewersOf();
    if (running || viewers.length === 0) return;
    const now = Date.now();
    endViewers((viewer) => viewer.expiresAtMs !== null && viewer.expiresAtMs <= now, 'The credentials have expired.');
    running = true;
    services.auth
      .ended(viewers)
      .then((ended) => ended.size && endViewers((viewer) => ended.has(viewer), 'The credentials are no longer valid.'))
      .catch((error: unknown) => logger.warn({ err: error }, 'ended credentials could not be looked for'))
      .finally(() => (running = false));
  };
}

/** The status line that refuses an upgrade, or null. Browsers send `Origin` and no preflight for WebSockets: this is their only CORS. */
function refusedUpgrade({ config, path, isStopping }: WebSocketDeps, request: IncomingMessage): string | null {
  if ((request.url ?? '').split('?', 1)[0] !== path) return '404 Not Found';
  if (isStopping()) return '503 Service Unavailable';
  const { origin, host } = request.headers;
  if (origin === undefined || config.corsOrigins.includes('*') || config.corsOrigins.includes(origin)) return null;
  return URL.canParse(origin) && new URL(origin).host === host ? null : '403 Forbidden';
}

/** `connection_init` with `{ authorization: "Bearer …" }`, `{ Authorization }`, `{ headers: { Authorization } }` as some explorers have it, or `{ token }`. */
function authorizationOf(params: Record<string, unknown> | undefined): string | null {
  const { headers, token } = params ?? {};
  const nested = (headers ?? {}) as Record<string, unknown>;
  const value = params?.authorization ?? params?.Authorization ?? nested.Authorization ?? nested.authorization;
  if (typeof value === 'string') return value;
  return typeof token === 'string' ? `Bearer ${token}` : null;
}

const tokenKey = (viewer: Viewer): string => viewer.tokenId ?? viewer.userId;
const refused = (error: AppError): GraphQLError => new GraphQLError(error.public, { originalError: error });
const requestIdIn = (args: ExecutionArgs, context: Context<Record<string, unknown>, Extra>): string =>
  (args.contextValue as { requestId?: string } | undefined)?.requestId ?? context.extra.connection.requestId;
