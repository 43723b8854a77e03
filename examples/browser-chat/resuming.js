// @ts-check
// What a chat stream needs to outlive its connections, around the `subscribe` of any client: copy this file, it needs nothing else.

/**
 * @typedef {{ query: string, variables?: Record<string, unknown> | null, operationName?: string | null }} Operation
 * @typedef {{ next(result: any): void, error(error: unknown): void, complete(): void, connected?(): void }} Sink
 * @typedef {(operation: Operation, sink: Sink) => () => void} Subscribe As in graphql-ws and graphql-sse: gives the function that leaves.
 * @typedef {{ __typename: string, fromSeq: number, seq: number, [field: string]: any }} StreamEvent
 * @typedef {{ streamId: string, callId?: string | null, conversationId?: string | null, seq: number }} Position What has arrived: resume behind `seq`.
 * @typedef {{ input: Record<string, any>, position: Position | null, text: string }} Unfinished What a page has to remember of a stream.
 * @typedef {{ state: 'connecting' | 'live' | 'waiting', retryInMs?: number, reason?: unknown }} Connection
 * @typedef {object} ResumeOptions
 * @property {number} [firstDelayMs] Before the first attempt to connect again, about; doubled for each further one. Default 300.
 * @property {number} [longestDelayMs] Default 10,000.
 * @property {number} [giveUpAfterMs] Without any event. Default 5 minutes: half of the time for which the server keeps what was streamed.
 * @property {(connection: Connection) => void} [onConnection] For a line on the page.
 */

const TERMINAL = new Set(['StreamCompleted', 'StreamStopped', 'StreamFailed', 'StreamRefused']);
/** Close codes after which the same attempt can succeed; of those from 4000 on all others are final (docs/errors.md). */
const RETRIED_CODES = new Set([1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 4408, 4499]);
const RETRIED_ERRORS = new Set(['SERVICE_UNAVAILABLE', 'RATE_LIMITED']);

/** The numbers of a stream do not follow each other, and asking again did not help. */
export class StreamGap extends Error {}

/** @param {StreamEvent} event */
export const isTerminal = (event) => TERMINAL.has(event.__typename);

/** Random, also on pages without TLS, where `crypto.randomUUID` is missing. */
export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** @param {unknown} reason @returns {any[] | null} */
export const graphqlErrors = (reason) => (Array.isArray(reason) && reason.length > 0 && typeof reason[0]?.message === 'string' ? reason : null);

/** Whether the same attempt can succeed later, and when at the earliest. @param {any} reason */
export function retryOf(reason) {
  const errors = graphqlErrors(reason);
  if (errors) return { retry: errors.every(({ extensions }) => RETRIED_ERRORS.has(extensions?.code)), afterMs: Math.max(0, ...errors.map(({ extensions }) => extensions?.retryAfterMs ?? 0)) };
  if (reason instanceof StreamGap) return { retry: false, afterMs: 0 };
  // A closed WebSocket. (The numbers of a DOMException are below.)
  if (reason?.code >= 1_000) return { retry: RETRIED_CODES.has(reason.code), afterMs: 0 };
  // A refused HTTP request (graphql-sse).
  const status = reason?.response?.status;
  if (typeof status === 'number') return { retry: status >= 500 || status === 408 || status === 429, afterMs: 1_000 * (Number(reason.response.headers?.get?.('retry-after')) || 0) };
  // The network.
  return { retry: true, afterMs: 0 };
}

/**
 * `subscribe` of a client without retries of its own, such that a chatStream survives its connections: it is resumed exactly behind the last event.
 * Before anything has come it is repeated with its idempotency key (one is made where it is missing): the same call, billed once. A resumeStream of the application
 * goes on likewise. Where that cannot be (no variables), nothing is asked and the sink gets an error. Other subscriptions are simply asked again.
 * @param {Subscribe} subscribe
 * @param {ResumeOptions & { from?: Position | null, onPosition?: (position: Position) => void }} [options]
 * @returns {Subscribe}
 */
