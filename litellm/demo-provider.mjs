#!/usr/bin/env node
// A model provider for people without a key, and for trying things out: it speaks the OpenAI protocol, takes its time per token,
// counts tokens, and says in every answer that it is a demonstration. Nothing leaves this machine.
//   node litellm/demo-provider.mjs --port 4200 [--host 127.0.0.1] [--token-delay 25] [--first-token-delay 150]
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { setImmediate as yieldToEvents, setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answerTo } from './demo/answer.mjs';
import { embed, inBase64 } from './demo/embed.mjs';
import { countTokens, imagesIn, PromptCache } from './demo/tokens.mjs';

const MODELS = JSON.parse(fs.readFileSync(new URL('./demo/models.json', import.meta.url), 'utf8'));
const MAX_BODY_BYTES = 32 * 1024 * 1024;
const PARENT_CHECK_MS = 1_000;
const ROLES = new Set(['system', 'developer', 'user', 'assistant', 'tool']);
/** 2026-01-01, as the age of the models. Seconds since 1970. */
const CREATED = 1_767_225_600;
const newId = () => randomBytes(12).toString('hex');
const now = () => Math.floor(Date.now() / 1_000);

class Refused extends Error {
  constructor(status, message, { param = null, code = null } = {}) {
    super(message);
    this.status = status;
    this.body = { error: { message, type: 'invalid_request_error', param, code } };
  }
}

/**
 * Serves until `close`. `port` 0: any free one. Delays in milliseconds. `running()`, as GET /health, is the number of
 * answers in progress: it falls to 0 when every caller has been served or has gone.
 */
export async function startDemoProvider({ host = '127.0.0.1', port = 0, tokenDelayMs = 25, firstTokenDelayMs = 6 * tokenDelayMs } = {}) {
  const provider = { tokenDelayMs, firstTokenDelayMs, cache: new PromptCache(), running: 0 };
  const server = http.createServer((request, response) => void serve(provider, request, response));
  server.keepAliveTimeout = 65_000;
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  const authority = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${authority}:${server.address().port}`,
    running: () => provider.running,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(provider, request, response) {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    await route(provider, request, response, gone.signal);
  } catch (error) {
    if (gone.signal.aborted) return;
    if (!(error instanceof Refused)) console.error(error);
    const { status, body } = error instanceof Refused ? error : { status: 500, body: { error: { message: 'the demonstration provider failed', type: 'server_error', param: null, code: null } } };
    if (response.headersSent) response.destroy();
    else send(response, status, body);
  }
}

async function route(provider, request, response, gone) {
  const { pathname } = new URL(request.url, 'http://demo');
  const where = `${request.method} ${pathname.replace(/^\/v1(?=\/)/, '')}`;
  if (where === 'GET /models') return send(response, 200, { object: 'list', data: Object.keys(MODELS).map(describe) });
  if (where === 'GET /health') return send(response, 200, { status: 'ok', running: provider.running });
  if (where.startsWith('GET /models/')) return send(response, 200, describe(checkedModel(decodeURIComponent(where.slice('GET /models/'.length)))));
  if (where === 'POST /embeddings') return send(response, 200, embeddings(await readBody(request)));
  if (where === 'POST /chat/completions') {
    provider.running += 1;
    try {
      return await chat(provider, await readBody(request), response, gone);
    } finally {
      provider.running -= 1;
    }
  }
  throw new Refused(404, `the demonstration provider has no ${request.method} ${pathname}`, { code: 'unknown_url' });
}

function describe(id) {
  const { mode, max_input_tokens, max_output_tokens } = MODELS[id];
  return { id, object: 'model', created: CREATED, owned_by: 'weir-demonstration', mode, max_input_tokens, max_output_tokens };
}

function checkedModel(id, mode) {
  if (!Object.hasOwn(MODELS, id)) throw new Refused(404, `The model \`${id}\` does not exist`, { param: 'model', code: 'model_not_found' });
  if (mode && MODELS[id].mode !== mode) throw new Refused(400, `The model \`${id}\` is no ${mode} model`, { param: 'model' });
  return id;
}

async function chat(provider, body, response, gone) {
  const known = MODELS[checkedModel(body.model, 'chat')];
  checkChat(body, known);
  const prompt = provider.cache.count(body);
  if (prompt.total > known.max_input_tokens) {
    const message = `This model's maximum context length is ${known.max_input_tokens} tokens. However, your messages resulted in ${prompt.total} tokens.`;
    throw new Refused(400, message, { param: 'messages', code: 'context_length_exceeded' });
  }
  const limit = Math.min(body.max_completion_tokens ?? body.max_tokens ?? Infinity, known.max_output_tokens);
  const { pieces, finishReason } = answerTo(body, { reasons: known.supports_reasoning, limit, newId });
  const call = { id: `chatcmpl-${newId()}`, created: now(), model: body.model, pieces, finishReason, usage: usageOf(prompt, pieces) };
  if (body.stream) return stream(provider, call, Boolean(body.stream_options?.include_usage), response, gone);
  for await (const _piece of paced(provider, pieces, gone));
  const { id, created, model, usage } = call;
  send(response, 200, { id, object: 'chat.completion', created, model, choices: [{ index: 0, message: wholeMessage(pieces), finish_reason: finishReason, logprobs: null }], usage });
}

