import http from 'node:http';

/**
 * The floor: what Node alone costs. `POST /json` reads a JSON body and answers with a small JSON object; everything
 * else is passed on to the upstream and back, byte by byte. Arguments: port, upstream port.
 */
const [port, upstreamPort] = process.argv.slice(2).map(Number) as [number, number];
const agent = new http.Agent({ keepAlive: true });

const server = http.createServer((request, response) => {
  if (request.url === '/json') {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      const { query } = JSON.parse(text) as { query: string };
      const body = JSON.stringify({ data: { viewer: { id: 'usr_1', role: query.length > 0 ? 'MEMBER' : 'ADMIN' } } });
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
        .end(body);
    });
    return;
  }
  const forwarded = http.request(
    {
      host: '127.0.0.1',
      port: upstreamPort,
      method: request.method,
      path: request.url,
      headers: request.headers,
      agent,
    },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    },
  );
  forwarded.on('error', () => response.destroy());
  response.on('close', () => forwarded.destroy());
  request.pipe(forwarded);
});
server.keepAliveTimeout = 0;
server.listen(port, '127.0.0.1');
