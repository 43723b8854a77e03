import type { AddressInfo } from 'node:net';
import type { GraphQLSchema } from 'graphql';
import type { Config } from '../config';
import type { Logger } from '../lib/logger';
import type { Services } from '../services/services';
import type { Viewer } from '../services/viewer/viewer.types';
import { startApollo } from './apollo';
import { openExplorer } from './explorer';
import { buildHttp, GRAPHQL_PATH, type Readiness } from './http';
import { openWebSocketDoor } from './websocket';

export interface ServerDeps {
  config: Config;
  schema: GraphQLSchema;
  services: Services;
  logger: Logger;
  /** For `/health/ready`: whether new calls can be served, and each component's state. */
  readiness: () => Promise<Readiness>;
  /** false: everything through graphql-js. For comparisons. */
  jit?: boolean;
}

export interface GraphServer {
  /** Opens both doors on one port. Rejects with the system's error, as EADDRINUSE. */
  listen(): Promise<{ url: string; port: number }>;
  /** Takes no new connections, and refuses new operations on those that are there with SERVICE_UNAVAILABLE. Running ones go on. */
  stopAccepting(): Promise<void>;
  /** Says 1001 to all WebSockets, then ends HTTP. To be called when running calls have ended. */
  close(): Promise<void>;
  /** Ends the subscriptions and sockets of these viewers with UNAUTHENTICATED. */
  endViewers(match: (viewer: Viewer) => boolean, reason?: string): void;
}

/** Requests that still run when everything else has ended have this long. Milliseconds. */
const LAST_REQUESTS_MS = 2_000;

/** Both doors: HTTP and WebSocket on one http.Server. */
export async function createServer(deps: ServerDeps): Promise<GraphServer> {
  const { config, schema, services, logger } = deps;
  let stopping = false;
  const isStopping = (): boolean => stopping;
  const apollo = await startApollo({ schema, logger, production: config.env === 'production', jit: deps.jit });
  const explorer = config.explorer ? openExplorer({ config, logger }) : null;
  const app = await buildHttp({ config, apollo, schema, services, logger, readiness: deps.readiness, explorer, isStopping });
  const sockets = openWebSocketDoor({ config, schema, services, logger, server: app.server, path: GRAPHQL_PATH, isStopping });
  await app.ready();

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
      await sockets.close();
      const cut = setTimeout(() => app.server.closeAllConnections(), LAST_REQUESTS_MS);
      await app.close();
      clearTimeout(cut);
      await apollo.stop();
    },
    endViewers: (match, reason = 'The credentials are no longer valid.') => sockets.endViewers(match, reason),
  };
}

/** A host name that a person can open: nobody connects to "all addresses". */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
