import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isFailure, type Answer, type Failure, type Piece, type ProviderUsage, type Script } from './provider-script';
import { sseEvent, writeBytes } from './provider-wire';
import { waitFor } from './wait';

export interface RecordedRequest {
  path: string;
  headers: Record<string, string>;
  body: any;
  /** performance.now() when the request had been read. */
  at: number;
  /** performance.now() when the exchange ended; null while it runs. */
  closedAt: number | null;
  /** true: we said everything that we had to say; false: the caller left before, or we cut. */
  finished: boolean;
  /** Pieces sent so far. */
  piecesSent: number;
  closed: Promise<void>;
}

export interface FakeProvider {
  /** With `/v1`, as LLM_BASE_URL is given. */
  url: string;
  requests: RecordedRequest[];
  /** Completions that are being answered now. */
  readonly running: number;
  /** The next calls of this model are answered so, one script each; later ones as usual. */
  script(model: string, ...scripts: Script[]): void;
  /** All further calls of this model. */
  always(model: string, script: Script): void;
  /** Forgets what it was to answer this model with. */
  clear(model: string): void;
  /** The n-th completion (from 0) that this provider gets. */
  completion(index: number): Promise<RecordedRequest>;
  /** Model ids of /v1/models, and what else each entry says. */
  models: { id: string; [field: string]: unknown }[];
  /** Every connection is destroyed and new ones are refused, until `comeBack`. */
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

export interface ProviderOptions {
  models?: FakeProvider['models'];
  port?: number;
  /** When given, other keys are refused with 401. */ apiKey?: string;
}

/**
 * A provider that speaks the OpenAI protocol as the real ones do, and fails as they do where a test says so. The only
 * part that tests fake.
 */
export async function startProvider(options: ProviderOptions = {}): Promise<FakeProvider> {
  const queues = new Map<string, Script[]>();
  const standing = new Map<string, Script>();
  const requests: RecordedRequest[] = [];
  const completions = (): RecordedRequest[] => requests.filter((request) => request.path === '/v1/chat/completions');
  const models = options.models ?? ['test-chat', 'test-small', 'test-unpriced'].map((id) => ({ id }));

  const server = http.createServer((request, response) => {
    // A caller who leaves in the middle is what tests are about.
    void answerRequest(request, response).catch(() => response.destroy());
  });
  // Idle connections of a pool stay for as long as the test runs.
  server.keepAliveTimeout = 0;

  async function answerRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const record: RecordedRequest = {
      path: new URL(request.url ?? '/', 'http://localhost').pathname,
      headers: request.headers as Record<string, string>,
      body: text ? parse(text) : null,
      at: performance.now(),
      closedAt: null,
      finished: false,
      piecesSent: 0,
      closed: once(response, 'close').then(() => {
        record.closedAt = performance.now();
        record.finished = response.writableFinished;
      }),
    };
    requests.push(record);
    if (options.apiKey && record.headers.authorization !== `Bearer ${options.apiKey}`)
      return sendJson(response, 401, {
        error: {
          message: 'Incorrect API key provided',
          type: 'invalid_request_error',
          param: null,
          code: 'invalid_api_key',
        },
      });
    if (request.method === 'GET' && record.path === '/v1/models')
      return sendJson(response, 200, {
        object: 'list',
        data: models.map((model) => ({ object: 'model', created: 1_700_000_000, owned_by: 'test', ...model })),
      });
    const isEmbedding = record.path === '/v1/embeddings';
    if (!isEmbedding && record.path !== '/v1/chat/completions')
      return sendJson(response, 404, {
        error: {
          message: `Invalid URL (${request.method} ${record.path})`,
          type: 'invalid_request_error',
          param: null,
          code: null,
        },
      });
    const model = String(record.body?.model);
    const script = queues.get(model)?.shift() ?? standing.get(model) ?? {};
    await waitUnlessClosed(script.holdHead?.opened, record);
    if (record.closedAt !== null) return;
    if (isFailure(script)) return sendFailure(response, script, record);
    if (isEmbedding) return sendJson(response, 200, embeddings(record.body));
    await (record.body.stream === true
      ? stream(response, script, record)
      : sendJson(response, 200, wholeReply(script, record), script.headers));
  }

  await listen(server, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    models,
    get running() {
      return completions().filter((request) => request.closedAt === null).length;
    },
    script: (model, ...scripts) => void queues.set(model, [...(queues.get(model) ?? []), ...scripts]),
    always: (model, script) => void standing.set(model, script),
    clear: (model) => {
      queues.delete(model);
      standing.delete(model);
    },
    completion: (index) => waitFor(() => completions()[index], { what: `completion ${index} at the provider` }),
    goDown: stop,
    comeBack: () => listen(server, port),
    close: stop,
  };
}

