import net from 'node:net';
import { graphql } from '../../support/graphql-client';
import { FAILURES, startServer, type TestServer } from '../../support/graph-server';

const post = (url: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : new Uint8Array(body),
    headers: { 'content-type': 'application/json', authorization: 'Bearer good', ...headers },
  });
const firstError = async (response: Response): Promise<{ message: string; extensions: Record<string, unknown> }> =>
  ((await response.json()) as { errors: never[] }).errors[0]!;

describe('the HTTP door', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ corsOrigins: ['https://app.example'] });
  });
  afterAll(() => server.close());

  it('answers a known caller, on repetition (compiled) like the first time', async () => {
    for (let round = 0; round < 3; round += 1) {
      const reply = await graphql(
        server.url,
        'good',
        '{ hello colour person { name pet { __typename name ... on Cat { lives } } friends { name } } }',
      );
      expect(reply.status).toBe(200);
      expect(reply.errors).toBeNull();
      expect(reply.data).toEqual({
        hello: 'hello ann',
        colour: 'GREEN',
        person: {
          name: 'Ann',
          pet: { __typename: 'Cat', name: 'Tom', lives: 9 },
          friends: [{ name: 'Bob' }, { name: 'Eve' }],
        },
      });
    }
  });

  it.each([[null], ['wrong'], ["' OR 1=1 --"]])('gives nobody without credentials anything: %p', async (token) => {
    const reply = await graphql(server.url, token, '{ hello }');
    expect(reply.status).toBe(401);
    expect(reply.data).toBeNull();
    expect(reply.errors).toEqual([{ message: expect.any(String), extensions: { code: 'UNAUTHENTICATED' } }]);
    expect(reply.headers.get('www-authenticate')).toBe('Bearer');
  });

  it('asks for credentials before it reads the body', async () => {
    const response = await post(server.url, 'x'.repeat(200_000), { authorization: '' });
    expect(response.status).toBe(401);
  });

  it('says live and ready to everybody, and nothing else', async () => {
    const origin = new URL(server.url).origin;
    expect((await fetch(`${origin}/health/live`)).status).toBe(200);
    const ready = await fetch(`${origin}/health/ready`);
    expect([ready.status, await ready.json()]).toEqual([200, { ready: true, database: { state: 'UP' } }]);
    expect((await fetch(`${origin}/metrics`)).status).toBe(404);
    expect((await fetch(server.url, { method: 'PUT' })).status).toBe(405);
  });

  it('is not ready when a component is not, or cannot be asked', async () => {
    for (const readiness of [
      async () => ({ ready: false, database: { state: 'DOWN' } }),
      async () => Promise.reject(new Error('no')),
    ]) {
      const other = await startServer({}, { readiness });
      expect((await fetch(new URL('/health/ready', other.url))).status).toBe(503);
      await other.close();
    }
  });

  it('names the limit for a body that is too large', async () => {
    const response = await post(
      server.url,
      JSON.stringify({ query: '{ hello }', variables: { text: 'x'.repeat(200_000) } }),
    );
    expect(response.status).toBe(413);
    expect(await firstError(response)).toMatchObject({
      message: expect.stringContaining('100000'),
      extensions: { code: 'BAD_USER_INPUT' },
    });
  });

  it.each([
    ['broken JSON', '{"query":', {}, 400],
    ['a batch', '[{"query":"{ hello }"},{"query":"{ hello }"}]', {}, 400],
    ['an empty body', '', {}, 400],
    ['a form', 'query={hello}', { 'content-type': 'application/x-www-form-urlencoded' }, 400],
    ['plain text', '{"query":"{ hello }"}', { 'content-type': 'text/plain' }, 400],
    ['another charset', '{"query":"{ hello }"}', { 'content-type': 'application/json; charset=utf-7' }, 415],
    ['a compressed body', '{"query":"{ hello }"}', { 'content-encoding': 'gzip' }, 415],
    ['20,000 levels', `{"query":"{ hello }","variables":{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`, {}, 400],
    ['a prototype', '{"query":"{ hello }","variables":{"__proto__":{"polluted":true}}}', {}, 400],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d]), {}, 400],
  ])('refuses %s', async (_what, body, headers, status) => {
    const response = await post(server.url, body, headers as Record<string, string>);
    expect(response.status).toBe(status);
    expect((await firstError(response)).extensions.code).toMatch(/^BAD_(USER_INPUT|REQUEST)$/);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('takes queries by GET from whoever sends a token, which pages of other sites cannot do unasked, and mutations never', async () => {
    const get = (query: string, headers: Record<string, string>): Promise<Response> =>
      fetch(`${server.url}?query=${encodeURIComponent(query)}`, { headers });
    const authorization = 'Bearer good';
    expect((await get('{ hello }', {})).status).toBe(401);
    expect((await get('{ hello }', { 'apollo-require-preflight': '1' })).status).toBe(401);
    const answer = await get('{ hello }', { authorization });
    expect([answer.status, await answer.json()]).toEqual([200, { data: { hello: 'hello ann' } }]);
    for (let round = 0; round < 2; round += 1)
      expect((await get('mutation { touch }', { authorization, 'apollo-require-preflight': '1' })).status).toBe(405);
    expect((await get('subscription { chatStream { __typename } }', { authorization })).status).toBe(405);
    expect((await fetch(server.url, { method: 'POST', headers: { authorization } })).status).toBe(400);
  });

  it('tells how credentials are sent', async () => {
    expect((await graphql(server.url, null, '{ hello }')).errors![0]!.message).toBe(
      'No valid credentials: send Authorization: Bearer <token>.',
    );
  });

  it('never sends an answer larger than its bound, however often one text is asked for', async () => {
    const query =
      'query ($length: Int!) { a: text(length: $length) b: text(length: $length) c: text(length: $length) d: text(length: $length) e: text(length: $length) }';
    for (let round = 0; round < 3; round += 1) {
      const large = await graphql(server.url, 'good', query, { length: 4_000_000 });
      expect([large.status, large.data, large.errors]).toEqual([
        200,
        null,
        [{ message: expect.stringContaining('16777216 bytes'), extensions: { code: 'BAD_USER_INPUT' } }],
      ]);
      const fitting = await graphql(server.url, 'good', query, { length: 3_000_000 });
      expect([fitting.errors, fitting.data.e.length]).toEqual([null, 3_000_000]);
    }
  });

  it('refuses subscriptions by HTTP and says where they go', async () => {
    const reply = await graphql(server.url, 'good', 'subscription { chatStream { __typename } }');
    expect(reply.status).toBe(400);
    expect(reply.errors![0]).toMatchObject({
      message: expect.stringContaining('WebSocket'),
      extensions: { code: 'BAD_USER_INPUT' },
    });
    expect(server.streams).toHaveLength(0);
  });

  it('echoes a sane request id and replaces any other', async () => {
    const idFor = async (id: string): Promise<string | null> =>
      (await graphql(server.url, 'good', '{ hello }', {}, { headers: { 'x-request-id': id } })).headers.get(
        'x-request-id',
      );
    expect(await idFor('abc-1.2_3')).toBe('abc-1.2_3');
    expect(await idFor('a b"c')).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idFor('x'.repeat(129))).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('names the place of a variable that cannot be read, with 400', async () => {
    const query = 'query ($input: Outer!) { take(input: $input) }';
    const bad: [unknown, string][] = [
      [{ inner: [{ text: 5 }] }, 'input.inner[0].text'],
      [{ inner: [{}] }, 'input.inner[0].text'],
      [{ inner: [{ text: 'a', colour: 'BLUE' }] }, 'input.inner[0].colour'],
      [{ inner: [{ text: 'a', upper: 'ABC' }] }, 'input.inner[0].upper'],
      [{ inner: [], other: 1 }, 'input.other'],
      [[], 'input'],
      [undefined, 'input'],
    ];
    for (let round = 0; round < 2; round += 1) {
      for (const [input, argument] of bad) {
        const reply = await graphql(server.url, 'good', query, { input });
        expect([reply.status, reply.errors![0]!.extensions]).toEqual([400, { code: 'BAD_USER_INPUT', argument }]);
      }
      const good = await graphql(server.url, 'good', query, {
        input: { inner: { text: 'a', colour: 'RED', upper: 'abc' } },
      });
      expect(JSON.parse(good.data.take)).toEqual({
        input: { inner: [{ text: 'a', colour: 'RED', upper: { lower: 'abc' } }] },
      });
    }
  });

  it('a null variable for an argument that may not be null is the mistake of the client', async () => {
    const reply = await graphql(server.url, 'good', 'query ($first: Int) { people(first: $first) { name } }', {
      first: null,
    });
    expect(reply.errors![0]!.extensions).toEqual({ code: 'BAD_USER_INPUT', argument: 'first' });
  });

  it.each(['jit', 'graphql-js'])(
    'words errors of resolvers alike and hides what is not written for clients (%s)',
    async (way) => {
      const other = await startServer({}, { jit: way === 'jit' });
      const ask = async (how: string): Promise<{ status: number; error: unknown }> => {
        let reply = await graphql(
          other.url,
          'good',
          'query ($how: String!) { fails(how: $how) }',
          { how },
          { headers: { 'x-request-id': 'r-1' } },
        );
        for (let round = 0; round < 2; round += 1)
          reply = await graphql(
            other.url,
            'good',
            'query ($how: String!) { fails(how: $how) }',
            { how },
            { headers: { 'x-request-id': 'r-1' } },
          );
        expect(reply.data).toEqual({ fails: null });
        return { status: reply.status, error: reply.errors![0] };
      };
      const place = { path: ['fails'], locations: [{ line: 1, column: 25 }] };
      expect(Object.keys(FAILURES)).toHaveLength(5);
      expect(await ask('forbidden')).toEqual({
        status: 200,
        error: { message: 'This needs the role ADMIN.', ...place, extensions: { code: 'FORBIDDEN' } },
      });
      expect(await ask('argument')).toEqual({
        status: 200,
        error: { message: 'input.x: too long', ...place, extensions: { code: 'BAD_USER_INPUT', argument: 'input.x' } },
      });
      expect(await ask('unknown')).toEqual({
        status: 200,
        error: {
          message: 'Something went wrong on our side.',
          ...place,
          extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'r-1' },
        },
      });
      expect(await ask('notAnError')).toEqual({
        status: 200,
        error: {
          message: 'Something went wrong on our side.',
          ...place,
          extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'r-1' },
        },
      });
      expect(await ask('database')).toMatchObject({
        status: 200,
        error: { ...place, extensions: { code: 'SERVICE_UNAVAILABLE', retryAfterMs: 2000 } },
      });
      await other.close();
    },
  );

  it('answers 503 with Retry-After when nothing came of it but "not now"', async () => {
    for (let round = 0; round < 3; round += 1) {
      const reply = await graphql(server.url, 'good', '{ strictlyFails }');
      expect([reply.status, reply.headers.get('retry-after'), reply.data]).toEqual([503, '2', null]);
      expect((await graphql(server.url, 'good', '{ hello strictlyFails fails(how: "forbidden") }')).status).toBe(200);
    }
  });

  it('lets only listed origins read answers', async () => {
    const from = async (origin: string): Promise<string | null> =>
      (await graphql(server.url, 'good', '{ hello }', {}, { headers: { origin } })).headers.get(
        'access-control-allow-origin',
      );
    expect(await from('https://app.example')).toBe('https://app.example');
    expect(await from('https://evil.example')).toBeNull();
    const preflight = await fetch(server.url, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([
      204,
      'https://app.example',
    ]);
  });

  it('survives a malformed Host header and keeps the shape of its errors', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = net.connect(server.port, '127.0.0.1', () =>
        socket.write(
          'POST /graphql HTTP/1.1\r\nHost: a b[\r\nContent-Type: application/json\r\nAuthorization: Bearer good\r\nConnection: close\r\nContent-Length: 21\r\n\r\n{"query":"{ hello }"}',
        ),
      );
      let text = '';
      socket
        .on('data', (data) => (text += data))
        .on('end', () => resolve(text))
        .on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
  });

  it('has no landing page and no explorer unless configured', async () => {
    const response = await fetch(server.url, { headers: { accept: 'text/html' } });
    expect(response.status).toBe(401);
  });
});
