import { WebSocket } from 'ws';
import { newId } from '../../src/lib/ids';
import { describeClient, example, plainClient } from '../support/client-suite';
import { forever, gate } from '../support/provider-script';
import { ask, createFixture, type Fixture } from '../support/stream-fixture';
import { TcpFront } from '../support/tcp-front';
import { settledRows } from '../support/usage-rows';
import { eventually, waitFor } from '../support/wait';
import type { StreamEvent } from '../support/ws-client';

const { resuming } = example('browser-chat/resuming.js');
const { overWebSocket, streamChat, unfinished } = example('browser-chat/stream-chat.js');

const WORDS = ['Ein ', 'langer ', 'Satz ', 'über ', '東京 ', '👩‍👩‍👧 ', 'und ', 'e\u0301 ', 'zuletzt.'];
const FAST = { firstDelayMs: 5, longestDelayMs: 50 };

describeClient(
  'the WebSocket of stream-chat.js',
  (place) => {
    const { url, token, webSocketImpl, resume } = place;
    return plainClient(place, resuming(overWebSocket({ url, token, webSocketImpl }), resume));
  },
  { streamsOnly: true },
);

/** What a tab keeps over a reload. */
function tabStorage(): {
  getItem(name: string): string | null;
  setItem(name: string, value: string): void;
  removeItem(name: string): void;
} {
  const kept = new Map<string, string>();
  return {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => void kept.set(name, value),
    removeItem: (name) => void kept.delete(name),
  };
}