async function stream(response: ServerResponse, answer: Answer, record: RecordedRequest): Promise<void> {
  const wire = answer.wire ?? {};
  const head = {
    id: `chatcmpl-${randomBytes(8).toString('hex')}`,
    object: 'chat.completion.chunk',
    created: Math.floor(Date.now() / 1000),
    model: answer.model ?? record.body.model,
  };
  const send = (text: string): Promise<boolean> => writeBytes(response, sseEvent(text, wire), wire.writeBytes);
  const sendChunk = (delta: object, rest: object = {}): Promise<boolean> =>
    send(JSON.stringify({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: null }], ...rest }));
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    ...answer.headers,
  });
  response.flushHeaders();
  const pieces = piecesOf(answer, record);
  for (let index = 0; index <= pieces.length; index += 1) {
    for (const { after, until } of [answer.hold ?? []].flat())
      if (after === index) await waitUnlessClosed(until.opened, record);
    if (answer.errorAfter?.pieces === index) {
      await send(JSON.stringify({ error: answer.errorAfter.error }));
      return void response.end();
    }
    if (answer.endAfter === index) return void response.end();
    if (answer.cutAfter === index) {
      // What was written goes out before the connection dies.
      await new Promise((resolve) => setImmediate(resolve));
      return void response.socket?.destroy();
    }
    const piece = pieces[index];
    if (piece === undefined || record.closedAt !== null) break;
    if (answer.pieceMs && index > 0) await sleep(answer.pieceMs);
    const role = index === 0 ? { role: 'assistant', content: '' } : {};
    const open =
      typeof piece === 'object' && 'raw' in piece
        ? await writeBytes(response, Buffer.from(piece.raw), wire.writeBytes)
        : await sendChunk({ ...role, ...deltaOf(piece) });
    if (!open) return;
    record.piecesSent = index + 1;
  }
  if (record.closedAt !== null) return;
  await sendChunk(
    {},
    { choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: finishReasonOf(answer, pieces) }] },
  );
  if (record.body.stream_options?.include_usage)
    for (const usage of usagesOf(answer, pieces)) await send(JSON.stringify({ ...head, choices: [], usage }));
  if (answer.done !== false) await send('[DONE]');
  response.end();
}

function deltaOf(piece: Exclude<Piece, { raw: string }>): object {
  if (typeof piece === 'string') return { content: piece };
  if ('reasoning' in piece) return { reasoning_content: piece.reasoning };
  const { index = 0, id, name, arguments: text = '' } = piece.toolCall;
  return {
    tool_calls: [
      { index, ...(id ? { id, type: 'function' } : {}), function: { ...(name ? { name } : {}), arguments: text } },
    ],
  };
}

function wholeReply(answer: Answer, record: RecordedRequest): object {
  const pieces = piecesOf(answer, record);
  const reasoning = pieces
    .map((piece) => (typeof piece === 'object' && 'reasoning' in piece ? piece.reasoning : ''))
    .join('');
  const calls: { id: string; type: string; function: { name: string; arguments: string } }[] = [];
  for (const piece of pieces) {
    if (typeof piece !== 'object' || !('toolCall' in piece)) continue;
    const { index = 0, id, name, arguments: text = '' } = piece.toolCall;
    const call = (calls[index] ??= { id: id ?? '', type: 'function', function: { name: name ?? '', arguments: '' } });
    call.function.arguments += text;
  }
  const usage = usagesOf(answer, pieces).at(-1);
  return {
    id: `chatcmpl-${randomBytes(8).toString('hex')}`,
    object: 'chat.completion',
    created: Math.floor(Date.now() / 1000),
    model: answer.model ?? record.body.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: pieces.filter((piece) => typeof piece === 'string').join('') || (calls.length ? null : ''),
          ...(reasoning ? { reasoning_content: reasoning } : {}),
          ...(calls.length ? { tool_calls: calls } : {}),
        },
        logprobs: null,
        finish_reason: finishReasonOf(answer, pieces),
      },
    ],
    ...(usage ? { usage } : {}),
  };
}

const finishReasonOf = (answer: Answer, pieces: Piece[]): string =>
  answer.finishReason ??
  (pieces.some((piece) => typeof piece === 'object' && 'toolCall' in piece) ? 'tool_calls' : 'stop');

/** Unscripted answers say what they were asked, one word a piece. */
function piecesOf(answer: Answer, record: RecordedRequest): Piece[] {
  if (answer.pieces) return answer.pieces;
  const last = record.body?.messages?.at(-1)?.content;
  return `You said: ${typeof last === 'string' ? last : JSON.stringify(last)}`.match(/\S+\s*/g) ?? [];
}

function usagesOf(answer: Answer, pieces: Piece[]): ProviderUsage[] {
  if (answer.usage === null) return [];
  if (answer.usage !== undefined) return Array.isArray(answer.usage) ? answer.usage : [answer.usage];
  return [
    {
      prompt_tokens: 11,
      completion_tokens: pieces.length,
      total_tokens: 11 + pieces.length,
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0 },
    },
  ];
}

function embeddings(body: { model: string; input: string | string[] }): object {
  const inputs = Array.isArray(body.input) ? body.input : [body.input];
  const tokens = inputs.reduce((sum, text) => sum + String(text).split(/\s+/).length, 0);
  return {
    object: 'list',
    model: body.model,
    data: inputs.map((_, index) => ({ object: 'embedding', index, embedding: [0.1, 0.2, 0.3] })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

function sendFailure(response: ServerResponse, failure: Failure, record: RecordedRequest): void {
  const body = typeof failure.body === 'function' ? failure.body(record) : failure.body;
  response.writeHead(failure.status, { 'content-type': 'application/json', ...failure.headers });
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  if (failure.cut) response.write(text, () => setImmediate(() => response.socket?.destroy()));
  else response.end(text);
}

function sendJson(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const waitUnlessClosed = async (opened: Promise<void> | undefined, record: RecordedRequest): Promise<void> => {
  if (opened) await Promise.race([opened, record.closed]);
};

const listen = (server: http.Server, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
