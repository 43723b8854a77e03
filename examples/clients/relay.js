import { Environment, Network, Observable, RecordSource, Store } from 'relay-runtime';
import { resuming } from '../browser-chat/resuming.js';
import { createSocket } from './sockets.js';

/** @param {{ url: string, token: () => string | Promise<string>, webSocketImpl?: unknown, resume?: import('../browser-chat/resuming.js').ResumeOptions }} options */
export function createRelay({ url, token, webSocketImpl, resume }) {
  const socket = createSocket({ url, token, webSocketImpl });
  const subscribe = resuming((operation, sink) => socket.subscribe(/** @type {any} */ (operation), sink), resume);
  const network = Network.create(
    async ({ text, name }, variables) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${await token()}` },
        body: JSON.stringify({ query: text, operationName: name, variables }),
      });
      return response.json();
    },
    ({ text, name }, variables) => Observable.create((sink) => subscribe({ query: text ?? '', operationName: name, variables }, sink)),
  );
  return { environment: new Environment({ network, store: new Store(new RecordSource()) }), socket };
}