export function resuming(subscribe, options = {}) {
  const { firstDelayMs = 300, longestDelayMs = 10_000, giveUpAfterMs = 300_000, onConnection = () => {}, onPosition = () => {} } = options;
  return (asked, sink) => {
    let over = false;
    /** @type {ReturnType<typeof chatStreamOf>} */
    let chat;
    try {
      chat = chatStreamOf(asked);
    } catch (error) {
      // Later, as all that is told: libraries do not expect an answer before they have the function that leaves.
      Promise.resolve().then(() => over || sink.error(error));
      return () => void (over = true);
    }
    const position = { streamId: '', callId: null, conversationId: null, seq: 0, ...(chat?.from ?? options.from) };
    let attempts = 0;
    let lostAt = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let leaveConnection = () => {};

    const connect = () => {
      clearTimeout(timer);
      timer = undefined;
      let current = true;
      let first = true;
      let live = false;
      onConnection({ state: 'connecting' });
      /** @param {unknown} reason */
      const lost = (reason) => {
        if (!current) return;
        current = false;
        leaveConnection();
        if (over) return;
        const { retry, afterMs } = retryOf(reason);
        lostAt ||= Date.now();
        if (!retry || Date.now() - lostAt > giveUpAfterMs) return end(() => sink.error(reason));
        // Half of it by chance: clients that a deploy has cut off do not come back as one.
        const delay = Math.min(longestDelayMs, firstDelayMs * 2 ** attempts) * (0.5 + Math.random() / 2);
        attempts += 1;
        const retryInMs = Math.max(afterMs, delay);
        timer = setTimeout(connect, retryInMs);
        onConnection({ state: 'waiting', retryInMs, reason });
      };
      const sinkOfConnection = {
        // Told by those who know before the first event: a model may think for long.
        connected() {
          if (current && !live) onConnection({ state: 'live' });
          live = true;
        },
        /** @param {any} result */
        next(result) {
          if (!current) return;
          if (result.errors?.length) return chat ? lost(result.errors) : sink.next(result);
          if (!chat) {
            attempts = lostAt = 0;
            return sink.next(result);
          }
          /** @type {StreamEvent} */
          const event = result.data[chat.name];
          if (typeof event.seq !== 'number') return end(() => sink.error(new Error('Select `__typename ... on StreamEvent { fromSeq seq } ... on StreamStarted { streamId }` in chatStream.')));
          // A frame is missing: it comes with the next connection. If that one begins with a gap, it is gone.
          if (event.fromSeq !== position.seq + 1) return lost(first ? new StreamGap(`piece ${position.seq + 1} is missing; ${event.fromSeq} came`) : { code: 4499, reason: 'a piece is missing' });
          sinkOfConnection.connected();
          first = false;
          attempts = lostAt = 0;
          position.seq = event.seq;
          if (event.__typename === 'StreamStarted') Object.assign(position, { streamId: event.streamId, callId: event.callId ?? null, conversationId: event.conversation?.id ?? null });
          const last = isTerminal(event);
          if (last) current = false;
          onPosition({ ...position });
          sink.next(result);
          if (last) end(() => sink.complete());
        },
        error: lost,
        // Without a terminal event that is no end.
        complete: () => (chat ? lost({ code: 1000, reason: 'ended early' }) : end(() => sink.complete())),
      };
      const leave = subscribe(chat && position.streamId ? chat.resume(position) : chat ? chat.operation : asked, sinkOfConnection);
      leaveConnection = leave;
      if (!current) leave();
    };
    /** @param {() => void} tell */
    const end = (tell) => {
      if (over) return;
      leaveAll();
      tell();
    };
    const leaveAll = () => {
      over = true;
      clearTimeout(timer);
      globalThis.removeEventListener?.('online', hurry);
      leaveConnection();
    };
    // The browser says that the network is back: no need to wait any longer.
    const hurry = () => void (timer !== undefined && !over && connect());
    globalThis.addEventListener?.('online', hurry);
    connect();
    return leaveAll;
  };
}

/** What a tab keeps under a name. Its storage may be missing, blocked or full: nothing here throws. @param {string | null} name @param {Storage | null} [storage] */
export function memory(name, storage) {
  /** @template T @param {(storage: Storage) => T} work */
  const attempt = (work) => {
    try {
      const place = storage === undefined ? globalThis.sessionStorage : storage;
      return place && name !== null ? work(place) : null;
    } catch {
      return null;
    }
  };
  return {
    read: (part = '') => attempt((place) => JSON.parse(place.getItem(name + part) ?? 'null')),
    /** @param {object} value */
    put: (value, part = '') => attempt((place) => (place.setItem(name + part, JSON.stringify(value)), true)),
    forget: () => void ['', ':messages'].forEach((part) => attempt((place) => place.removeItem(name + part))),
  };
}

