// One connection for all subscriptions of an application (graphql-ws), made for resuming.js.
import { createClient } from 'graphql-ws';

/** @param {{ url: string, token: () => string | Promise<string>, webSocketImpl?: unknown, quietMs?: number, answerMs?: number }} options */
export function createSocket({ url, token, webSocketImpl, quietMs = 10_000, answerMs = 5_000 }) {
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  const client = createClient({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl,
    // Asked at each connection: a token that was refreshed meanwhile is used.
    connectionParams: async () => ({ authorization: `Bearer ${await token()}` }),
    // It would ask the same question again; resuming.js asks for the rest.
    retryAttempts: 0,
    // A connection that looks open and is not: no answer to a ping.
    keepAlive: quietMs,
    connectionAckWaitTimeout: quietMs + answerMs,
    on: {
      ping: (received) => {
        if (!received) timer = setTimeout(() => client.terminate(), answerMs);
      },
      pong: () => clearTimeout(timer),
      closed: () => clearTimeout(timer),
    },
  });
  return client;
}
