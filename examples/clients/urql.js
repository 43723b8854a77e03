import { cacheExchange, Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { resuming } from '../browser-chat/resuming.js';
import { createSocket } from './sockets.js';

/** @param {{ url: string, token: () => string | Promise<string>, webSocketImpl?: unknown, resume?: import('../browser-chat/resuming.js').ResumeOptions }} options */
export function createUrql({ url, token, webSocketImpl, resume }) {
  const socket = createSocket({ url, token, webSocketImpl });
  const subscribe = resuming((operation, sink) => socket.subscribe(/** @type {any} */ (operation), sink), resume);
  const client = new Client({
    url,
    fetch: async (address, init) => fetch(address, { ...init, headers: { ...init?.headers, authorization: `Bearer ${await token()}` } }),
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({ forwardSubscription: ({ query = '', variables }) => ({ subscribe: (sink) => ({ unsubscribe: subscribe({ query, variables: /** @type {any} */ (variables) }, sink) }) }) }),
    ],
  });
  return { client, socket };
}
