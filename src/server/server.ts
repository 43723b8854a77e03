import type { AddressInfo } from 'node:net';
import type { GraphQLSchema } from 'graphql';
import type { ServerConfig } from './server-config';
import type { Logger } from '../lib/logger';
import type { Metrics } from '../lib/metrics';
import { startApollo } from './graphql/apollo';
import type { Door } from './door';
import { Execution } from './graphql/execution';
import { openExplorer } from './explorer';
import { buildHttp, GRAPHQL_PATH, type Readiness } from './http';
import { Shortcut } from './graphql/shortcut';
import { openEventsDoor } from './sse/sse';
import { SubscriptionReader } from './graphql/subscription-reader';
import { openWebSocketDoor } from './websocket/websocket';
import type { Services } from '../resolvers/context';

export interface ServerDeps {
  config: ServerConfig;
  schema: GraphQLSchema;
  services: Services;
  logger: Logger;
  metrics: Pick<Metrics, 'httpRequests'>;
  /** For `/health/ready`: whether new calls can be served, and each component's state. */
  readiness: () => Promise<Readiness>;
  /** false: everything through graphql-js. For comparisons. */
  jit?: boolean;
  /** false: everything through Apollo. For comparisons. */
  shortcut?: boolean;
  /**
   * Who gives no sign of life for so long at the doors for subscriptions is closed. By server-sent events, that nothing
   * is taken is seen only once the kernel's buffers (some hundred KB) are full. Milliseconds.
   */
  silentMs?: number;
}

/**
 * All doors as one. `close` is to be called when running calls have ended: it says 1001 to all WebSockets, ends
 * server-sent events, then HTTP.
 */
export interface GraphServer extends Door {
  /** Opens all doors on one port. Rejects with the system's error, as EADDRINUSE. */
  listen(): Promise<{ url: string; port: number }>;
  /**
   * Takes no new connections, and refuses new operations on those that are there with SERVICE_UNAVAILABLE. Running ones
   * go on.
   */
  stopAccepting(): Promise<void>;
}

/** Requests that still run when everything else has ended have this long. Milliseconds. */
const LAST_REQUESTS_MS = 2_000;
/**
 * A phone in a tunnel comes back, and TCP has kept everything: a minute is longer than nearly all tunnels. In the
 * meantime its stream goes on as one that is watched.
 */
const SILENT_MS = 60_000;

/** The doors: HTTP, server-sent events and WebSocket on one http.Server. */
export async function createServer(deps: ServerDeps): Promise<GraphServer> {
  const { config, schema, services, logger, silentMs = SILENT_MS } = deps;
  let stopping = false;
  const isStopping = (): boolean => stopping;
  const production = config.env === 'production';
  const execution = new Execution({ schema, logger, production, jit: deps.jit });
  const shortcut = deps.shortcut === false ? null : new Shortcut(execution, logger);
  const apollo = await startApollo({ schema, logger, production, execution, shortcut });
  const explorer = config.explorer ? openExplorer({ config, logger }) : null;
  const reader = new SubscriptionReader({ schema, production, isStopping });
  const events = openEventsDoor({ services, logger, reader, silentMs });
  const { metrics, readiness } = deps;
  const app = await buildHttp({
    config,
    events,
    apollo,
    shortcut,
    schema,
    services,
    logger,
    metrics,
    readiness,
    explorer,
    isStopping,
  });
  const sockets = openWebSocketDoor({
    config,
    schema,
    services,
    logger,
    server: app.server,
    path: GRAPHQL_PATH,
    isStopping,
    reader,
    silentMs,
  });
  await app.ready();
  // A whole answer was admitted, and is finished: nobody stays connected by HTTP.
  const http: Door = {
    principals: () => [],
    endPrincipals: () => {},
    async close() {
      const cut = setTimeout(() => app.server.closeAllConnections(), LAST_REQUESTS_MS);
      await app.close();
      clearTimeout(cut);
      await apollo.stop();
    },
  };
  const doors = [http, sockets, events];

  return {
    async listen() {
      await app.listen({ host: config.host, port: config.port });
      const { port } = app.server.address() as AddressInfo;
      return { url: `http://${reachable(config.host)}:${port}${GRAPHQL_PATH}`, port };
    },
    async stopAccepting() {
      stopping = true;
      // Not awaited: it calls back when the last running request has ended.
      if (app.server.listening) app.server.close();
      app.server.closeIdleConnections();
    },
    async close() {
      stopping = true;
      await Promise.all([sockets.close(), events.close()]);
      await http.close();
    },
    principals: () => doors.flatMap((door) => door.principals()),
    endPrincipals: (match, reason, graceMs) => {
      for (const door of doors) door.endPrincipals(match, reason, graceMs);
    },
  };
}

/** A host name that a person can open: nobody connects to "all addresses". */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
