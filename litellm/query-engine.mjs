#!/usr/bin/env node
// Takes the place of Prisma's native query engine, which its installer downloads from a host that closed networks do not reach.
// LiteLLM's Python client starts it as it would the original (PRISMA_QUERY_ENGINE_BINARY) and speaks the same HTTP with it:
// POST / (a query or a batch), POST /transaction/start, /transaction/<id>/commit and /rollback, GET /status and /metrics.
// For development and tests. A production proxy (the image of docker-compose.yml) has the original.
import fs from 'node:fs';
import http from 'node:http';
import { parseArgs } from 'node:util';
import { openEngine } from './prisma/engine.mjs';
import { jsonFieldsOf, toJsonQuery, toPythonAnswer } from './prisma/translate.mjs';

/** Milliseconds between looks at whether the Python process that started us still lives. */
const PARENT_CHECK_MS = 1_000;

const { values: options } = parseArgs({ options: { port: { type: 'string', short: 'p' } }, strict: false });
const datamodel = fs.readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
const jsonFields = jsonFieldsOf(datamodel);
const { engine, close } = await openEngine({ datamodel, databaseUrl: databaseUrl() });

/** The Python client may override the URL of the schema: a JSON list, plain or in base64. */
function databaseUrl() {
  const text = process.env.OVERWRITE_DATASOURCES;
  if (!text) return process.env.DATABASE_URL;
  const [source] = JSON.parse(text.startsWith('[') ? text : Buffer.from(text, 'base64').toString());
  return source?.url ?? process.env.DATABASE_URL;
}

const ask = async (query, transactionId) => JSON.parse(await engine.query(JSON.stringify(query), '{}', transactionId));

async function answer(payload, transactionId) {
  if (!payload.batch) {
    const query = toJsonQuery(payload.query, jsonFields);
    return toPythonAnswer(query.action, await ask(query, transactionId));
  }
  const batch = payload.batch.map(({ query }) => toJsonQuery(query, jsonFields));
  const reply = await ask({ batch, transaction: payload.transaction ? { isolationLevel: null } : undefined }, transactionId);
  return reply.errors ? reply : { batchResult: reply.batchResult.map((item, i) => toPythonAnswer(batch[i].action, item)) };
}

async function handle(request) {
  if (request.url === '/status') return { status: 'ok' };
  if (request.url.startsWith('/metrics')) return { counters: [], gauges: [], histograms: [] };
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  if (request.url === '/transaction/start') return JSON.parse(await engine.startTransaction(text || '{}', '{}'));
  const [, id, verb] = /^\/transaction\/([^/]+)\/(commit|rollback)$/.exec(request.url) ?? [];
  if (verb === 'commit') return JSON.parse((await engine.commitTransaction(id, '{}')) ?? '{}');
  if (verb === 'rollback') return JSON.parse((await engine.rollbackTransaction(id, '{}')) ?? '{}');
  return answer(JSON.parse(text), request.headers['x-transaction-id']);
}

const server = http.createServer(async (request, response) => {
  const body = await handle(request).catch((error) => {
    console.error('query-engine:', error);
    return { errors: [{ error: String(error), user_facing_error: { message: String(error), is_panic: false } }] };
  });
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
// The Python client keeps connections for longer than Node's default of 5 s and would meet closed ones.
server.keepAliveTimeout = 65_000;
server.listen(Number(options.port), 'localhost');

const stop = () => {
  server.close();
  close().finally(() => process.exit(0));
};
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, stop);
// Killed without a signal to us, the Python process would leave us and our connections behind.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && stop(), PARENT_CHECK_MS).unref();
