import { cacheExchange, Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import { collector, describeClient } from '../support/client-suite';
import { operation } from '../support/operations';
import type { StreamEvent } from '../support/ws-client';

describeClient('urql', ({ app, token, webSocketImpl, retryWait }) => {
  const socket = createClient({ url: app.websocketUrl, webSocketImpl, connectionParams: { authorization: `Bearer ${token}` }, retryWait });
  const client = new Client({
    url: app.url,
    fetchOptions: { headers: { authorization: `Bearer ${token}` } },
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query: query ?? '', variables: variables as Record<string, unknown> }, sink as Parameters<typeof socket.subscribe>[1]) }),
        }),
      }),
    ],
  });
  return {
    run: async (name, variables) => {
      const { data, error } = await (name === 'models' ? client.query(operation(name), variables) : client.mutation(operation(name), variables)).toPromise();
      if (error) throw error;
      return data;
    },
    stream: (input) => {
      const stream = collector();
      const { unsubscribe } = client.subscription<{ chatStream: StreamEvent }>(operation('chat-stream'), { input }).subscribe(({ data, error, hasNext }) => {
        if (error) stream.fail(error);
        if (data && hasNext !== false) stream.next(data.chatStream);
        if (hasNext === false) stream.end();
      });
      return { ...stream, leave: unsubscribe };
    },
    close: async () => void (await socket.dispose()),
  };
});
