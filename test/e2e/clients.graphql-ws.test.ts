import { createClient } from 'graphql-ws';
import { collector, describeClient } from '../support/client-suite';
import { operation } from '../support/operations';
import { ask, createFixture } from '../support/stream-fixture';
import { settledRows } from '../support/usage-rows';
import { waitFor, within } from '../support/wait';
import { textOf, type StreamEvent } from '../support/ws-client';
import { WebSocket } from 'ws';
import { forever } from '../support/provider-script';

describeClient('graphql-ws, and fetch for the rest', ({ app, token, webSocketImpl, retryWait }) => {
  const socket = createClient({ url: app.websocketUrl, webSocketImpl, connectionParams: { authorization: `Bearer ${token}` }, retryWait });
  return {
    run: async (name, variables) => {
      const { data, errors } = await app.graphql(token, operation(name), variables);
      if (errors) throw new Error(JSON.stringify(errors));
      return data;
    },
    stream: (input) => {
      const stream = collector();
      const leave = socket.subscribe<{ chatStream: StreamEvent }>({ query: operation('chat-stream'), variables: { input } }, {
        next: ({ data, errors }) => {
          if (errors) stream.fail(errors);
          if (data) stream.next(data.chatStream);
        },
        error: (error) => stream.fail(error),
        complete: () => stream.end(),
      });
      return { ...stream, leave };
    },
    close: async () => void (await socket.dispose()),
  };
});

describe('graphql-ws without retries, as it is wise for calls that cost money', () => {
  it('tells the application of the cut, asks nothing again by itself, and connects for the next operation', async () => {
    const { app, member, provider, database, close } = await createFixture();
    const opened: WebSocket[] = [];
    class Observed extends WebSocket {
      constructor(address: string | URL, protocols?: string | string[]) {
        super(address, protocols);
        opened.push(this);
      }
    }
    const client = createClient({ url: app.websocketUrl, webSocketImpl: Observed, connectionParams: { authorization: `Bearer ${member.token}` }, retryAttempts: 0 });
    const begin = (input: Record<string, unknown>) => {
      const stream = collector();
      client.subscribe<{ chatStream: StreamEvent }>({ query: operation('chat-stream'), variables: { input } }, { next: ({ data }) => stream.next(data!.chatStream), error: stream.fail, complete: stream.end });
      return stream;
    };
    try {
      provider.script('test-chat', { pieces: ['one ', 'two '], hold: { after: 1, until: forever } });
      const first = begin(ask('Go'));
      await waitFor(() => textOf(first.events) === 'one ', { what: 'the first word' });
      opened[0]!.terminate();
      await within(first.ended, 3_000, 'news of the cut');
      expect(first.errors).toEqual([expect.objectContaining({ code: 1006 })]);
      await within((await provider.completion(0)).closed, 3_000, 'the end of the upstream request');

      const second = begin(ask('Again'));
      await within(second.ended, 3_000, 'the second stream');
      expect(textOf(second.events)).toBe('You said: Again');
      expect((await settledRows(database.db)).map(({ status }) => status)).toEqual(['STOPPED', 'COMPLETED']);
      expect(opened).toHaveLength(2);
    } finally {
      await client.dispose();
      await close();
    }
  });
});
