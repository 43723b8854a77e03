import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ExecutionArgs, GraphQLError, GraphQLSchema } from 'graphql';
import { handleProtocols, makeServer, type Context, type Server as ProtocolServer } from 'graphql-ws';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ServerConfig } from '../server-config';
import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import { boundedResult } from '../graphql/response-limit';
import { readCredential } from '../auth';
import { type Door, OpenCounter } from '../door';
import { formatError, toAppError } from '../graphql/format-error';
import { isTooDeep } from '../json-body';
import { contextOf, requestIdOf, traceIdOf } from '../graphql/request';
import { startSubscription, type SubscriptionArgs } from '../graphql/subscription';
import { refused, type SubscriptionReader } from '../graphql/subscription-reader';
import { CLOSE, Connection, SILENT_PINGS } from './connection';
import type { Services } from '../../resolvers/context';

export interface WebSocketDeps {
  config: ServerConfig;
  schema: GraphQLSchema;
  services: Services;
  logger: Logger;
  server: Server;
  path: string;
  isStopping: () => boolean;
  reader: SubscriptionReader;
  /** A socket of which nothing is heard for so long, or that takes nothing for so long, is closed. Milliseconds. */
  silentMs: number;
}
const INIT_TIMEOUT_MS = 3_000;
const MAX_OPERATIONS = 20;
const MAX_SOCKETS_PER_TOKEN = 100;

type Extra = { connection: Connection };

/**
 * The WebSocket door: graphql-transport-ws for subscriptions only. It goes past Apollo, so guards, variables and errors
 * are the same functions that the HTTP door calls.
 */
export function openWebSocketDoor(deps: WebSocketDeps): Door {
  const { config, schema, services, logger, reader, silentMs } = deps;
  const connections = new Set<Connection>();
  const counter = new OpenCounter(MAX_SOCKETS_PER_TOKEN, 'connections by WebSocket');

  const onConnect = async (context: Context<Record<string, unknown>, Extra>): Promise<boolean> => {
    const { connection } = context.extra;
    try {
      if (deps.isStopping()) throw new AppError('SERVICE_UNAVAILABLE');
      const viewer = await services.auth.authenticate(readCredential({ params: context.connectionParams }));
      connection.leave = counter.enter(viewer);
      connection.viewer = viewer;
      connection.admitted();
      return true;
    } catch (error) {
      const known = toAppError(error);
      if (known?.code === 'UNAUTHENTICATED') connection.close(CLOSE.unauthenticated, known.public);
      else if (known?.code === 'RATE_LIMITED') connection.close(CLOSE.tooMany, known.public);
      else {
        formatError(error, { logger, requestId: connection.requestId });
        connection.close(CLOSE.tryAgain, 'try again later');
      }
      // After our own close code: graphql-ws would send 4403, which clients retry.
      return false;
    }
  };

  const onSubscribe = (
    context: Context<Record<string, unknown>, Extra>,
    id: string,
    payload: { query: string; operationName?: string | null; variables?: Record<string, unknown> | null },
  ): readonly GraphQLError[] | ExecutionArgs => {
    const { connection } = context.extra;
    if (Object.keys(context.subscriptions).length > MAX_OPERATIONS) {
      return [
        refused(
          new AppError('RATE_LIMITED', {
            public: `At most ${MAX_OPERATIONS} operations run on one connection.`,
            retryAfterMs: 1_000,
          }),
        ),
      ];
    }
    const args = reader.read({ ...payload, query: String(payload.query) }, connection.viewer, (viewer) =>
      contextOf(services, viewer, connection.nextRequestId(), connection.traceparentId),
    );
    return 'schema' in args ? ({ ...args, rootValue: undefined, id } as ExecutionArgs) : args;
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
      return (
        errors && {
          ...rest,
          errors: errors.map((error) => formatError(error, { logger, requestId: requestIdIn(args, context) })),
        }
      );
    },
    onError: (context, _id, _payload, errors) =>
      errors.map((error) => formatError(error, { logger, requestId: context.extra.connection.requestId })),
    onComplete: (context, id) => context.extra.connection.ended(id),
  });

  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: config.maxBodyBytes,
    handleProtocols,
    clientTracking: false,
    autoPong: false,
  });
  const open = (socket: WebSocket, request: IncomingMessage, network: Duplex): void => {
    const connection = new Connection(socket, requestIdOf(request.headers), traceIdOf(request.headers.traceparent));
    connections.add(connection);
    connection.watchArrivals(network);
    socket.on('error', (error) => logger.debug({ err: error, requestId: connection.requestId }, 'a connection failed'));
    const closed = protocol.opened(
      connection.adapter(
        (text) => !isTooDeep(text),
        (error) => logger.error({ err: error, requestId: connection.requestId }, 'a message could not be handled'),
      ),
      { connection },
    );
    socket.once('close', (code, reason) => {
      connections.delete(connection);
      connection.left();
      closed(code, String(reason)).catch((error: unknown) =>
        logger.error({ err: error }, 'a connection could not be ended'),
      );
    });
  };
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    const status = refusedUpgrade(deps, request);
    if (status) return void socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    sockets.handleUpgrade(request, socket, head, (opened) => open(opened, request, socket));
  };
  deps.server.on('upgrade', onUpgrade);

  const pinger = setInterval(() => {
    for (const connection of connections) connection.ping();
  }, silentMs / SILENT_PINGS);
  pinger.unref();

  return {
    principals: () => [...connections].flatMap(({ viewer }) => viewer ?? []),
    endPrincipals(match, reason, graceMs) {
      for (const connection of connections)
        if (connection.viewer && match(connection.viewer)) connection.endAuthentication(reason, graceMs);
    },
    async close() {
      clearInterval(pinger);
      deps.server.off('upgrade', onUpgrade);
      await Promise.all([...connections].map((connection) => connection.goAway()));
      sockets.close();
    },
  };
}

/**
 * The status line that refuses an upgrade, or null. Browsers send `Origin` and no preflight for WebSockets: this is
 * their only CORS.
 */
function refusedUpgrade({ config, path, isStopping }: WebSocketDeps, request: IncomingMessage): string | null {
  if ((request.url ?? '').split('?', 1)[0] !== path) return '404 Not Found';
  if (isStopping()) return '503 Service Unavailable';
  const { origin, host } = request.headers;
  if (origin === undefined || config.corsOrigins.includes('*') || config.corsOrigins.includes(origin)) return null;
  return URL.canParse(origin) && new URL(origin).host === host ? null : '403 Forbidden';
}

const requestIdIn = (args: ExecutionArgs, context: Context<Record<string, unknown>, Extra>): string =>
  (args.contextValue as { requestId?: string } | undefined)?.requestId ?? context.extra.connection.requestId;
