/**
 * The memory of the tab and the stop, without a server; over a network and the server:
 * test/e2e/clients.stream-chat.test.ts.
 */
const { streamChat, unfinished } = require('../../../examples/browser-chat/stream-chat.js');

interface Place { getItem(name: string): string | null; setItem(name: string, value: string): void; removeItem(name: string): void }
const IMAGE = `data:image/png;base64,${'A'.repeat(5_000)}`;
const QUESTION = { model: 'm', messages: [{ role: 'USER', parts: [{ imageUrl: IMAGE }] }] };

/** Of a tab; like a real one it refuses what is too long. */
function tabStorage(room = Infinity): Place & { kept: Map<string, string>; written: string[] } {
  const kept = new Map<string, string>();
  const written: string[] = [];
  const setItem = (name: string, value: string): void => {
    written.push(value);
    if (value.length > room) throw new DOMException('full', 'QuotaExceededError');
    kept.set(name, value);
  };
  return { kept, written, getItem: (name) => kept.get(name) ?? null, setItem, removeItem: (name) => void kept.delete(name) };
}

class FakeSocket {
  static opened: FakeSocket[] = [];
  onopen?: () => void;
  onmessage?: (message: { data: string }) => void;
  sent: any[] = [];
  closed = false;
  constructor() {
    FakeSocket.opened.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  event(seq: number, event: object): void {
    this.onmessage?.({ data: JSON.stringify({ type: 'next', payload: { data: { chatStream: { fromSeq: seq, seq, ...event } } } }) });
  }
  started(): void {
    this.event(1, { __typename: 'StreamStarted', streamId: 'str_1', callId: 'call_1', conversation: null });
  }
}

describe('streamChat', () => {
  const web = globalThis as { fetch: unknown };
  const before = { fetch: web.fetch };
  const streams: { leave(): void }[] = [];
  beforeEach(() => {
    jest.useFakeTimers();
    FakeSocket.opened = [];
  });
  afterEach(() => {
    for (const stream of streams.splice(0)) stream.leave();
    jest.useRealTimers();
    Object.assign(web, before);
    delete (globalThis as { sessionStorage?: unknown }).sessionStorage;
  });
  /** A stream whose connection stands. */
  const chat = async (options: object): Promise<{ stream: any; socket: FakeSocket }> => {
    const stream = streamChat({ url: 'http://weir.test/graphql', token: () => 't', webSocketImpl: FakeSocket, input: QUESTION, ...options });
    streams.push(stream);
    await jest.advanceTimersByTimeAsync(0);
    const socket = FakeSocket.opened.at(-1)!;
    socket.onopen!();
    socket.onmessage!({ data: '{ "type": "connection_ack" }' });
    return { stream, socket };
  };

  it('remembers the question before anything has come, and writes its images once', async () => {
    const storage = tabStorage();
    const { stream, socket } = await chat({ storage });
    expect(unfinished('stream-chat', storage)).toEqual({ input: stream.input, position: null, text: '' });
    socket.started();
    for (const seq of [2, 3, 4]) {
      socket.event(seq, { __typename: 'TextDelta', text: `${seq} ` });
      jest.advanceTimersByTime(1_000);
    }
    expect(unfinished('stream-chat', storage)).toEqual({ input: stream.input, position: { streamId: 'str_1', callId: 'call_1', conversationId: null, seq: 4 }, text: '2 3 4 ' });
    expect(storage.written.filter((text) => text.includes(IMAGE))).toHaveLength(1);
    expect(storage.written.length).toBeGreaterThan(3);
    socket.event(5, { __typename: 'StreamCompleted' });
    expect(await stream.ended).toMatchObject({ kind: 'event' });
    expect(storage.kept.size).toBe(0);
  });

  it('asks also where the question finds no room, and remembers what it can', async () => {
    const storage = tabStorage(400);
    const { stream, socket } = await chat({ storage });
    expect(socket.sent[1].payload.variables.input).toEqual(stream.input);
    // It could not be asked again.
    expect(unfinished('stream-chat', storage)).toBeNull();
    socket.started();
    const { messages: _, ...rest } = stream.input;
    const position = { streamId: 'str_1', callId: 'call_1', conversationId: null };
    expect(unfinished('stream-chat', storage)).toEqual({ input: rest, position: { ...position, seq: 1 }, text: '' });
    socket.event(2, { __typename: 'TextDelta', text: 'x'.repeat(500) });
    jest.advanceTimersByTime(1_000);
    expect(unfinished('stream-chat', storage)).toEqual({ input: rest, position: { ...position, seq: 0 }, text: '' });
  });

  it.each([
    ['that is full', { storage: tabStorage(0) }],
    ['that is none', { storage: null }],
    ['whose use is forbidden', { storage: new Proxy({}, { get: () => { throw new DOMException('no', 'SecurityError'); } }) }],
    ['that the page must not even name', {}],
  ])('a storage %s keeps no question from being asked and stopped', async (_, options) => {
    Object.defineProperty(globalThis, 'sessionStorage', { configurable: true, get: () => { throw new DOMException('no', 'SecurityError'); } });
    const asked: any[] = [];
    web.fetch = async (_url: string, init: { body: string }) => (asked.push(JSON.parse(init.body)), Response.json({ data: { stopStream: { stopped: true } } }));
    const { stream, socket } = await chat(options);
    socket.started();
    socket.event(2, { __typename: 'TextDelta', text: 'a' });
    jest.advanceTimersByTime(1_000);
    await stream.stop();
    expect(asked).toEqual([expect.objectContaining({ variables: { streamId: 'str_1' } })]);
    socket.event(3, { __typename: 'StreamStopped' });
    expect(await stream.ended).toMatchObject({ kind: 'event', event: { __typename: 'StreamStopped' } });
    expect(unfinished('stream-chat', (options as { storage?: Place }).storage)).toBeNull();
  });

  it('of two streams under one name the later one is remembered, whenever the earlier one ends', async () => {
    const storage = tabStorage();
    const first = await chat({ storage });
    first.socket.started();
    const second = await chat({ storage });
    first.socket.event(2, { __typename: 'TextDelta', text: 'of the first' });
    jest.advanceTimersByTime(1_000);
    expect(unfinished('stream-chat', storage)).toEqual({ input: second.stream.input, position: null, text: '' });
    first.socket.event(3, { __typename: 'StreamCompleted' });
    await first.stream.ended;
    expect(unfinished('stream-chat', storage)).toEqual({ input: second.stream.input, position: null, text: '' });
    second.stream.leave();
    expect(storage.kept.size).toBe(0);
  });

  it('stops until the server has heard it, also after leaving', async () => {
    const answers: (() => Promise<Response>)[] = [
      () => Promise.reject(new TypeError('fetch failed')),
      () => Promise.reject(new DOMException('too long', 'TimeoutError')),
      async () => new Response('<h1>Bad gateway</h1>', { status: 502 }),
      async () => Response.json({ data: { stopStream: { stopped: true } } }),
    ];
    const signals: unknown[] = [];
    web.fetch = (_url: string, init: RequestInit) => (signals.push(init.signal), answers.shift()!());
    const { stream, socket } = await chat({ storage: null });
    socket.started();
    const stopped = stream.stop();
    stream.leave();
    expect(await stream.ended).toEqual({ kind: 'left' });
    await jest.advanceTimersByTimeAsync(10_000);
    await stopped;
    expect(answers).toEqual([]);
    expect(signals).toEqual(Array(4).fill(expect.any(AbortSignal)));
  });

  it('stops also what has no name yet when the page leaves', async () => {
    const asked: any[] = [];
    web.fetch = async (_url: string, init: { body: string }) => (asked.push(JSON.parse(init.body).variables), Response.json({ data: { stopStream: { stopped: true } } }));
    const onEvent = jest.fn();
    const { stream, socket } = await chat({ storage: null, onEvent });
    const stopped = stream.stop();
    stream.leave();
    expect(await stream.ended).toEqual({ kind: 'left' });
    socket.started();
    await stopped;
    expect(asked).toEqual([{ streamId: 'str_1' }]);
    expect(onEvent).not.toHaveBeenCalled();
    expect(socket.closed).toBe(true);
  });
});