function checkChat({ messages, n = 1, max_tokens, max_completion_tokens }, known) {
  if (!Array.isArray(messages) || messages.length === 0) throw new Refused(400, 'messages must be a list with at least one message', { param: 'messages' });
  const wrong = messages.findIndex((message) => !ROLES.has(message?.role));
  if (wrong >= 0) throw new Refused(400, `messages[${wrong}].role is not one of ${[...ROLES].join(', ')}`, { param: 'messages' });
  if (!known.supports_vision && imagesIn(messages) > 0) throw new Refused(400, 'This model takes no images', { param: 'messages' });
  if (n !== 1) throw new Refused(400, 'The demonstration provider gives one choice only', { param: 'n' });
  const limits = { max_tokens, max_completion_tokens };
  const name = Object.keys(limits).find((key) => limits[key] != null && !(Number.isInteger(limits[key]) && limits[key] > 0));
  if (name) throw new Refused(400, `${name} must be a positive integer`, { param: name });
}

function usageOf({ total, cached }, pieces) {
  return {
    prompt_tokens: total,
    completion_tokens: pieces.length,
    total_tokens: total + pieces.length,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: pieces.filter(({ kind }) => kind === 'reasoning').length },
  };
}

/** Gives each piece at its time, counted from the start, so that delays do not add up. Throws when the caller has gone. */
async function* paced({ tokenDelayMs, firstTokenDelayMs }, pieces, gone) {
  const startedAt = performance.now() + firstTokenDelayMs;
  for (const [i, piece] of pieces.entries()) {
    const early = startedAt + i * tokenDelayMs - performance.now();
    if (early > 0) await wait(early, undefined, { signal: gone });
    else if (i % 64 === 0) await yieldToEvents(undefined, { signal: gone });
    gone.throwIfAborted();
    yield piece;
  }
}

async function stream(provider, call, withUsage, response, gone) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const { id, created, model, usage, finishReason } = call;
  const frame = (choices, sentUsage = null) =>
    `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created, model, choices, ...(withUsage && { usage: sentUsage }) })}\n\n`;
  const choice = (delta, reason = null) => frame([{ index: 0, delta, finish_reason: reason, logprobs: null }]);
  response.flushHeaders();
  let first = true;
  for await (const piece of paced(provider, call.pieces, gone)) {
    const delta = deltaOf(piece);
    const fits = response.write(choice(first ? { role: 'assistant', ...delta } : delta));
    first = false;
    if (!fits) await writable(response, gone);
  }
  response.write(choice({}, finishReason));
  if (withUsage) response.write(frame([], usage));
  response.end('data: [DONE]\n\n');
}

const writable = (response, gone) =>
  new Promise((resolve, reject) => {
    response.once('drain', resolve);
    gone.addEventListener('abort', () => reject(gone.reason), { once: true });
  });

function deltaOf({ kind, token, index, name, id }) {
  if (kind === 'reasoning') return { reasoning_content: token };
  if (kind === 'text') return { content: token };
  return { tool_calls: [{ index, ...(id && { id, type: 'function' }), function: { ...(name && { name }), arguments: token } }] };
}

function wholeMessage(pieces) {
  const joined = (kind) => pieces.filter((piece) => piece.kind === kind).map(({ token }) => token).join('');
  const calls = [];
  for (const { kind, index, id, name, token } of pieces) {
    if (kind !== 'tool') continue;
    calls[index] ??= { id, type: 'function', function: { name, arguments: '' } };
    calls[index].function.arguments += token;
  }
  const reasoning = joined('reasoning');
  return { role: 'assistant', content: calls.length > 0 ? null : joined('text'), ...(reasoning && { reasoning_content: reasoning }), ...(calls.length > 0 && { tool_calls: calls }), refusal: null };
}

function embeddings({ model, input, dimensions, encoding_format: format }) {
  const known = MODELS[checkedModel(model, 'embedding')];
  const isTokens = Array.isArray(input) && typeof input[0] === 'number';
  const inputs = (Array.isArray(input) && !isTokens ? input : [input]).map((item) => (Array.isArray(item) ? item.join(' ') : item));
  if (inputs.length === 0 || inputs.some((item) => typeof item !== 'string' || item === '')) throw new Refused(400, 'input must be a text or a list of texts', { param: 'input' });
  const size = dimensions ?? known.output_vector_size;
  if (!Number.isInteger(size) || size < 1 || size > 3_072) throw new Refused(400, 'dimensions must be between 1 and 3072', { param: 'dimensions' });
  const tokens = inputs.reduce((sum, text) => sum + countTokens(text), 0);
  const data = inputs.map((text, index) => {
    const vector = embed(text, size);
    return { object: 'embedding', index, embedding: format === 'base64' ? inBase64(vector) : vector };
  });
  return { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new Refused(413, 'the body is too large');
    chunks.push(chunk);
  }
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    if (typeof body === 'object' && body !== null) return body;
  } catch {
    // Refused below, like a body that is JSON and no object.
  }
  throw new Refused(400, 'the body is no JSON object');
}

function send(response, status, body) {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { host: { type: 'string' }, port: { type: 'string' }, 'token-delay': { type: 'string' }, 'first-token-delay': { type: 'string' }, 'stop-with-parent': { type: 'boolean' } },
  });
  const number = (text) => (text === undefined ? undefined : Number(text));
  const { url, close } = await startDemoProvider({
    host: values.host,
    port: number(values.port),
    tokenDelayMs: number(values['token-delay'] ?? process.env.DEMO_TOKEN_DELAY_MS),
    firstTokenDelayMs: number(values['first-token-delay'] ?? process.env.DEMO_FIRST_TOKEN_DELAY_MS),
  });
  console.log(`demonstration provider: ${url}/v1`);
  const stop = () => void close().finally(() => process.exit(0));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, stop);
  const parent = process.ppid;
  if (values['stop-with-parent']) setInterval(() => process.ppid !== parent && stop(), PARENT_CHECK_MS).unref();
}
