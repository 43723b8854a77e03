import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startServer, type TestServer } from '../../support/graph-server';

const folder = mkdtempSync(path.join(tmpdir(), 'weir-example-page-'));
const demoFile = path.join(folder, 'demo.json');
const FILES = ['chat.css', 'chat.js', 'resuming.js', 'stream-chat.js'];

/** `fetch` may not choose its Host header, and tidies paths up. */
const get = (
  server: TestServer,
  where: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: http.IncomingHttpHeaders; text: string }> =>
  new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: server.port, path: where, headers }, (response) => {
        let text = '';
        response
          .setEncoding('utf8')
          .on('data', (part: string) => (text += part))
          .on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
      })
      .on('error', reject);
  });

describe('the example page', () => {
  let server: TestServer;
  beforeAll(async () => {
    writeFileSync(demoFile, JSON.stringify({ tokens: { pro: 'weir_</script>demo' } }));
    server = await startServer({ env: 'development', explorer: true, demoFile, corsOrigins: ['*'] });
  });
  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  it('is made of the files of examples/browser-chat as they are, and of the demonstration tokens', async () => {
    const page = await get(server, '/example', { host: 'localhost:4100' });
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.text).toContain('"weir_\\u003c/script>demo"');
    for (const name of FILES) {
      const { status, headers, text } = await get(server, `/example/${name}`);
      expect([name, status, headers['content-type']]).toEqual([
        name,
        200,
        name.endsWith('css') ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8',
      ]);
      expect(text).toBe(readFileSync(path.join(__dirname, '..', '..', '..', 'examples', 'browser-chat', name), 'utf8'));
    }
  });

  it('loads nothing from elsewhere, has nothing inline, and may not be read or framed by other sites', async () => {
    const page = await get(server, '/example', { host: 'localhost', origin: 'https://evil.example' });
    expect(page.headers['access-control-allow-origin']).toBeUndefined();
    expect(page.headers['cross-origin-resource-policy']).toBe('same-origin');
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';.*frame-ancestors 'none'/,
    );
    expect(page.text).not.toMatch(/https?:\/\/|style="|onclick/);
    for (const name of FILES)
      expect(
        (await get(server, `/example/${name}`, { origin: 'https://evil.example' })).headers[
          'access-control-allow-origin'
        ],
      ).toBeUndefined();
  });

  it('shows no tokens under a foreign name that points here', async () => {
    const page = await get(server, '/example', { host: 'rebound.example' });
    expect([page.status, page.text.includes('weir_\\u003c')]).toEqual([200, false]);
  });

  it.each([
    '/example/../../package.json',
    '/example/%2e%2e/%2e%2e/package.json',
    '/example/..%2fclients%2fapollo.js',
    '/example/chat.js%00',
    '/example//chat.js',
    '/example/clients/apollo.js',
    '/example/index.html',
    '/example/__proto__',
  ])('serves nothing else: %s', async (where) => {
    expect((await get(server, where)).status).toBe(404);
  });

  it.each([
    ['in production', { env: 'production' as const, explorer: true }],
    ['without the explorer', { env: 'development' as const, explorer: false }],
  ])('is not there %s', async (_name, config) => {
    const other = await startServer(config);
    try {
      for (const where of ['/example', '/example/chat.js'])
        expect((await get(other, where, { host: 'localhost' })).status).toBe(404);
      expect((await get(other, '/graphql', { host: 'localhost', accept: 'text/html' })).text).not.toContain('/example');
    } finally {
      await other.close();
    }
  });
});
