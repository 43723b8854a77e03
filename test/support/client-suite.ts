import path from 'node:path';
import { WebSocket } from 'ws';
import type { TestApp } from './app';
import { operation } from './operations';
import { forever, gate } from './provider-script';
import { ask, createFixture, type Fixture } from './stream-fixture';
import { TcpFront } from './tcp-front';
import { settledRows } from './usage-rows';
import { eventually, waitFor } from './wait';
import { isTerminal, textOf, type StreamEvent } from './ws-client';

/** What a client makes of one `chatStream`. */
export interface ClientStream {
  events: StreamEvent[];
  errors: unknown[];
  /** Resolves when the client calls the stream over, in good or bad. */
  ended: Promise<void>;
  leave(): void;
}

/** One of the clients that applications use, with its usual settings. */
export interface ClientUnderTest {
  /** A query or mutation of schema/operations, by HTTP. Rejects when there are errors. */
  run(operation: 'models' | 'chat' | 'stop-stream', variables: Record<string, unknown>): Promise<any>;
  stream(input: Record<string, unknown>): ClientStream;
  close(): Promise<void>;
}

export interface ClientPlace {
  app: TestApp;
  /** Of the graph, through a network that tests cut. */
  url: string;
  token: () => string;
  /** To be given to the client: it counts the connections. */
  webSocketImpl: typeof WebSocket;
  /** With next to no delay between attempts: tests do not sleep. */
  resume: { firstDelayMs: number; longestDelayMs: number };
}

/**
 * Examples are JavaScript with their types in comments: `tsc -p examples` looks at those, and tests take the files as
 * they are.
 */
export const example = (file: string): any => require(path.join(__dirname, '..', '..', 'examples', file));

/** The connections of a client. */
class Sockets {
  readonly opened: WebSocket[] = [];
  readonly impl: typeof WebSocket;

  constructor() {
    const { opened } = this;
    this.impl = class extends WebSocket {
      constructor(address: string | URL, protocols?: string | string[]) {
        super(address, protocols);
        opened.push(this);
      }
    } as typeof WebSocket;
  }
}

/** Collects what a client hands out; the end may be told by more than one callback. */
export function collector(): ClientStream & {
  next(event: StreamEvent): void;
  fail(error: unknown): void;
  end(): void;
} {
  let end!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const events: StreamEvent[] = [];
  const errors: unknown[] = [];
  return {
    events,
    errors,
    ended,
    end,
    leave: () => {},
    next: (event) => void events.push(event),
    fail: (error) => (errors.push(error), end()),
  };
}

/** Queries and mutations by `fetch`, streams by something with the `subscribe` of graphql-ws. */
export const plainClient = (
  { app, token }: ClientPlace,
  subscribe: (operation: object, sink: object) => () => void,
  close: () => Promise<void> = async () => {},
): ClientUnderTest => ({
  run: async (name, variables) => {
    const { data, errors } = await app.graphql(token(), operation(name), variables);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  },
  stream: (input) => {
    const stream = collector();
    const leave = subscribe(
      { query: operation('chat-stream'), variables: { input } },
      {
        next: ({ data, errors }: { data?: { chatStream: StreamEvent }; errors?: unknown }) => {
          if (errors) stream.fail(errors);
          if (data) stream.next(data.chatStream);
        },
        error: stream.fail,
        complete: stream.end,
      },
    );
    return { ...stream, leave };
  },
  close,
});

const WORDS = ['Words ', 'come ', 'one ', 'by ', 'one, ', 'naïve ', '🙂 ', 'and ', 'all.'];

