import { collector, describeClient, example } from '../support/client-suite';
import { operation } from '../support/operations';
import type { StreamEvent } from '../support/ws-client';

const { createUrql } = example('clients/urql.js');

describeClient('urql', ({ url, token, webSocketImpl, resume }) => {
  const { client, socket } = createUrql({ url, token, webSocketImpl, resume });
  return {
    run: async (name, variables) => {
      const { data, error } = await (
        name === 'models' ? client.query(operation(name), variables) : client.mutation(operation(name), variables)
      ).toPromise();
      if (error) throw error;
      return data;
    },
    stream: (input) => {
      const stream = collector();
      const { unsubscribe } = client
        .subscription(operation('chat-stream'), { input })
        .subscribe(
          ({ data, error, hasNext }: { data?: { chatStream: StreamEvent }; error?: Error; hasNext: boolean }) => {
            if (error) stream.fail(error);
            if (data && hasNext !== false) stream.next(data.chatStream);
            if (hasNext === false) stream.end();
          },
        );
      return { ...stream, leave: unsubscribe };
    },
    close: async () => void (await socket.dispose()),
  };
});