describe('streamChat', () => {
  let fixture: Fixture;
  let network: TcpFront;
  let storage: ReturnType<typeof tabStorage>;
  const left: { leave(): void }[] = [];
  const begin = async (config?: Parameters<typeof createFixture>[0]): Promise<void> => {
    fixture = await createFixture(config);
    network = await TcpFront.start(fixture.app.url);
    storage = tabStorage();
  };
  const chat = (options: object): any => {
    const stream = streamChat({
      url: network.url,
      token: () => fixture.member.token,
      webSocketImpl: WebSocket,
      storage,
      ...FAST,
      ...options,
    });
    left.push(stream);
    return stream;
  };
  const says = (stream: { text: string }, text: string): Promise<true> =>
    waitFor(() => stream.text === text, { what: `"${text}", where there is "${stream.text}"` }) as Promise<true>;
  const endOf = (stream: { ended: Promise<any> }): Promise<any> => eventually(stream.ended, 'the end of the stream');
  const completions = (): number =>
    fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').length;
  afterEach(async () => {
    for (const stream of left.splice(0)) stream.leave();
    await network.stop();
    await fixture.close();
  });

  it('notices a connection that only looks open, and goes on over another one', async () => {
    await begin();
    const rest = gate();
    fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 2, until: rest } });
    const states: string[] = [];
    const stream = chat({
      input: ask('Go'),
      quietMs: 50,
      answerMs: 50,
      onConnection: ({ state }: { state: string }) => states.push(state),
    });
    await says(stream, 'Ein langer ');
    network.freeze();
    await waitFor(() => states.includes('waiting'), { what: 'that the silence is noticed' });
    rest.open();
    expect(await endOf(stream)).toMatchObject({ kind: 'event', event: { __typename: 'StreamCompleted' } });
    expect(stream.text).toBe(WORDS.join(''));
    expect((await settledRows(fixture.database.db)).map(({ status }) => status)).toEqual(['COMPLETED']);
    expect(completions()).toBe(1);
  });

  it('is one call when the connection breaks before anything has come', async () => {
    await begin();
    const sockets: WebSocket[] = [];
    // The first connection dies with the first event on its way.
    class Breaking extends WebSocket {
      constructor(address: string, protocol: string) {
        super(address, protocol);
        sockets.push(this);
      }
      override emit(name: string | symbol, ...values: any[]): boolean {
        if (sockets[0] !== this || name !== 'message' || !String(values[0]).includes('StreamStarted'))
          return super.emit(name, ...values);
        this.terminate();
        return true;
      }
    }
    const tokens: string[] = [];
    const stream = chat({
      input: ask('Go'),
      webSocketImpl: Breaking,
      token: () => (tokens.push(fixture.member.token), fixture.member.token),
    });
    expect(await endOf(stream)).toMatchObject({ kind: 'event', event: { __typename: 'StreamCompleted' } });
    expect(stream.text).toBe('You said: Go');
    expect([sockets.length, tokens.length]).toEqual([2, 2]);
    expect(await settledRows(fixture.database.db)).toHaveLength(1);
    expect(completions()).toBe(1);
  });

  it('a page that is loaded anew goes on with what its tab remembers', async () => {
    await begin();
    const rest = gate();
    fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 6, until: rest } });
    const before = chat({ input: ask('Go') });
    await says(before, WORDS.slice(0, 6).join(''));
    before.leave({ remember: true });
    const saved = unfinished('stream-chat', storage);
    expect(saved).toMatchObject({
      text: before.text,
      input: { idempotencyKey: before.input.idempotencyKey },
      position: { streamId: before.position.streamId, seq: before.position.seq },
    });
    const events: StreamEvent[] = [];
    const after = chat({ ...saved, onEvent: (event: StreamEvent) => events.push(event) });
    rest.open();
    expect(await endOf(after)).toMatchObject({
      kind: 'event',
      event: { reply: { answer: { content: WORDS.join('') } } },
    });
    expect(after.text).toBe(WORDS.join(''));
    expect(events[0]!.fromSeq).toBe(saved.position.seq + 1);
    // It has ended: the tab has nothing to go on with.
    expect(unfinished('stream-chat', storage)).toBeNull();
    expect(completions()).toBe(1);
  });

  it('stops when the network is back what was to be stopped while it was away', async () => {
    await begin();
    fixture.provider.script('test-chat', { pieces: WORDS, hold: { after: 2, until: forever } });
    const states: string[] = [];
    const stream = chat({ input: ask('Go'), onConnection: ({ state }: { state: string }) => states.push(state) });
    await says(stream, 'Ein langer ');
    network.away = true;
    await waitFor(() => states.includes('waiting'), { what: 'that the cut is noticed' });
    const stopped = stream.stop();
    network.away = false;
    await eventually(stopped, 'the stop');
    await eventually((await fixture.provider.completion(0)).closed, 'the end of the upstream request');
    expect(await endOf(stream)).toMatchObject({
      kind: 'event',
      event: {
        __typename: 'StreamStopped',
        reason: 'CLIENT',
        reply: { answer: { content: 'Ein langer ', complete: false } },
      },
    });
    expect((await settledRows(fixture.database.db)).map(({ status }) => status)).toEqual(['STOPPED']);
  });

  it('gives the stored answer when the stream is not kept any more', async () => {
    await begin();
    const { data } = await fixture.app.graphql(
      fixture.member.token,
      'mutation { createConversation(input: { title: "t" }) { id } }',
    );
    const conversationId = data.createConversation.id as string;
    const first = chat({ input: ask('Go', { conversationId }) });
    expect(await endOf(first)).toMatchObject({ kind: 'event' });
    // For the server one stream whose time is over is like another that never was.
    const gone = { ...first.position, streamId: newId('stream'), seq: 1 };
    expect(await endOf(chat({ position: gone }))).toMatchObject({
      kind: 'stored',
      answer: { content: 'You said: Go', complete: true },
    });
    expect(await endOf(chat({ position: { ...gone, conversationId: null } }))).toEqual({
      kind: 'stored',
      answer: null,
    });
    expect(completions()).toBe(1);
  });

  it('does not knock again where the credentials are refused', async () => {
    await begin();
    let tokens = 0;
    const stream = chat({ input: ask('Go'), token: () => `weir_${(tokens += 1)}` });
    expect(await endOf(stream)).toMatchObject({ kind: 'failed', error: { code: 4401 } });
    expect(tokens).toBe(1);
    // The question is kept: "try again" with a good token is the same call.
    const again = chat({ ...unfinished('stream-chat', storage) });
    expect(await endOf(again)).toMatchObject({ kind: 'event', event: { __typename: 'StreamCompleted' } });
    expect(again.input.idempotencyKey).toBe(stream.input.idempotencyKey);
  });
});