/** The stream that this tab was reading when it was reloaded, or null. Without `input.messages` where there was no room for them. @param {string} [name] @param {Storage | null} [storage] @returns {Unfinished | null} */
export function unfinished(name = 'stream-chat', storage) {
  const { read } = memory(name, storage);
  const [kept, asked] = [read(), read(':messages')];
  if (kept?.input && asked && asked.idempotencyKey === kept.input.idempotencyKey) kept.input.messages = asked.messages;
  // Neither known to the server nor to be asked again.
  return kept?.input && (kept.position || kept.input.messages) ? kept : null;
}

/** A document without what is in its comments and strings, with all else at its place. @param {string} query */
const bare = (query) => query.replace(/"""(?:\\"""|[^])*?"""|"(?:\\.|[^"\\\n])*"|#.*/g, (text) => ' '.repeat(text.length));

/**
 * The operation as it is asked first, and what asks for its rest: the same selection under the same name, so that caches and types of the application fit. null: another subscription.
 * Throws where it could not be asked for the rest, or only by paying for it once more.
 * @param {Operation} operation
 */
function chatStreamOf(operation) {
  const text = bare(operation.query);
  const found = [...text.matchAll(/(?:(\w+)\s*:\s*)?\b(chatStream|resumeStream)\s*\(([^)]*)\)/g)].find(({ index }) => !/\bsubscription\s+$/.test(text.slice(0, index)));
  if (!found) return null;
  const [all, alias, field = '', list = ''] = found;
  const name = alias ?? field;
  const args = Object.fromEntries([...list.matchAll(/(\w+)\s*:\s*\$(\w+)/g)].map(([, argument, variable]) => [argument, variable ?? '']));
  const wanted = field === 'chatStream' ? ['input'] : ['streamId', 'afterSeq'];
  const fits = wanted.every((argument) => args[argument]) && !list.replace(/\w+\s*:\s*\$\w+/g, '').replace(/[\s,]/g, '') && Object.keys(args).length === wanted.length;
  if (!fits) throw new Error(`To outlive its connection it has to be written ${field}(${wanted.map((argument) => `${argument}: $${argument}`).join(', ')}), with variables.`);
  const variables = /** @type {Record<string, any>} */ (operation.variables ?? {});
  const { input = '', streamId = '', afterSeq = '' } = args;
  if (!variables[input || streamId]) throw new Error(`The variable $${input || streamId} of ${field} is missing.`);
  if (streamId) {
    const from = { streamId: String(variables[streamId]), seq: Number(variables[afterSeq] ?? 0) };
    return { name, from, operation, resume: (/** @type {Position} */ now) => ({ ...operation, variables: { ...variables, [streamId]: now.streamId, [afterSeq]: now.seq } }) };
  }
  const declared = new RegExp(`\\$${input}\\s*:\\s*ChatInput\\s*!(?!\\s*=)`).exec(text);
  if (!declared) throw new Error(`Declare $${input}: ChatInput! without a default: resumeStream takes its place.`);
  const { [input]: value, ...others } = variables;
  // From the back: the places before stay where they are.
  const query = [{ put: `${name}: resumeStream(streamId: $streamId, afterSeq: $afterSeq)`, from: found.index, length: all.length }, { put: '$streamId: ID!, $afterSeq: Int!', from: declared.index, length: declared[0].length }]
    .sort((a, b) => b.from - a.from)
    .reduce((query, { put, from, length }) => query.slice(0, from) + put + query.slice(from + length), operation.query);
  return {
    name,
    from: null,
    operation: { ...operation, variables: { ...others, [input]: { ...value, idempotencyKey: value.idempotencyKey ?? newKey() } } },
    resume: (/** @type {Position} */ { streamId, seq }) => ({ ...operation, query, variables: { ...others, streamId, afterSeq: seq } }),
  };
}
