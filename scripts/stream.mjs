// node scripts/stream.mjs "question" [--model id] [--as free|pro|team|…]: prints the words of an answer as they arrive.
// Where it goes: WEIR_URL (ws://…) and WEIR_TOKEN, else what `npm start` left in demo.json.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { inRoot } from './lib/paths.mjs';

const STREAM = `subscription Ask($input: ChatInput!) {
  chatStream(input: $input) {
    __typename
    ... on StreamStarted { model }
    ... on TextDelta { text }
    ... on ReasoningDelta { text }
    ... on StreamCompleted { reply { usage { promptTokens completionTokens } cost { total currency } route { servedModel upstream } latencyMs } }
    ... on StreamFailed { refusal { code message } }
    ... on StreamRefused { refusal { code message } }
  }
}`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { model: { type: 'string' }, as: { type: 'string', default: 'pro' } },
});
const question = positionals.join(' ') || 'What does a weir do in a river?';
const { url, token } = target();
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: `Bearer ${token}` },
  retryAttempts: 0,
});
const startedAt = performance.now();
let firstAfterMs = null;
let failed = false;

try {
  const variables = { input: { model: values.model, messages: [{ role: 'USER', content: question }] } };
  for await (const { data, errors } of client.iterate({ query: STREAM, variables })) {
    if (errors) throw new Error(errors.map(({ message }) => message).join('\n'));
    show(data.chatStream);
  }
} catch (error) {
  failed = true;
  console.error(`\n${reasonOf(error)}`);
}
await client.dispose();
process.exitCode = failed ? 1 : 0;

function show(event) {
  switch (event.__typename) {
    case 'TextDelta':
      firstAfterMs ??= Math.round(performance.now() - startedAt);
      process.stdout.write(event.text);
      break;
    case 'StreamCompleted': {
      const { usage, cost, route, latencyMs } = event.reply;
      const price = cost ? `${cost.total} ${cost.currency}` : 'no price known';
      console.log(
        `\n\n${route.servedModel} through ${route.upstream} · ${usage.promptTokens} + ${usage.completionTokens} tokens · ${price} · first word after ${firstAfterMs} ms, all after ${latencyMs} ms`,
      );
      break;
    }
    case 'StreamFailed':
    case 'StreamRefused':
      failed = true;
      console.error(`\n${event.refusal.code}: ${event.refusal.message}`);
      break;
    default:
  }
}

function target() {
  if (process.env.WEIR_URL && process.env.WEIR_TOKEN)
    return { url: process.env.WEIR_URL, token: process.env.WEIR_TOKEN };
  const file = path.join(path.resolve(process.env.WEIR_HOME || inRoot('.weir')), 'demo.json');
  if (!fs.existsSync(file)) {
    console.error(`${file} is not there: run npm start first, or set WEIR_URL and WEIR_TOKEN.`);
    process.exit(1);
  }
  const demo = JSON.parse(fs.readFileSync(file, 'utf8'));
  const token = demo.tokens[values.as];
  if (!token) {
    console.error(`--as ${values.as} is none of ${Object.keys(demo.tokens).join(', ')}.`);
    process.exit(1);
  }
  return { url: demo.websocket, token };
}

/** graphql-ws ends with an Error, a list of GraphQL errors, or the close event of the socket. */
function reasonOf(error) {
  if (Array.isArray(error)) return error.map(({ message }) => message).join('\n');
  if (error?.code === 'ECONNREFUSED' || error?.error?.code === 'ECONNREFUSED')
    return `Nothing answers at ${url}: is npm start running?`;
  return error?.reason || error?.message || `the connection was closed (${error?.code ?? 'unknown reason'})`;
}
