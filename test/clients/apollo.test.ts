import type { OperationVariables } from '@apollo/client/core';
import { collector, describeClient, example } from '../support/client-suite';
import { operationDocument, possibleTypes } from '../support/operations';
import type { StreamEvent } from '../support/ws-client';

const { createApollo } = example('clients/apollo.js');

describeClient('Apollo Client, with the cache told of our unions', ({ url, token, webSocketImpl, resume }) => {
  const { client, socket } = createApollo({ url, token, possibleTypes: possibleTypes(), webSocketImpl, resume });
  return {
    run: async (name, variables) => {
      const document = operationDocument(name);
      const { data, error } =
        name === 'models'
          ? await client.query({ query: document, variables })
          : await client.mutate({ mutation: document, variables });
      if (error) throw error;
      return data;
    },
    stream: (input) => {
      const stream = collector();
      const subscription = client
        .subscribe({ query: operationDocument('chat-stream'), variables: { input } as OperationVariables })
        .subscribe({
          next: ({ data, error }: { data?: { chatStream: StreamEvent }; error?: Error }) => {
            if (error) stream.fail(error);
            if (data) stream.next(data.chatStream);
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
