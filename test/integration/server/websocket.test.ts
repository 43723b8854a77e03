import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createClient, type Client } from 'graphql-ws';
import { WebSocket } from 'ws';
import { connectWs, type TestWsClient } from '../../support/ws-client';
import { startServer, viewerOf, type TestServer, type TestStream } from '../../support/graph-server';
import { AT_ONCE_MS, SLOW_DEADLINE_MS, waitFor, within } from '../../support/wait';

const STREAM =
  'subscription { chatStream { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta { text } ... on StreamCompleted { person { name } } } }';
const delta = (seq: number, text = `t${seq} `) => ({ kind: 'TextDelta', fromSeq: seq, seq, text });

describe('the WebSocket door', () => {
  let server: TestServer;
  const clients: TestWsClient[] = [];
  const connect = (token: string | null): TestWsClient => {
    const client = connectWs(server.url, token);
    clients.push(client);
    return client;
  };
  const begun = (index = -1): Promise<TestStream> =>
    waitFor(() => (server.streams.at(index)?.sink ? server.streams.at(index) : null), { what: 'a stream that began' });
  const raw = async (
    headers: Record<string, string> = {},
    protocols: string[] = ['graphql-transport-ws'],
  ): Promise<{ socket: WebSocket; closed: Promise<number> }> => {
    const socket = new WebSocket(server.url.replace('http', 'ws'), protocols, { headers });
    const closed = new Promise<number>((resolve) => socket.once('close', (code) => resolve(code)));
    await once(socket, 'open');
    return { socket, closed };
  };
  const refusedUpgrade = (headers: Record<string, string>, path = ''): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(server.url.replace('http', 'ws') + path, 'graphql-transport-ws', { headers });
      socket.once('unexpected-response', (_request, response) => {
        resolve(response.statusCode!);
        socket.terminate();
      });
      socket.on('error', () => {});
      socket.once('open', () => reject(new Error('it was let in')));
    });

  beforeEach(async () => {
    server = await startServer({ corsOrigins: ['https://app.example'] });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.cut();
    await server.close();
  });

  it('streams events in order, those that it answers itself and those of graphql-js alike', async () => {
    const stream = connect('good').subscribe(STREAM);
    const { sink } = await begun();
    sink.push(delta(1));
    await stream.waitFor((event) => event.seq === 1);
    sink.push({ kind: 'StreamCompleted', fromSeq: 2, seq: 2, person: { name: 'Ann' } });
    sink.end();
    await stream.ended;
    expect(stream.events).toEqual([
      { __typename: 'TextDelta', fromSeq: 1, seq: 1, text: 't1 ' },
      { __typename: 'StreamCompleted', fromSeq: 2, seq: 2, person: { name: 'Ann' } },
    ]);
    expect(stream.errors).toEqual([]);
  });

  it.each(['unsubscribe', 'cut'] as const)(
    'tells the source at once when the client leaves a silent stream (%s)',
    async (way) => {
      const client = connect('good');
      const subscription = client.subscribe(STREAM);
      const stream = await begun();
      if (way === 'cut') client.cut();
      else subscription.unsubscribe();
      await waitFor(() => stream.left, { deadlineMs: AT_ONCE_MS, what: 'the source to be left' });
    },
  );

  it.each([['wrong'], [null]])(
    'closes with a code that clients do not retry when nobody is there: %p',
    async (token) => {
      const client = connect(token);
      const stream = client.subscribe(STREAM);
      expect(await client.closed).toMatchObject({ code: 4401 });
      await stream.ended;
      expect(server.streams).toHaveLength(0);
    },
  );

  it('a real client does not come back after its credentials were refused', async () => {
    let connections = 0;
    class Counted extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        connections += 1;
      }
    }
    const client: Client = createClient({
      url: server.url.replace('http', 'ws'),
      webSocketImpl: Counted,
      connectionParams: { token: 'wrong' },
      retryAttempts: 5,
      retryWait: async () => {},
    });
    const error = await new Promise((resolve) =>
      client.subscribe({ query: STREAM }, { next: () => {}, complete: () => resolve(null), error: resolve }),
    );
    expect(error).toMatchObject({ code: 4401 });
    expect(connections).toBe(1);
  });

  it.each([
    [{ authorization: 'Bearer good' }],
    [{ Authorization: 'Bearer good' }],
    [{ token: 'good' }],
    [{ headers: { Authorization: 'Bearer good' } }],
  ])('takes credentials as %j', async (params) => {
    const { socket } = await raw();
    socket.send(JSON.stringify({ type: 'connection_init', payload: params }));
    const [data] = await once(socket, 'message');
    expect(JSON.parse(String(data))).toEqual({ type: 'connection_ack' });
    socket.terminate();
  });

  it('keeps to the protocol: early subscribe 4401, second init 4429, same id twice 4409, no known protocol 4406, binary 4400, no init 4408, oversized 1009', async () => {
    const init = JSON.stringify({ type: 'connection_init', payload: { token: 'good' } });
    const subscribe = JSON.stringify({ id: '1', type: 'subscribe', payload: { query: STREAM } });
    const after = async (...messages: (string | Buffer)[]): Promise<number> => {
      const { socket, closed } = await raw();
      for (const message of messages) {
        socket.send(message);
        if (message === init) await Promise.race([once(socket, 'message'), closed]);
      }
      return closed;
    };
    const silent = await raw();
    expect(await after(subscribe)).toBe(4401);
    expect(await after(init, init)).toBe(4429);
    expect(await after(init, subscribe, subscribe)).toBe(4409);
    expect(await after(Buffer.from(init))).toBe(4400);
    expect(await after('{"type":')).toBe(4400);
    expect(await after(`{"type":"ping","payload":{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}}`)).toBe(4400);
    expect(await after('x'.repeat(200_000))).toBe(1009);
    expect(await (await raw({}, [])).closed).toBe(4406);
    expect(await silent.closed).toBe(4408);
  });

  it('closes with 1009 for a frame that says it has 100 MB, before any of it has come, also of somebody whom it knows', async () => {
    const { socket, closed } = await raw();
    socket.send('{"type":"connection_init","payload":{"token":"good"}}');
    await once(socket, 'message');
    // A masked text frame with a length of 64 bits, and nothing behind it.
    const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(100 * 1024 * 1024, 6);
    (socket as unknown as { _socket: Socket })._socket.write(head);
    expect(await closed).toBe(1009);
  });

  it('takes no credentials from the URL, and logs none', async () => {
    const secret = 'weir_in_the_url_0123456789';
    server.viewers.set(secret, viewerOf('ann'));
    const socket = new WebSocket(
      `${server.url.replace('http', 'ws')}?token=${secret}&authorization=Bearer%20${secret}`,
      'graphql-transport-ws',
      { headers: { cookie: `token=${secret}` } },
    );
    const closed = once(socket, 'close');
    await once(socket, 'open');
    socket.send('{"type":"connection_init"}');
    expect((await closed)[0]).toBe(4401);
    expect(JSON.stringify(server.logger.lines)).not.toContain(secret);
  });

  it('refuses a thousand subscribes of one socket beyond its twenty, and others do not feel it', async () => {
    server.viewers.set('other', viewerOf('bob'));
    const beside = connect('other').subscribe(STREAM);
    const { sink } = await begun();
    const { socket, closed } = await raw();
    socket.send('{"type":"connection_init","payload":{"token":"good"}}');
    await once(socket, 'message');
    let refused = 0;
    socket.on('message', (data) => (refused += JSON.parse(String(data)).type === 'error' ? 1 : 0));
    for (let id = 0; id < 1_000; id += 1)
      socket.send(JSON.stringify({ id: String(id), type: 'subscribe', payload: { query: STREAM } }));
    for (let seq = 1; refused < 980; seq += 1) {
      sink.push(delta(seq));
      await beside.waitFor((event) => event.seq === seq);
    }
    expect(server.streams).toHaveLength(1 + 20);
    expect([refused, beside.over]).toEqual([980, false]);
    socket.terminate();
    await closed;
  });

  it('lets in listed and own origins and programs, but no foreign page, and nothing at other paths', async () => {
    expect(await refusedUpgrade({ origin: 'https://evil.example', cookie: 'session=1' })).toBe(403);
    expect(await refusedUpgrade({ origin: 'null' })).toBe(403);
    expect(await refusedUpgrade({}, '/other')).toBe(404);
    for (const origin of ['https://app.example', new URL(server.url).origin])
      (await raw({ origin })).socket.terminate();
  });

  it('refuses queries and mutations, and says where they go', async () => {
    const client = connect('good');
    for (const query of ['{ hello }', 'mutation { touch }']) {
      const operation = client.subscribe(query);
      await operation.ended;
      expect(operation.errors).toEqual([
        { message: expect.stringContaining('HTTP'), extensions: { code: 'BAD_USER_INPUT' } },
      ]);
    }
  });

  it('has the same guards and error codes as the HTTP door', async () => {
    const client = connect('good');
    const errorsOf = async (query: string, variables?: Record<string, unknown>): Promise<unknown> => {
      const operation = client.subscribe(query, variables);
      await operation.ended;
      return operation.errors[0];
    };
    expect(await errorsOf('subscription {')).toMatchObject({ extensions: { code: 'GRAPHQL_PARSE_FAILED' } });
    expect(await errorsOf(`subscription { chatStream { ${'__typename '.repeat(3_000)} } }`)).toMatchObject({
      extensions: { code: 'GRAPHQL_PARSE_FAILED' },
    });
    expect(await errorsOf('subscription { nothing }')).toMatchObject({
      extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
    });
    expect(
      await errorsOf('subscription ($i: Inner) { chatStream(input: $i) { __typename } }', { i: { text: 5 } }),
    ).toMatchObject({ extensions: { code: 'BAD_USER_INPUT', argument: 'i.text' } });
    expect(await errorsOf('subscription { chatStream(input: { text: "refuse" }) { __typename } }')).toMatchObject({
      message: 'input.text: refused',
      path: ['chatStream'],
      extensions: { code: 'BAD_USER_INPUT', argument: 'input.text' },
    });
    expect(
      await errorsOf('subscription ($yes: Boolean!) { chatStream @include(if: $yes) { __typename } }', { yes: true }),
    ).toMatchObject({ extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } });
    // In the middle of a stream.
    const stream = client.subscribe(STREAM);
    (await begun()).sink.fail(new Error('postgres://weir:s3cretpass@db'));
    await stream.ended;
    expect(stream.errors).toEqual([
      {
        message: 'Something went wrong on our side.',
        extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: expect.any(String) },
      },
    ]);
  });

  it('runs twenty operations on a connection and refuses more, which leaves the others alone', async () => {
    const client = connect('good');
    const running = Array.from({ length: 20 }, () => client.subscribe(STREAM));
    await waitFor(() => server.streams.length === 20 && server.streams.every(({ sink }) => sink));
    const refused = client.subscribe(STREAM);
    await refused.ended;
    expect(refused.errors).toEqual([
      expect.objectContaining({ extensions: { code: 'RATE_LIMITED', retryAfterMs: 1_000 } }),
    ]);
    server.streams[0]!.sink.push(delta(1));
    await waitFor(() => running.some(({ events }) => events.length === 1));
    running[0]!.unsubscribe();
    await waitFor(() => server.streams.some(({ left }) => left));
    client.subscribe(STREAM);
    await waitFor(() => server.streams.length === 21);
  });

  it('takes a hundred connections of one token and closes the next with a code that clients do not retry', async () => {
    server.viewers.set('other', viewerOf('bob'));
    const init = async (token: string): Promise<string | number> => {
      const { socket, closed } = await raw();
      socket.send(JSON.stringify({ type: 'connection_init', payload: { token } }));
      return Promise.race([once(socket, 'message').then(([data]) => JSON.parse(String(data)).type as string), closed]);
    };
    for (let i = 0; i < 100; i += 1) expect(await init('good')).toBe('connection_ack');
    expect(await init('good')).toBe(4429);
    expect(await init('other')).toBe('connection_ack');
  });

  it.each([
    ['revoked', (test: TestServer) => test.ended.add(test.viewers.get('good')!)],
    ['expired', (test: TestServer) => (test.viewers.get('good')!.expiresAtMs = Date.now())],
    ['ended by an administrator', (test: TestServer) => test.accessEnds.endUser('ann')],
  ])(
    'ends the streams of %s credentials within five seconds: an error, then 4401, and the source is left',
    async (_why, end) => {
      server.viewers.set('other', viewerOf('bob'));
      const [client, other] = [connect('good'), connect('other')];
      const stream = client.subscribe(STREAM);
      const source = await begun();
      const spared = other.subscribe(STREAM);
      await waitFor(() => server.streams.length === 2);
      end(server);
      expect((await within(client.closed, 5_000, 'the close')).code).toBe(4401);
      expect(stream.errors).toContainEqual({ message: expect.any(String), extensions: { code: 'UNAUTHENTICATED' } });
      expect(source.left).toBe(true);
      expect(spared.over).toBe(false);
    },
  );

  it('gives a client that reads nothing one frame at a time: what it has not taken is joined at the source, and memory stays', async () => {
    const client = connect('good');
    const subscription = client.subscribe(STREAM);
    const stream = await begun();
    client.pause();
    const text = 'x'.repeat(10_000);
    let most = 0;
    for (let seq = 1; seq <= 2_000; seq += 1) {
      stream.sink.push(delta(seq, text));
      most = Math.max(most, stream.sink.waiting);
      if (seq % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // One joined value waits, however much was said; without back-pressure there would be none, and 20 MB in the
    // socket.
    expect(stream.sink.waiting).toBe(1);
    expect(most).toBeLessThanOrEqual(2);
    client.resume();
    stream.sink.end();
    await subscription.ended;
    expect(subscription.events.map((event) => event.text.length).reduce((a, b) => a + b)).toBe(20_000_000);
    expect(subscription.events.length).toBeLessThan(2_000);
  });

  /**
   * Bytes that the server takes of a client that says the same again and again and reads nothing; at most, or a little
   * more than, `FLOOD_BYTES`.
   */
  const FLOOD_BYTES = 80_000_000;
  const flood = async (socket: WebSocket, say: () => void): Promise<number> => {
    socket.pause();
    const network = (socket as unknown as { _socket: Socket })._socket;
    const taken = (): number => network.bytesWritten - network.writableLength;
    let last = 0;
    let lastAt = performance.now();
    // It takes no more when nothing has left for half a second.
    await waitFor(
      () => {
        while (network.writableLength < 1_000_000) say();
        if (taken() !== last) [last, lastAt] = [taken(), performance.now()];
        return last > FLOOD_BYTES || performance.now() - lastAt > 500;
      },
      { deadlineMs: SLOW_DEADLINE_MS, what: 'the server to take no more' },
    );
    return last;
  };

  it.each([
    ['pings of the protocol', (socket: WebSocket) => socket.send('{"type":"ping"}')],
    ['pings of WebSocket', (socket: WebSocket) => socket.ping('x'.repeat(100))],
  ])(
    'takes no more of a client that sends %s and reads nothing, and goes on when it reads again',
    async (_what, say) => {
      const { socket } = await raw();
      socket.send(JSON.stringify({ type: 'connection_init', payload: { token: 'good' } }));
      await once(socket, 'message');
      // What the system keeps in its own buffers, and a megabyte in ours.
      expect(await flood(socket, () => say(socket))).toBeLessThan(40_000_000);
      socket.send(JSON.stringify({ id: 'after', type: 'subscribe', payload: { query: STREAM } }));
      const answered = new Promise((resolve) =>
        socket.on('message', (data) => String(data).includes('"next"') && resolve(data)),
      );
      socket.resume();
      (await waitFor(() => server.streams.at(-1)?.sink, { what: 'the stream behind the pings' })).push(delta(1));
      await answered;
      socket.terminate();
    },
  );

  it('echoes no payload', async () => {
    const { socket } = await raw();
    socket.send('{"type":"ping","payload":{"a":"b"}}');
    expect(String((await once(socket, 'message'))[0])).toBe('{"type":"pong"}');
    socket.terminate();
  });

  it('takes little of somebody whom it does not know yet: no large message, no many small ones, no message in many parts', async () => {
    const roomy = await startServer({ maxBodyBytes: 8_000_000 });
    const closeCode = async (say: (socket: WebSocket) => void): Promise<number> => {
      const socket = new WebSocket(roomy.url.replace('http', 'ws'), 'graphql-transport-ws');
      const closed = once(socket, 'close');
      await once(socket, 'open');
      say(socket);
      return (await closed)[0] as number;
    };
    const large = JSON.stringify({ type: 'connection_init', payload: { token: 'good', text: 'x'.repeat(7_000_000) } });
    const parts = (socket: WebSocket): void => {
      for (let i = 0; i < 100; i += 1) socket.send('x'.repeat(10_000), { fin: false });
    };
    const pings = (socket: WebSocket): void => {
      for (let i = 0; i < 50; i += 1) socket.send('{"type":"ping"}');
    };
    for (const say of [(socket: WebSocket) => socket.send(large), parts, pings]) {
      // Not 4408: it is not the time for a first message that ends it.
      expect(await closeCode(say)).toBe(1009);
    }
    // Known, it may send as much as by HTTP.
    const client = connectWs(roomy.url, 'good');
    const stream = client.subscribe('subscription ($i: Inner) { chatStream(input: $i) { __typename } }', {
      i: { text: 'x'.repeat(7_000_000) },
    });
    await waitFor(() => roomy.streams.length === 1, { what: 'a stream with a long text' });
    expect(stream.errors).toEqual([]);
    client.cut();
    await roomy.close();
  });

  it('never sends a frame larger than the bound of an answer', async () => {
    const client = connect('good');
    const stream = client.subscribe<any>(
      'subscription { chatStream { ... on TextDelta { a: text b: text c: text } } }',
    );
    const { sink } = await begun();
    sink.push(delta(1, 'x'.repeat(6_000_000)));
    sink.end();
    await stream.ended;
    expect(stream.errors).toEqual([
      { message: expect.stringContaining('16777216 bytes'), extensions: { code: 'BAD_USER_INPUT' } },
    ]);
  });

  it('when stopping: refuses what is new with SERVICE_UNAVAILABLE, lets streams run, then says 1001', async () => {
    const client = connect('good');
    const stream = client.subscribe(STREAM);
    const source = await begun();
    const keptAlive = await fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer good' },
      body: '{"query":"{ hello }"}',
    });
    await keptAlive.text();
    await server.server.stopAccepting();
    const late = client.subscribe(STREAM);
    await late.ended;
    expect(late.errors).toEqual([
      expect.objectContaining({ extensions: expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }) }),
    ]);
    await expect(fetch(server.url, { method: 'POST' })).rejects.toThrow();
    source.sink.push(delta(1));
    await stream.waitFor((event) => event.seq === 1);
    await server.server.close();
    expect(await client.closed).toMatchObject({ code: 1001 });
    expect(source.left).toBe(true);
  });
});