/** What every client has to be able to do with us. */
export function describeClient(
  name: string,
  create: (place: ClientPlace) => ClientUnderTest,
  {
    streamsOnly = false,
  }: { /** It has a connection for each stream, and nothing but streams. */ streamsOnly?: boolean } = {},
): void {
  describe(name, () => {
    let fixture: Fixture;
    let network: TcpFront;
    let sockets: Sockets;
    let client: ClientUnderTest;
    beforeEach(async () => {
      fixture = await createFixture();
      network = await TcpFront.start(fixture.app.url);
      sockets = new Sockets();
      client = create({
        app: fixture.app,
        url: network.url,
        token: () => fixture.member.token,
        webSocketImpl: sockets.impl,
        resume: { firstDelayMs: 5, longestDelayMs: 50 },
      });
    });
    afterEach(async () => {
      await client.close();
      await network.stop();
      await fixture.close();
    });

    const seen = (
      stream: ClientStream,
      what: string,
      predicate: (event: StreamEvent) => boolean,
    ): Promise<StreamEvent> =>
      waitFor(() => stream.events.find(predicate), {
        what: `${what}; events: ${JSON.stringify(stream.events).slice(0, 500)}; errors: ${String(stream.errors)}`,
      });
    const started = (stream: ClientStream): Promise<StreamEvent> =>
      seen(stream, 'the start of the stream', ({ __typename }) => __typename === 'StreamStarted');
    /** Pieces follow each other without gap or overlap, text is whole, and one terminal event is the last. */
    const expectWhole = (events: StreamEvent[], text: string): void => {
      let next = 1;
      for (const { fromSeq, seq } of events) {
        expect(fromSeq).toBe(next);
        expect(seq).toBeGreaterThanOrEqual(fromSeq);
        next = seq + 1;
      }
      expect(textOf(events)).toBe(text);
      expect(events.filter(isTerminal)).toEqual([events.at(-1)]);
    };

    if (!streamsOnly)
      it('lists the models of its plan', async () => {
        const { models } = await client.run('models', {});
        expect(models).toMatchObject({ stale: false, source: 'DIRECT' });
        expect(models.items.map(({ id, available }: { id: string; available: boolean }) => [id, available])).toEqual([
          ['test-chat', true],
          ['test-small', true],
          ['test-unpriced', true],
        ]);
      });

    if (!streamsOnly)
      it('chats, and gets answer, usage and refusal by the same document', async () => {
        const { chat } = await client.run('chat', { input: ask('Hello') });
        expect(chat).toMatchObject({
          __typename: 'ChatReply',
          finishReason: 'STOP',
          answer: { role: 'ASSISTANT', content: 'You said: Hello' },
          usage: { promptTokens: 11, completionTokens: 3 },
          route: { model: 'test-chat', upstream: 'DIRECT' },
        });
        const refused = await client.run('chat', { input: { ...ask('Hello'), model: 'no-such-model' } });
        expect(refused.chat).toMatchObject({
          __typename: 'ModelNotAllowed',
          code: 'MODEL_NOT_ALLOWED',
          retryable: false,
          model: 'no-such-model',
          plansThatAllow: [],
        });
        expect(await settledRows(fixture.database.db)).toEqual([
          expect.objectContaining({ id: chat.call.id, status: 'COMPLETED', streamed: false }),
        ]);
      });

    it('sees an answer word by word, each as it comes, complete and in order', async () => {
      const rest = gate();
      fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 2, until: rest } });
      const stream = client.stream(ask('Go'));
      // The provider has said two words and is silent: they are here already.
      await waitFor(() => textOf(stream.events) === 'Words come ', { what: 'the first words' });
      expect(stream.events.some(isTerminal)).toBe(false);
      rest.open();
      await eventually(stream.ended, 'the end of the stream');
      expect(stream.errors).toEqual([]);
      expectWhole(stream.events, WORDS.join(''));
      expect(stream.events[0]).toMatchObject({ __typename: 'StreamStarted', fromSeq: 1, model: 'test-chat' });
      expect(stream.events.at(-1)).toMatchObject({
        __typename: 'StreamCompleted',
        reply: {
          finishReason: 'STOP',
          answer: { content: WORDS.join(''), complete: true },
          usage: { completionTokens: WORDS.length },
        },
      });
      expect(await settledRows(fixture.database.db)).toEqual([
        expect.objectContaining({ id: stream.events[0]!.callId, status: 'COMPLETED', streamed: true }),
      ]);
    });

    it('is told of a refusal in the stream', async () => {
      const stream = client.stream({ ...ask('Go'), model: 'no-such-model' });
      await eventually(stream.ended, 'the end of the stream');
      expect(stream.events).toEqual([
        expect.objectContaining({
          __typename: 'StreamRefused',
          fromSeq: 1,
          seq: 1,
          refusal: expect.objectContaining({ code: 'MODEL_NOT_ALLOWED', retryable: false }),
        }),
      ]);
    });

    it('stops a stream in the middle by HTTP: what came is kept, the upstream is closed, one row is written', async () => {
      fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 2, until: forever } });
      const stream = client.stream(ask('Go'));
      const { streamId, callId } = await started(stream);
      await seen(stream, 'the second word', ({ __typename, seq }) => __typename === 'TextDelta' && seq >= 3);
      expect(await client.run('stop-stream', { streamId })).toMatchObject({ stopStream: { streamId, stopped: true } });
      await eventually(stream.ended, 'the end of the stream');
      expect(stream.errors).toEqual([]);
      expectWhole(stream.events, 'Words come ');
      expect(stream.events.at(-1)).toMatchObject({
        __typename: 'StreamStopped',
        reason: 'CLIENT',
        reply: { finishReason: 'STOPPED', answer: { content: 'Words come ', complete: false } },
      });
      await eventually((await fixture.provider.completion(0)).closed, 'the end of the upstream request');
      expect(await settledRows(fixture.database.db)).toEqual([
        expect.objectContaining({ id: callId, status: 'STOPPED' }),
      ]);
    });

    it('leaves a stream: with CANCEL the upstream is closed, and the connection serves the next one', async () => {
      fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 1, until: forever } });
      const first = client.stream(ask('Go', { onDisconnect: 'CANCEL' }));
      await seen(first, 'the first word', ({ __typename }) => __typename === 'TextDelta');
      const second = client.stream({ ...ask('Next'), model: 'test-small' });
      await eventually(second.ended, 'the end of the second stream');
      first.leave();
      await eventually((await fixture.provider.completion(0)).closed, 'the end of the upstream request');
      expectWhole(second.events, 'You said: Next');
      expect((await settledRows(fixture.database.db)).map(({ status }) => status)).toEqual(['STOPPED', 'COMPLETED']);
      if (!streamsOnly) expect(sockets.opened).toHaveLength(1);
    });

    it('goes on exactly behind the last piece when the network is back: one call, one row, the text whole', async () => {
      const [beforeOutage, duringOutage] = [gate(), gate()];
      fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 2, until: beforeOutage } });
      fixture.provider.script('test-small', { pieces: WORDS, hold: { after: 5, until: duringOutage } });
      const whileSilent = client.stream(ask('Go'));
      const whileSpeaking = client.stream({ ...ask('Go'), model: 'test-small' });
      await waitFor(() => textOf(whileSilent.events) === 'Words come ', { what: 'the second word' });
      await waitFor(() => textOf(whileSpeaking.events) === WORDS.slice(0, 5).join(''), { what: 'the fifth word' });
      network.away = true;
      // One model speaks on to its end while nobody can hear it, the other one when they are back.
      duringOutage.open();
      const requests = await Promise.all([0, 1].map((index) => fixture.provider.completion(index)));
      await eventually(
        requests.find(({ body }) => body.model === 'test-small')!.closed,
        'the end of the upstream request',
      );
      network.away = false;
      await eventually(whileSpeaking.ended, 'the end of the stream that has ended meanwhile');
      beforeOutage.open();
      await eventually(whileSilent.ended, 'the end of the stream');
      for (const { events, errors } of [whileSilent, whileSpeaking]) {
        expect(errors).toEqual([]);
        expectWhole(events, WORDS.join(''));
        expect(events.filter(({ __typename }) => __typename === 'StreamStarted')).toHaveLength(1);
        expect(events.at(-1)).toMatchObject({
          __typename: 'StreamCompleted',
          reply: { answer: { content: WORDS.join(''), complete: true } },
        });
      }

      const next = client.stream(ask('And now'));
      await eventually(next.ended, 'a new stream');
      expectWhole(next.events, 'You said: And now');
      expect((await settledRows(fixture.database.db)).map(({ status }) => status)).toEqual([
        'COMPLETED',
        'COMPLETED',
        'COMPLETED',
      ]);
      expect(fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions')).toHaveLength(3);
    });
  });
}
