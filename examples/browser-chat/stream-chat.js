// @ts-check
// A chat without a client library: asks, streams, goes on after outages and reloads, stops. Copy this file and resuming.js; they need no build step.
import { graphqlErrors, memory, newKey, resuming, retryOf } from './resuming.js';
export { unfinished } from './resuming.js';

/**
 * @typedef {import('./resuming.js').Position} Position
 * @typedef {import('./resuming.js').Unfinished} Unfinished
 * @typedef {import('./resuming.js').StreamEvent} StreamEvent
 * @typedef {import('./resuming.js').Subscribe} Subscribe
 * @typedef {import('./resuming.js').ResumeOptions} ResumeOptions
 */

/**
 * graphql-transport-ws in a WebSocket of its own for each operation. A connection that says nothing is asked whether it is there: a phone that changes its network leaves sockets that look open for minutes.
 * @param {{ url: string, token: () => string | Promise<string>, webSocketImpl?: any, quietMs?: number, answerMs?: number }} options
 *   `url` of the graph, http(s) or ws(s). `token` is asked at each connection. After `quietMs` without a message a ping goes out, and something has to come within `answerMs`.
 * @returns {Subscribe}
 */
export function overWebSocket({ url, token, webSocketImpl = globalThis.WebSocket, quietMs = 10_000, answerMs = 5_000 }) {
  return (operation, sink) => {
    /** @type {any} */
    let socket = null;
    let over = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const send = (/** @type {object} */ message) => socket.send(JSON.stringify(message));
    /** @param {() => void} [tell] */
    const finish = (tell) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      if (socket) {
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
      }
      tell?.();
    };
    const lost = (/** @type {unknown} */ reason) => finish(() => sink.error(reason));
    /** @param {number} ms @param {() => void} then */
    const expect = (ms, then) => {
      clearTimeout(timer);
      timer = setTimeout(then, ms);
    };
    const silent = () => lost({ code: 4499, reason: 'no sign of life' });
    const ask = () => {
      send({ type: 'ping' });
      expect(answerMs, silent);
    };
    const open = async () => {
      const authorization = `Bearer ${await token()}`;
      if (over) return;
      socket = new webSocketImpl(url.replace(/^http/, 'ws'), 'graphql-transport-ws');
      expect(quietMs + answerMs, silent);
      socket.onopen = () => send({ type: 'connection_init', payload: { authorization } });
      socket.onmessage = (/** @type {{ data: string }} */ { data }) => {
        expect(quietMs, ask);
        const { type, payload } = JSON.parse(data);
        if (type === 'connection_ack') {
          send({ id: '1', type: 'subscribe', payload: operation });
          sink.connected?.();
        }
        if (type === 'ping') send({ type: 'pong' });
        else if (type === 'next') sink.next(payload);
        else if (type === 'error') lost(payload);
        else if (type === 'complete') finish(() => sink.complete());
      };
      socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => lost({ code, reason });
      // `close` follows, and says more.
      socket.onerror = () => {};
    };
    open().catch(lost);
    return () => finish();
  };
}

const REPLY = 'finishReason answer { id content complete } usage { promptTokens completionTokens totalTokens } cost { total currency } route { servedModel } replayed';
const REFUSAL = '... on Refusal { code message retryable retryAfterMs }';
export const CHAT_STREAM = `subscription ChatStream($input: ChatInput!) {
  chatStream(input: $input) {
    __typename
    ... on StreamEvent { fromSeq seq }
    ... on StreamStarted { streamId callId model conversation { id } }
    ... on TextDelta { text }
    ... on StreamProgress { completionTokens estimatedCost }
    ... on StreamCompleted { reply { ${REPLY} } }
    ... on StreamStopped { reason reply { ${REPLY} } }
    ... on StreamFailed { refusal { ${REFUSAL} } partial { ${REPLY} } }
    ... on StreamRefused { refusal { ${REFUSAL} } }
  }
}`;

