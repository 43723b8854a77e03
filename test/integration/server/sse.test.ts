import { createClient, type ExecutionResult, type NetworkError } from 'graphql-sse';
import { startServer, viewerOf, type TestServer, type TestStream } from '../../support/graph-server';
import { openSse, type SseOperation } from '../../support/sse-client';
import { AT_ONCE_MS, eventually, waitFor, within } from '../../support/wait';

const STREAM =
  'subscription { chatStream { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta { text } ... on StreamCompleted { person { name } } } }';
const delta = (seq: number, text = `t${seq} `) => ({ kind: 'TextDelta', fromSeq: seq, seq, text });
const POST = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json', authorization: 'Bearer good', ...headers },
});

describe('the door of server-sent events', () => {
  let server: TestServer;
  const operations: SseOperation[] = [];
  const open = async (
    query: string = STREAM,
    variables?: Record<string, unknown>,
    token = 'good',
  ): Promise<SseOperation> => {
    const operation = await openSse(server.url, token, { query, variables });
    operations.push(operation);
    return operation;
  };
  const begun = (index = -1): Promise<TestStream> =>
    waitFor(() => (server.streams.at(index)?.sink ? server.streams.at(index) : null), { what: 'a stream that began' });

  beforeEach(async () => {
    server = await startServer({ corsOrigins: ['https://app.example'] });
  });
  afterEach(async () => {
    for (const operation of operations.splice(0)) operation.cut();
    await server.close();
  });

  it('a real client gets the events in order, those that the server answers itself and those of graphql-js alike', async () => {
    const client = createClient({ url: server.url, headers: { authorization: 'Bearer good' }, retryAttempts: 0 });
    const results: ExecutionResult<Record<string, unknown>, unknown>[] = [];
    const ended = new Promise((resolve, reject) =>
      client.subscribe(
        { query: STREAM },
        { next: (result) => void results.push(result), error: reject, complete: () => resolve(null) },
      ),
    );
    const { sink } = await begun();
    sink.push(delta(1));
    await waitFor(() => results.length === 1);
    sink.push({ kind: 'StreamCompleted', fromSeq: 2, seq: 2, person: { name: 'Ann' } });
    sink.end();
    await ended;
    expect(results.map(({ data }) => data?.chatStream)).toEqual([
      { __typename: 'TextDelta', fromSeq: 1, seq: 1, text: 't1 ' },
      { __typename: 'StreamCompleted', fromSeq: 2, seq: 2, person: { name: 'Ann' } },
    ]);
  });

  it('writes what the protocol says, and something at once, before the model has said anything', async () => {
    const operation = await open();
    expect(operation.status).toBe(200);
    expect(operation.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-request-id': expect.any(String),
    });
    await waitFor(() => operation.text === ':\n\n', { deadlineMs: AT_ONCE_MS, what: 'the first sign' });
    const { sink } = await begun();
    sink.push(delta(1, 'line\nline\u2028 \r\n"quoted"'));
    await operation.waitFor(({ event }) => event === 'next');
    sink.end();
    expect(await operation.ended).toBe('END');
    expect(operation.text).toBe(
      ':\n\nevent: next\ndata: {"data":{"chatStream":{"__typename":"TextDelta","fromSeq":1,"seq":1,"text":"line\\nline\u2028 \\r\\n\\"quoted\\""}}}\n\nevent: complete\ndata:\n\n',
    );
  });

  it('answers pages of listed origins, and no others', async () => {
    for (const [origin, allowed] of [
      ['https://app.example', 'https://app.example'],
      ['https://evil.example', undefined],
    ]) {
      const operation = await openSse(server.url, 'good', { query: STREAM }, { origin: origin! });
      expect(operation.headers['access-control-allow-origin']).toBe(allowed);
      operation.cut();
    }
  });

  it('tells the source at once when the client leaves a silent stream', async () => {
    const operation = await open();
    const stream = await begun();
    operation.cut();
    await waitFor(() => stream.left, { deadlineMs: AT_ONCE_MS, what: 'the source to be left' });
  });

  it('a real client that unsubscribes has left', async () => {
    const client = createClient({
      url: server.url,
      headers: () => ({ authorization: 'Bearer good' }),
      retryAttempts: 0,
    });
    const unsubscribe = client.subscribe({ query: STREAM }, { next: () => {}, error: () => {}, complete: () => {} });
    const stream = await begun();
    unsubscribe();
    await waitFor(() => stream.left, { what: 'the source to be left' });
  });

  it('has the same guards and error codes as the other doors, told in events as the protocol wants it', async () => {
    const errorsOf = async (query: string, variables?: Record<string, unknown>): Promise<unknown> => {
      const operation = await open(query, variables);
      expect(await operation.ended).toBe('END');
      expect(operation.status).toBe(200);
      expect(operation.events.map(({ event }) => event)).toEqual(['next', 'complete']);
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
      await errorsOf('subscription A { chatStream { __typename } } subscription B { chatStream { __typename } }'),
    ).toMatchObject({ extensions: { code: 'OPERATION_RESOLUTION_FAILURE' } });
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
    for (const query of ['{ hello }', 'mutation { touch }'])
      expect(await errorsOf(query)).toEqual({
        message: expect.stringContaining('application/json'),
        extensions: { code: 'BAD_USER_INPUT' },
      });
  });

  it('says of a fault in the middle of a stream that there is one, and nothing more', async () => {
    const operation = await open();
    (await begun()).sink.fail(new Error('postgres://weir:s3cretpass@db'));
    await operation.ended;
    expect(operation.errors).toEqual([
      {
        message: 'Something went wrong on our side.',
        extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: expect.any(String) },
      },
    ]);
    expect(operation.events.at(-1)!.event).toBe('complete');
  });

  it('takes subscriptions of clients that accept both, and leaves the rest to the HTTP door', async () => {
    const both = { accept: 'application/graphql-response+json, application/json, text/event-stream, multipart/mixed' };
    const query = await fetch(server.url, POST({ query: '{ hello }' }, both));
    expect([query.headers.get('content-type'), await query.json()]).toEqual([
      expect.stringContaining('json'),
      { data: { hello: 'hello ann' } },
    ]);
    const broken = await fetch(server.url, POST({ query: 'subscription { nothing }' }, both));
    expect([broken.status, await broken.json()]).toEqual([
      400,
      { errors: [expect.objectContaining({ extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } })] },
    ]);
    const subscription = await openSse(server.url, 'good', { query: STREAM }, both);
    expect(subscription.headers['content-type']).toContain('text/event-stream');
    subscription.cut();
    const json = await fetch(server.url, POST({ query: STREAM }, { accept: 'application/json' }));
    expect([json.status, await json.json()]).toEqual([
      400,
      { errors: [{ message: expect.stringContaining('text/event-stream'), extensions: { code: 'BAD_USER_INPUT' } }] },
    ]);
  });

  it('refuses what is no request of GraphQL, and whom it does not know, before anything else: with a status', async () => {
    const accept = 'text/event-stream';
    for (const body of [{}, { query: 5 }, { query: STREAM, variables: '{}' }, { query: STREAM, variables: [] }])
      expect((await fetch(server.url, POST(body, { accept }))).status).toBe(400);
    for (const authorization of ['', 'Bearer wrong']) {
      const refused = await fetch(server.url, POST({ query: STREAM }, { accept, authorization }));
      expect([refused.status, await refused.json()]).toEqual([
        401,
        { errors: [{ message: expect.any(String), extensions: { code: 'UNAUTHENTICATED' } }] },
      ]);
    }
    // EventSource cannot send a token, and one in the URL would be logged everywhere.
    const byGet = await fetch(`${server.url}?query=${encodeURIComponent(STREAM)}&token=good`, { headers: { accept } });
    expect(byGet.status).toBe(401);
    expect(server.streams).toHaveLength(0);
  });

  it('runs a hundred operations of one token, refuses the next with 429, and has room again when one has gone', async () => {
    server.viewers.set('other', viewerOf('bob'));
    for (let i = 0; i < 100; i += 1) await open();
    const refused = await fetch(server.url, POST({ query: STREAM }, { accept: 'text/event-stream' }));
    expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toEqual([
      429,
      '1',
      { errors: [{ message: expect.any(String), extensions: { code: 'RATE_LIMITED', retryAfterMs: 1_000 } }] },
    ]);
    expect((await open(STREAM, undefined, 'other')).status).toBe(200);
    operations[0]!.cut();
    await waitFor(async () => (await open()).status === 200, { what: 'room for another operation' });
  });

  it.each([
    ['revoked', (test: TestServer) => test.ended.add(test.viewers.get('good')!)],
    ['expired', (test: TestServer) => (test.viewers.get('good')!.expiresAtMs = Date.now())],
    ['ended by an administrator', (test: TestServer) => test.accessEnds.endUser('ann')],
  ])(
    'ends the operations of %s credentials within five seconds: an error, complete, and the source is left',
    async (_why, end) => {
      server.viewers.set('other', viewerOf('bob'));
      const operation = await open();
      const source = await begun();
      const spared = await open(STREAM, undefined, 'other');
      await waitFor(() => server.streams.length === 2);
      end(server);
      expect(await within(operation.ended, 5_000, 'the end of the operation')).toBe('END');
      expect(operation.events).toEqual([
        { event: 'next', data: { errors: [{ message: expect.any(String), extensions: { code: 'UNAUTHENTICATED' } }] } },
        { event: 'complete', data: null },
      ]);
      expect(source.left).toBe(true);
      expect(spared.events).toEqual([]);
    },
  );

  it('gives a client that reads nothing one frame at a time: what it has not taken is joined at the source, and memory stays', async () => {
    const operation = await open();
    const stream = await begun();
    operation.pause();
    // Less than an answer may have, and more than the system keeps in its buffers.
    const text = 'x\u{1F30A}'.repeat(600);
    let most = 0;
    for (let seq = 1; seq <= 4_800; seq += 1) {
      stream.sink.push(delta(seq, text));
      most = Math.max(most, stream.sink.waiting);
      if (seq % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // One joined value waits, however much was said; without back-pressure there would be none, and 14 MB in the
    // socket.
    expect(stream.sink.waiting).toBe(1);
    expect(most).toBeLessThanOrEqual(2);
    operation.resume();
    stream.sink.end();
    expect(await eventually(operation.ended, 'the end')).toBe('END');
    const pieces = operation.events.flatMap(({ data }) => data?.data?.chatStream ?? []);
    // Frames are written in slices: no character may be cut in two.
    expect(pieces.map((piece) => piece.text).join('') === text.repeat(4_800)).toBe(true);
    expect(pieces.length).toBeLessThan(4_800);
  });

  it('when stopping: refuses what is new, lets operations run, lets those that end say so, and cuts the others without `complete`, after which clients come back', async () => {
    const [ending, lasting] = [await open(), await open()];
    await waitFor(() => server.streams.length === 2 && server.streams.every(({ sink }) => sink));
    await server.server.stopAccepting();
    await expect(fetch(server.url, POST({ query: STREAM }, { accept: 'text/event-stream' }))).rejects.toThrow();
    server.streams[0]!.sink.push(delta(1));
    await ending.waitFor(({ event }) => event === 'next');
    const closed = server.server.close();
    server.streams[0]!.sink.end();
    expect(await ending.ended).toBe('END');
    expect(ending.events.at(-1)!.event).toBe('complete');
    expect(await eventually(lasting.ended, 'the cut')).toBe('CUT');
    expect(lasting.events).toEqual([]);
    await closed;
    expect(server.streams[1]!.left).toBe(true);
  });

  it('a real client tells its application that credentials were refused, with the status', async () => {
    const client = createClient({ url: server.url, headers: { authorization: 'Bearer wrong' }, retryAttempts: 0 });
    const error = await new Promise((resolve) =>
      client.subscribe({ query: STREAM }, { next: () => {}, complete: () => resolve(null), error: resolve }),
    );
    expect((error as NetworkError<Response>).response?.status).toBe(401);
  });
});
