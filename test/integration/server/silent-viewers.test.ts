import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { startServer, type TestServer, type TestStream } from '../../support/graph-server';
import { openSse } from '../../support/sse-client';
import { eventually, waitFor, within } from '../../support/wait';
import { connectWs } from '../../support/ws-client';

const STREAM =
  'subscription { chatStream { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta { text } } }';
const delta = (seq: number, text = `t${seq} `) => ({ kind: 'TextDelta', fromSeq: seq, seq, text });
/** Instead of a minute. Milliseconds. */
const SILENT_MS = 1_000;
/** Until somebody silent has to be gone: what a slow machine takes on top is much less. */
const GONE_MS = 4 * SILENT_MS;
const PINGS = 5;
/** More than the system keeps in its buffers for somebody who reads nothing, less than an answer may have. */
const FLOOD = 14;
const MEGABYTE = 'x'.repeat(1_000_000);

describe('a viewer that gives no sign of life', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({}, { silentMs: SILENT_MS });
  });
  afterEach(() => server.close());

  const begun = (index = -1): Promise<TestStream> =>
    waitFor(() => (server.streams.at(index)?.sink ? server.streams.at(index) : null), { what: 'a stream that began' });
  /** A client that answers no ping by itself. */
  const silentSocket = async (): Promise<{ socket: WebSocket; closed: Promise<number> }> => {
    const socket = new WebSocket(server.url.replace('http', 'ws'), 'graphql-transport-ws', { autoPong: false });
    const closed = once(socket, 'close').then(([code]) => code as number);
    await once(socket, 'open');
    socket.send('{"type":"connection_init","payload":{"token":"good"}}');
    await once(socket, 'message');
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: STREAM } }));
    return { socket, closed };
  };
  const pings = async (socket: WebSocket, closed: Promise<number>, count: number): Promise<void> => {
    const gone = closed.then((code) => Promise.reject(new Error(`closed: ${code}`)));
    gone.catch(() => {});
    for (let i = 0; i < count; i += 1) await Promise.race([once(socket, 'ping'), gone]);
  };
  const fill = ({ sink }: TestStream): void => {
    for (let seq = 1; seq <= FLOOD; seq += 1) sink.push(delta(seq, MEGABYTE));
  };
  /** A stream beside it: nobody else may notice. */
  const beside = async (): Promise<() => Promise<void>> => {
    const client = connectWs(server.url, 'operator');
    const before = server.streams.length;
    const stream = client.subscribe(STREAM);
    await waitFor(() => server.streams.length > before, { what: 'the stream beside' });
    const { sink } = await begun();
    let seq = 0;
    return async () => {
      sink.push(delta((seq += 1)));
      await stream.waitFor((event) => event.seq === seq);
      if (stream.over) throw new Error('it was ended');
      client.cut();
    };
  };

  it.each([
    ['a late answer', (socket: WebSocket) => socket.pong()],
    ['any message', (socket: WebSocket) => socket.send('{"type":"pong"}')],
  ])('is kept by %s to one of several pings: a tunnel is no end', async (_what, answer) => {
    const { socket, closed } = await silentSocket();
    for (let tunnel = 0; tunnel < 3; tunnel += 1) {
      await pings(socket, closed, PINGS - 1);
      answer(socket);
    }
    (await begun()).sink.push(delta(1));
    const [next] = await Promise.race([
      once(socket, 'message'),
      closed.then((code) => Promise.reject(new Error(`closed: ${code}`))),
    ]);
    expect(JSON.parse(String(next))).toMatchObject({ type: 'next' });
    socket.terminate();
  });

  it('is closed when nothing was heard of it for the whole time, and its stream has lost a viewer', async () => {
    const { socket, closed } = await silentSocket();
    const stream = await begun();
    const since = performance.now();
    const others = await beside();
    expect(await within(closed, GONE_MS, 'closing')).toBe(1006);
    expect(performance.now() - since).toBeGreaterThan(0.7 * SILENT_MS);
    await waitFor(() => stream.left, { what: 'the source to be left' });
    await others();
    socket.terminate();
  });

  it('by WebSocket, reading nothing: is closed, and what waits for it stays one frame', async () => {
    const client = connectWs(server.url, 'good');
    client.subscribe(STREAM);
    const stream = await begun();
    const others = await beside();
    client.pause();
    fill(stream);
    await waitFor(() => stream.left, { deadlineMs: GONE_MS, what: 'the viewer to be gone' });
    await others();
    client.cut();
  });

  it('by WebSocket, speaking but reading nothing: is closed all the same', async () => {
    const { socket } = await silentSocket();
    const stream = await begun();
    socket.pause();
    // One frame at a time, each below what makes the server deaf to who does not read: what it says is heard to the
    // end.
    for (let seq = 1; seq <= 100 && stream.sink.waiting === 0; seq += 1) {
      stream.sink.push(delta(seq, MEGABYTE.slice(500_000)));
      for (let turn = 0; turn < 100 && stream.sink.waiting > 0; turn += 1)
        await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const network = (socket as unknown as { _socket: Socket })._socket;
    network.on('error', () => {});
    const speaker = setInterval(() => socket.readyState === WebSocket.OPEN && socket.pong(), SILENT_MS / 20);
    await waitFor(() => stream.left, { deadlineMs: GONE_MS, what: 'the viewer to be gone' }).finally(() =>
      clearInterval(speaker),
    );
    socket.terminate();
  });

  it('by server-sent events, reading nothing: is closed, and others do not feel it', async () => {
    const operation = await openSse(server.url, 'good', { query: STREAM });
    const stream = await begun();
    const others = await beside();
    operation.pause();
    fill(stream);
    const since = performance.now();
    await waitFor(() => stream.left, { deadlineMs: GONE_MS, what: 'the viewer to be gone' });
    expect(performance.now() - since).toBeGreaterThan(0.7 * SILENT_MS);
    await others();
    operation.cut();
  });

  it('by server-sent events, reading slowly: is kept, and gets everything', async () => {
    await server.close();
    // Of what it takes in a hundred milliseconds some has to arrive in this time, also on a slow machine.
    const silentMs = 2 * SILENT_MS;
    server = await startServer({}, { silentMs });
    const operation = await openSse(server.url, 'good', { query: STREAM });
    const stream = await begun();
    operation.pause();
    fill(stream);
    const reader = setInterval(() => {
      operation.resume();
      setImmediate(() => operation.pause());
    }, SILENT_MS / 10);
    stream.sink.end();
    // Longer than a silent one would be left alone.
    await new Promise((resolve) => setTimeout(resolve, 2 * silentMs));
    clearInterval(reader);
    operation.resume();
    expect(await eventually(operation.ended, 'the end')).toBe('END');
    expect(
      operation.events.flatMap(({ data }) => data?.data?.chatStream.text.length ?? 0).reduce((a, b) => a + b),
    ).toBe(FLOOD * MEGABYTE.length);
  });

  it('of a silent model: is spoken to again and again, so that no proxy takes the connection for idle', async () => {
    const operation = await openSse(server.url, 'good', { query: STREAM });
    const stream = await begun();
    await waitFor(() => operation.text.split(':\n\n').length > 2 * PINGS, {
      deadlineMs: 5 * SILENT_MS,
      what: 'comments',
    });
    expect(operation.events).toEqual([]);
    expect(stream.left).toBe(false);
    operation.cut();
  });
});
