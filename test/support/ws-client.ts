import { createClient, type Client } from 'graphql-ws';
import { WebSocket } from 'ws';
import { waitFor } from './wait';

export interface StreamEvent {
  __typename: string;
  fromSeq: number;
  seq: number;
  [field: string]: any;
}

export interface Subscription<E> {
  /** Everything that arrived, in order. */
  events: E[];
  /** GraphQL errors of the operation, or why the connection ended. */
  errors: unknown[];
  /** Resolves when the server said complete, or the operation failed; never rejects. */
  ended: Promise<void>;
  readonly over: boolean;
  /**
   * The first event, also of those that were there before, that the predicate holds for. Fails at the deadline, or when
   * the operation ended without it.
   */
  waitFor(predicate: (event: E) => boolean, deadlineMs?: number): Promise<E>;
  /** Sends `complete`, as a client does that wants no more. */
  unsubscribe(): void;
}

export interface TestWsClient {
  subscribe<E = StreamEvent>(query: string, variables?: Record<string, unknown>): Subscription<E>;
  /** The chat stream with all that tests look at, events by their type name. */
  chatStream(input: Record<string, unknown>): Subscription<StreamEvent>;
  /** The rest of a stream behind number `afterSeq`. */
  resumeStream(streamId: string, afterSeq?: number): Subscription<StreamEvent>;
  /** The connection is gone without a goodbye. */
  cut(): void;
  /** Reads nothing any more, without closing. */
  pause(): void;
  resume(): void;
  /** Close code and reason, when the connection has ended. */
  closed: Promise<{ code: number; reason: string }>;
  close(): Promise<void>;
}

const REPLY_FIELDS = `
  call { id status errorCode servedModel streamed usage { source promptTokens completionTokens } }
  answer { id role content reasoning complete toolCalls { toolCallId name arguments } }
  finishReason latencyMs omittedMessages
  usage { promptTokens uncachedPromptTokens cacheReadTokens cacheWriteTokens completionTokens reasoningTokens totalTokens source }
  cost { total input output currency }
  route { model servedModel upstream provider attempts }
  conversation { id }`;

export const CHAT_STREAM = `subscription ChatStream($input: ChatInput!) {
  chatStream(input: $input) {
    __typename
    ... on StreamEvent { fromSeq seq }
    ... on StreamStarted { streamId callId model conversation { id } }
    ... on TextDelta { text }
    ... on ReasoningDelta { reasoning: text }
    ... on ToolCallDelta { index toolCallId name arguments }
    ... on StreamCompleted { reply { ...R } }
    ... on StreamStopped { reason reply { ...R } }
    ... on StreamFailed { refusal { __typename ... on Refusal { code message retryable retryAfterMs } } partial { ...R } }
    ... on StreamRefused { refusal { __typename ... on Refusal { code message retryable retryAfterMs } } }
  }
}
fragment R on ChatReply { ${REPLY_FIELDS} }`;

/** The rest of a stream, with the same fields. */
export const RESUME_STREAM = CHAT_STREAM.replace(
  'ChatStream($input: ChatInput!)',
  'ResumeStream($streamId: ID!, $afterSeq: Int!)',
).replace('chatStream(input: $input)', 'resumeStream(streamId: $streamId, afterSeq: $afterSeq)');

export const CHAT = `mutation Chat($input: ChatInput!) {
  chat(input: $input) {
    __typename
    ... on ChatReply { ...R }
    ... on Refusal { code message retryable retryAfterMs }
  }
}
fragment R on ChatReply { ${REPLY_FIELDS} }`;

/** A graphql-transport-ws client as applications use it, without its retries: what a test sees is what happened. */
export function connectWs(url: string, token: string | null): TestWsClient {
  let socket: WebSocket | undefined;
  let onClosed!: (value: { code: number; reason: string }) => void;
  const closed = new Promise<{ code: number; reason: string }>((resolve) => (onClosed = resolve));
  const observe = (opened: WebSocket): WebSocket =>
    opened.on('close', (code, reason) => onClosed({ code, reason: reason.toString() }));
  class ObservedSocket extends WebSocket {
    constructor(address: string | URL, protocols?: string | string[]) {
      super(address, protocols);
      socket = observe(this);
    }
  }
  const client: Client = createClient({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl: ObservedSocket,
    connectionParams: token ? { Authorization: `Bearer ${token}`, authorization: `Bearer ${token}` } : {},
    retryAttempts: 0,
    // Connected for the life of the client, not of its operations.
    lazy: false,
    onNonLazyError: () => {},
  });
  const subscribe = <E>(query: string, variables: Record<string, unknown> = {}): Subscription<E> => {
    const events: E[] = [];
    const errors: unknown[] = [];
    let over = false;
    let onEnded!: () => void;
    const ended = new Promise<void>((resolve) => (onEnded = resolve));
    const finish = (): void => {
      over = true;
      onEnded();
    };
    const unsubscribe = client.subscribe<Record<string, E>>(
      { query, variables },
      {
        next: (result) => {
          if (result.errors) errors.push(...result.errors);
          if (result.data) events.push(Object.values(result.data)[0] as E);
        },
        error: (error) => {
          errors.push(...(Array.isArray(error) ? error : [error]));
          finish();
        },
        complete: finish,
      },
    );
    return {
      events,
      errors,
      ended,
      get over() {
        return over;
      },
      waitFor: async (predicate, deadlineMs) => {
        const what = `an event that ${predicate.toString()}`;
        await waitFor(() => over || events.some(predicate), { deadlineMs, what });
        const found = events.find(predicate);
        if (found === undefined)
          throw new Error(
            `the operation ended without ${what}; events: ${JSON.stringify(events).slice(0, 2_000)}; errors: ${errors.map(textOfError).join('; ')}`,
          );
        return found;
      },
      unsubscribe,
    };
  };
  return {
    subscribe,
    chatStream: (input) => subscribe<StreamEvent>(CHAT_STREAM, { input }),
    resumeStream: (streamId, afterSeq = 0) => subscribe<StreamEvent>(RESUME_STREAM, { streamId, afterSeq }),
    cut: () => socket?.terminate(),
    pause: () => socket?.pause(),
    resume: () => socket?.resume(),
    closed,
    close: async () => {
      await client.dispose();
      if (socket && socket.readyState !== WebSocket.CLOSED) await closed;
    },
  };
}

/** A GraphQL error, an exception, or the close event of the socket. */
const textOfError = (error: unknown): string => {
  const { message, code, reason } = error as { message?: string; code?: number; reason?: string };
  return message || `closed: ${code} ${reason}`;
};

/** The text that the deltas of a stream carry. */
export const textOf = (events: StreamEvent[]): string =>
  events
    .filter((event) => event.__typename === 'TextDelta')
    .map((event) => event.text)
    .join('');

const TERMINAL = new Set(['StreamCompleted', 'StreamStopped', 'StreamFailed', 'StreamRefused']);
export const isTerminal = (event: StreamEvent): boolean => TERMINAL.has(event.__typename);
