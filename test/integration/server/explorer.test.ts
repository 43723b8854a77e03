import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { graphql } from '../../support/graphql-client';
import { startServer, type TestServer } from '../../support/graph-server';

const folder = mkdtempSync(path.join(tmpdir(), 'weir-explorer-page-'));
const demoFile = path.join(folder, 'demo.json');

/** `fetch` may not choose its Host header. */
const get = (
  server: TestServer,
  where: string,
  headers: Record<string, string>,
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

describe('the explorer', () => {
  let server: TestServer;
  beforeAll(async () => {
    writeFileSync(demoFile, JSON.stringify({ tokens: { pro: 'weir_</script>demo' } }));
    server = await startServer({ env: 'development', explorer: true, demoFile, corsOrigins: ['*'] });
  });
  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  it('is a page for browsers at the address of the graph; programs are answered as always', async () => {
    const page = await get(server, '/graphql', { accept: 'text/html,*/*', host: 'localhost:4100' });
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.text).toContain('weir_\\u003c/script>demo');
    expect((await graphql(server.url, 'good', '{ hello }')).status).toBe(200);
    expect((await graphql(server.url, null, '{ hello }')).status).toBe(401);
  });

  it('loads nothing from elsewhere, runs no inline script, and may not be read or framed by other sites', async () => {
    const page = await get(server, '/graphql', {
      accept: 'text/html',
      host: 'localhost',
      origin: 'https://evil.example',
    });
    expect(page.headers['access-control-allow-origin']).toBeUndefined();
    expect(page.headers['cross-origin-resource-policy']).toBe('same-origin');
    expect(page.headers['content-security-policy']).toMatch(/script-src 'self';.*frame-ancestors 'none'/);
    expect(page.text).not.toMatch(/https?:\/\//);
    const files = [...page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1]!);
    // Its scripts and styles, and the link to the example.
    expect(files.length).toBe(7);
    for (const file of files) {
      const { status, headers, text } = await get(server, file, { host: 'localhost', origin: 'https://evil.example' });
      expect([file, status, headers['access-control-allow-origin']]).toEqual([file, 200, undefined]);
      expect(text.length).toBeGreaterThan(100);
    }
    for (const other of [
      '/graphql/explorer/../../package.json',
      '/graphql/explorer/%2e%2e/tabs.json',
      '/graphql/explorer/tabs.json',
    ])
      expect((await get(server, other, {})).status).toBe(404);
  });

  it('shows no tokens under a foreign name that points here', async () => {
    expect((await get(server, '/graphql', { accept: 'text/html', host: 'rebound.example' })).text).not.toContain(
      'weir_\\u003c',
    );
  });
});
