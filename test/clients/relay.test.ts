import { commitMutation, fetchQuery, requestSubscription, type ConcreteRequest } from 'relay-runtime';
import { collector, describeClient, example } from '../support/client-suite';
import { relayRequest } from '../support/relay-request';
import type { StreamEvent } from '../support/ws-client';

const { createRelay } = example('clients/relay.js');
const request = (name: string): ConcreteRequest => relayRequest(name) as unknown as ConcreteRequest;

describeClient('Relay, through its store', ({ url, token, webSocketImpl, resume }) => {
  const { environment, socket } = createRelay({ url, token, webSocketImpl, resume });
  return {
    run: (name, variables) =>
      name === 'models'
        ? fetchQuery(environment, request(name), variables).toPromise()
        : new Promise(
            (resolve, reject) =>
              void commitMutation(environment, {
                mutation: request(name),
                variables,
                onCompleted: (response, errors) =>
                  errors ? reject(new Error(JSON.stringify(errors))) : resolve(response),
                onError: reject,
              }),
          ),
    stream: (input) => {
      const stream = collector();
      const subscription = requestSubscription(environment, {
        subscription: request('chat-stream'),
        variables: { input },
        onNext: (response) => stream.next((response as { chatStream: StreamEvent }).chatStream),
        onError: stream.fail,
        onCompleted: stream.end,
      });
      return { ...stream, leave: () => subscription.dispose() };
    },
    close: async () => void (await socket.dispose()),
  };
});
