import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, Observable } from '@apollo/client/core';
import { print } from 'graphql';
import { resuming } from '../browser-chat/resuming.js';
import { createSocket } from './sockets.js';

/**
 * @param {{ url: string, token: () => string | Promise<string>, possibleTypes: Record<string, string[]>, webSocketImpl?: unknown, resume?: import('../browser-chat/resuming.js').ResumeOptions }} options
 *   `possibleTypes` is schema/possible-types.json: without it Apollo silently drops what is selected on `... on Refusal` and `... on StreamEvent`.
 */
export function createApollo({ url, token, possibleTypes, webSocketImpl, resume }) {
  const socket = createSocket({ url, token, webSocketImpl });
  const subscribe = resuming((operation, sink) => socket.subscribe(/** @type {any} */ (operation), sink), resume);
  const subscriptions = new ApolloLink(({ query, variables, operationName }) => new Observable((sink) => subscribe({ query: print(query), variables, operationName }, sink)));
  const http = new HttpLink({
    uri: url,
    fetch: async (address, init) => fetch(address, { ...init, headers: { ...init?.headers, authorization: `Bearer ${await token()}` } }),
  });
  const client = new ApolloClient({
    cache: new InMemoryCache({ possibleTypes }),
    link: ApolloLink.split(({ operationType }) => operationType === 'subscription', subscriptions, http),
  });
  return { client, socket };
}
