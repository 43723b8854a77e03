import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, type OperationVariables } from '@apollo/client/core';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { getMainDefinition } from '@apollo/client/utilities';
import { createClient } from 'graphql-ws';
import { collector, describeClient } from '../support/client-suite';
import { operationDocument, possibleTypes } from '../support/operations';
import type { StreamEvent } from '../support/ws-client';

describeClient('Apollo Client, with the cache told of our unions', ({ app, token, webSocketImpl, retryWait }) => {
  const socket = createClient({ url: app.websocketUrl, webSocketImpl, connectionParams: { authorization: `Bearer ${token}` }, retryWait });
  const client = new ApolloClient({
    cache: new InMemoryCache({ possibleTypes: possibleTypes() }),
    link: ApolloLink.split(
      ({ query }) => {
        const main = getMainDefinition(query);
        return main.kind === 'OperationDefinition' && main.operation === 'subscription';
      },
      new GraphQLWsLink(socket),
      new HttpLink({ uri: app.url, headers: { authorization: `Bearer ${token}` } }),
    ),
  });
  return {
    run: async (name, variables) => {
      const document = operationDocument(name);
      const { data, error } = name === 'models' ? await client.query({ query: document, variables }) : await client.mutate({ mutation: document, variables });
      if (error) throw error;
      return data;
    },
    stream: (input) => {
      const stream = collector();
      const subscription = client.subscribe<{ chatStream: StreamEvent }, OperationVariables>({ query: operationDocument('chat-stream'), variables: { input } }).subscribe({
        next: ({ data, error }) => {
          if (error) stream.fail(error);
          if (data) stream.next(data.chatStream as StreamEvent);
        },
        error: stream.fail,
        complete: stream.end,
      });
      return { ...stream, leave: () => subscription.unsubscribe() };
    },
    close: async () => {
      client.stop();
      await socket.dispose();
    },
  };
});
