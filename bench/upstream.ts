import http, { type ServerResponse } from 'node:http';

/**
 * A stand-in provider: speaks the OpenAI protocol, thinks nothing, costs little. A model `stream-<tokens>-<per
 * second>-<first token after, in ms>` streams; every token says its number and the time at which it was sent
 * (`12:8412331.25 `, microseconds of the machine's monotonic clock, the same for all its processes). Port: first
 * argument.
 */
const WHOLE = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1_700_000_000,
  model: 'bench-chat',
  choices: [
    {
      index: 0,
      message: {
        role: 'assistant',
        content: 'Grass is green because chlorophyll takes the red and the blue light and leaves the green.',
      },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: {
    prompt_tokens: 24,
    completion_tokens: 17,
    total_tokens: 41,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  },
});
const MODELS = JSON.stringify({
  object: 'list',
  data: [
    'bench-chat',
    'stream-20-50-10',
    'stream-20-20-50',
    'stream-1000-100-200',
    'stream-200-20-200',
    'stream-100-10-200',
    'stream-4000-1000-10',
    'stream-400-20-200',
  ].map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'bench' })),
});
const JSON_HEADERS = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(WHOLE) };

export const nowMicros = (): number => Number(process.hrtime.bigint()) / 1_000;

/** When a caller hung up, by the text of its question: `GET /closed`. */
const closed: Record<string, number> = {};

const server = http.createServer((request, response) => {
  if (request.url === '/closed') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(closed));
    return;
  }
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(MODELS);
    return;
  }
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (chunk: string) => (text += chunk));
  request.on('end', () => {
    const body = JSON.parse(text) as { model: string; stream?: boolean; messages: { content: string }[] };
    if (body.stream) stream(response, body.model, body.messages[0]!.content);
    else response.writeHead(200, JSON_HEADERS).end(WHOLE);
  });
});
server.keepAliveTimeout = 0;
server.listen(Number(process.argv[2]), '127.0.0.1');

function stream(response: ServerResponse, model: string, question: string): void {
  const [tokens, perSecond, firstMs] = model.split('-').slice(1).map(Number) as [number, number, number];
  const head = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"${model}","choices":[{"index":0,"delta":{`;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  let sent = 0;
  let timer: NodeJS.Timeout;
  const tick = (): void => {
    if (response.destroyed) return clearInterval(timer);
    if (sent < tokens) {
      response.write(`${head}"content":"${sent}:${nowMicros().toFixed(2)} "},"finish_reason":null}]}\n\n`);
      sent += 1;
      return;
    }
    clearInterval(timer);
    response.write(`${head}},"finish_reason":"stop"}]}\n\n`);
    response.end(
      `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"${model}","choices":[],"usage":{"prompt_tokens":24,"completion_tokens":${tokens},"total_tokens":${tokens + 24}}}\n\ndata: [DONE]\n\n`,
    );
  };
  timer = setTimeout(() => {
    tick();
    timer = setInterval(tick, 1_000 / perSecond);
  }, firstMs);
  response.on('close', () => {
    clearInterval(timer);
    if (!response.writableFinished) closed[question] = nowMicros();
  });
}