/** Queries and mutations, by HTTP. Rejects with the GraphQL errors, or with what `fetch` says. @param {{ url: string, token: () => string | Promise<string>, query: string, variables?: object, deadlineMs?: number }} request */
export async function request({ url, token, query, variables, deadlineMs = 15_000 }) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${await token()}` };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query, variables }), signal: AbortSignal.timeout(deadlineMs) });
  const { data, errors } = await response.json();
  if (errors) throw errors;
  return data;
}

/**
 * What was stored of an answer whose events the server does not keep any more (10 minutes after its end, by default). null: it was asked outside of a conversation, or is gone.
 * @param {{ url: string, token: () => string | Promise<string>, callId?: string | null, conversationId?: string | null }} options
 * @returns {Promise<{ id: string, content: string | null, complete: boolean } | null>}
 */
export async function storedAnswer({ url, token, callId, conversationId }) {
  const query = 'query Stored($id: ID!, $after: String) { conversation(id: $id) { messages(first: 100, after: $after) { edges { node { id role content complete call { id } } } pageInfo { hasNextPage endCursor } } } }';
  for (let after = null; callId && conversationId; ) {
    const { conversation } = await request({ url, token, query, variables: { id: conversationId, after } });
    const { edges = [], pageInfo = null } = conversation?.messages ?? {};
    const found = edges.find((/** @type {any} */ { node }) => node.role === 'ASSISTANT' && node.call?.id === callId);
    if (found) return found.node;
    if (!pageInfo?.hasNextPage) return null;
    after = pageInfo.endCursor;
  }
  return null;
}

/**
 * @typedef {{ kind: 'event', event: StreamEvent } | { kind: 'stored', answer: { id: string, content: string | null, complete: boolean } | null } | { kind: 'failed', error: unknown } | { kind: 'left' }} Ended
 *   `event`: the terminal event. `stored`: the stream was not kept for so long; `answer` is what the conversation has of it. `failed`: a final error, or no connection for too long. `left`: by this page.
 */

/**
 * Asks a question, or goes on with one: `streamChat({ ...connection, input })`, `streamChat({ ...connection, ...unfinished() })`, on another device `streamChat({ ...connection, position: { streamId, callId, conversationId, seq: 0 } })`.
 * `input.onDisconnect` says what happens when nobody looks: GRACE (30 s more, the default), CONTINUE, CANCEL.
 * @param {ResumeOptions & Partial<Unfinished> & {
 *   url: string, token: () => string | Promise<string>, webSocketImpl?: any, quietMs?: number, answerMs?: number, deadlineMs?: number,
 *   onEvent?: (event: StreamEvent) => void, onText?: (text: string) => void, rememberAs?: string | null, storage?: Storage | null }} options
 *   `deadlineMs` is for one attempt of `stop`. `onText` gets all of the text so far. `rememberAs` is the name under which the tab remembers the stream; null: not.
 */
export function streamChat(options) {
  const { url, token, onEvent = () => {}, onText = () => {}, rememberAs = 'stream-chat' } = options;
  // Made once for each question: whatever is repeated, it is one call.
  const input = /** @type {Record<string, any>} */ ({ ...options.input, idempotencyKey: options.input?.idempotencyKey ?? newKey() });
  let text = options.text ?? '';
  let position = options.position ?? null;
  let over = false;
  let stopping = false;
  // What the server does, which is not over when this page has left.
  let running = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let saving;
  let started = () => {};
  const hasStarted = new Promise((/** @type {(value?: undefined) => void} */ resolve) => (started = resolve));
  if (position) started();

  const { read, put, forget } = memory(rememberAs, options.storage);
  const { messages, ...rest } = input;
  const isMine = () => [undefined, input.idempotencyKey].includes(read()?.input?.idempotencyKey);
  // Text and position are written together: what a reload finds fits, also when it is a moment old. The messages, with their images, are written once.
  const save = () => {
    clearTimeout(saving);
    saving = undefined;
    if (over || !isMine()) return;
    // No room for the text: after a reload it comes again from the beginning.
    if (!put({ input: rest, position, text })) put({ input: rest, position: position && { ...position, seq: 0 }, text: '' });
  };
  globalThis.addEventListener?.('pagehide', save);
  // Of another question.
  if (!isMine()) forget();
  save();
  if (messages) put({ idempotencyKey: input.idempotencyKey, messages }, ':messages');

  let resolveEnded = (/** @type {Ended} */ _) => {};
  const ended = new Promise((/** @type {(ended: Ended) => void} */ resolve) => (resolveEnded = resolve));
  /** @param {Ended} how */
  const end = (how, remember = how.kind === 'failed') => {
    if (over) return;
    over = true;
    clearTimeout(saving);
    globalThis.removeEventListener?.('pagehide', save);
    // Also of one that failed: "try again" goes on where it broke off.
    if (!remember && isMine()) forget();
    if (how.kind !== 'left' || !stopping) started();
    resolveEnded(how);
  };

  /** @type {StreamEvent | null} */
  let last = null;
  const subscribe = resuming(overWebSocket(options), { ...options, from: position, onPosition: (now) => (position = now) });
  const leave = subscribe({ query: CHAT_STREAM, variables: { input } }, {
    next({ data: { chatStream: event } }) {
      last = event;
      if (event.__typename === 'TextDelta') text += event.text;
      if (event.__typename === 'StreamStarted') {
        save();
        started();
      }
      if (over) return;
      saving ??= setTimeout(save, 250);
      onEvent(event);
      if (event.__typename === 'TextDelta') onText(text);
    },
    complete() {
      running = false;
      started();
      end({ kind: 'event', event: /** @type {StreamEvent} */ (last) });
    },
    error(error) {
      started();
      // Of a stream that was there: its time is over.
      if (!position || !graphqlErrors(error)?.some(({ extensions }) => extensions?.code === 'NOT_FOUND')) return end({ kind: 'failed', error });
      running = false;
      storedAnswer({ url, token, ...position }).then((answer) => end({ kind: 'stored', answer }), (failure) => end({ kind: 'failed', error: failure }));
    },
  });

  return {
    ended,
    input,
    get position() {
      return position;
    },
    get text() {
      return text;
    },
    /** Ends the call itself, and with it the bill. Repeated until the server has heard it, also when this page has left or given up; `ended` tells of the end. */
    async stop() {
      if (stopping) return;
      stopping = true;
      await hasStarted;
      for (let attempt = 0; running && position; attempt += 1) {
        try {
          return void (await request({ url, token, query: 'mutation Stop($streamId: ID!) { stopStream(streamId: $streamId) { stopped } }', variables: { streamId: position.streamId }, deadlineMs: options.deadlineMs }));
        } catch (error) {
          if (!retryOf(error).retry) {
            stopping = false;
            throw error;
          }
          await new Promise((resolve) => setTimeout(resolve, Math.min(5_000, 300 * 2 ** attempt)));
        }
      }
    },
    /** Nobody looks here any more; what that means for the call, `onDisconnect` has said. `remember`: `unfinished()` goes on with it. */
    leave({ remember = false } = {}) {
      if (remember) save();
      // What is to be stopped and has no name yet: that is waited for.
      if (stopping && !position) hasStarted.then(leave);
      else leave();
      end({ kind: 'left' }, remember);
    },
  };
}
