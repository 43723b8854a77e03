import { createClient } from 'graphql-ws';
import { collector, describeClient, example, plainClient } from '../support/client-suite';
import { operation } from '../support/operations';
import { ask, createFixture } from '../support/stream-fixture';
import { settledRows } from '../support/usage-rows';
import { eventually, waitFor } from '../support/wait';
import { textOf, type StreamEvent } from '../support/ws-client';
import { WebSocket } from 'ws';
import { forever, gate } from '../support/provider-script';
import { TcpFront } from '../support/tcp-front';

const { createSocket } = example('clients/sockets.js');
const { resuming } = example('browser-chat/resuming.js');
const { createEvents } = example('clients/sse.js');

describeClient('graphql-ws, and fetch for the rest', (place) => {
  const { url, token, webSocketImpl, resume } = place;
  const socket = createSocket({ url, token, webSocketImpl });
  return plainClient(
    place,
    resuming((asked: object, sink: object) => socket.subscribe(asked, sink), resume),
    () => socket.dispose(),
  );
});

describeClient(
  'graphql-sse, where no WebSocket gets through',
  (place) => {
    const { url, token, resume } = place;
    const { client, subscribe } = createEvents({ url, token, resume });
    return plainClient(place, subscribe, async () => client.dispose());
  },
  { streamsOnly: true },
);

describe.each(['graphql-ws', 'graphql-sse'])('%s over a connection that only looks open', (name) => {
  it('goes on over another one', async () => {
    const { app, member, provider, database, close } = await createFixture();
    const network = await TcpFront.start(app.url);
    const place = {
      url: network.url,
      token: () => member.token,
      webSocketImpl: WebSocket,
      quietMs: 100,
      answerMs: 100,
      silentMs: 500,
    };
    const options = { firstDelayMs: 5, longestDelayMs: 50 };
    const client = name === 'graphql-ws' ? createSocket(place) : createEvents(place).client;
    try {
      const rest = gate();
      provider.script('test-chat', { pieces: ['one ', 'two ', 'three'], hold: { after: 2, until: rest } });
      const stream = collector();
      resuming((asked: object, sink: object) => client.subscribe(asked, sink), options)(
        { query: operation('chat-stream'), variables: { input: ask('Go') } },
        {
          next: ({ data }: { data: { chatStream: StreamEvent } }) => stream.next(data.chatStream),
          error: stream.fail,
          complete: stream.end,
        },
      );
      await waitFor(() => textOf(stream.events) === 'one two ', { what: 'the first words' });
      network.freeze();
      rest.open();
      await eventually(stream.ended, 'the end of the stream');
      expect(stream.errors).toEqual([]);
      expect(textOf(stream.events)).toBe('one two three');
      expect((await settledRows(database.db)).map(({ status }) => status)).toEqual(['COMPLETED']);
    } finally {
      await client.dispose();
      await network.stop();
      await close();
    }
  });
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
    const client = createClient({
      url: app.websocketUrl,
      webSocketImpl: Observed,
      connectionParams: { authorization: `Bearer ${member.token}` },
      retryAttempts: 0,
    });
    const begin = (input: Record<string, unknown>) => {
      const stream = collector();
      client.subscribe<{ chatStream: StreamEvent }>(
        { query: operation('chat-stream'), variables: { input } },
        { next: ({ data }) => stream.next(data!.chatStream), error: stream.fail, complete: stream.end },
      );
      return stream;
    };
    try {
      provider.script('test-chat', { pieces: ['one ', 'two '], hold: { after: 1, until: forever } });
      const first = begin(ask('Go', { onDisconnect: 'CANCEL' }));
      await waitFor(() => textOf(first.events) === 'one ', { what: 'the first word' });
      opened[0]!.terminate();
      await eventually(first.ended, 'news of the cut');
      expect(first.errors).toEqual([expect.objectContaining({ code: 1006 })]);
      await eventually((await provider.completion(0)).closed, 'the end of the upstream request');

      const second = begin(ask('Again'));
      await eventually(second.ended, 'the second stream');
      expect(textOf(second.events)).toBe('You said: Again');
      expect((await settledRows(database.db)).map(({ status }) => status)).toEqual(['STOPPED', 'COMPLETED']);
      expect(opened).toHaveLength(2);
    } finally {
      await client.dispose();
      await close();
    }
  });
});
