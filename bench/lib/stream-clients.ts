import net from 'node:net';
import { WebSocket } from 'ws';

export interface StreamResult {
  /** From the moment at which the stream was asked for to its first token. */
  firstTokenMs: number;
  /** How old each token was when it arrived: one in sixteen is kept. */
  agesMs: number[];
  received: number;
  reordered: number;
  completed: boolean;
}
export interface StreamRun {
  result: Promise<StreamResult>;
  /** As soon as it has begun. */ readonly streamId: string | null;
}

const nowMicros = (): number => Number(process.hrtime.bigint()) / 1_000;

/** Counts the tokens of one stream: each says its number and when it was sent. Text may be cut anywhere. */
class TokenReader {
  readonly result: StreamResult = { firstTokenMs: Number.NaN, agesMs: [], received: 0, reordered: 0, completed: false };
  private readonly askedAt = nowMicros();
  private rest = '';

  push(text: string): void {
    const now = nowMicros();
    if (this.result.received === 0 && this.rest === '') this.result.firstTokenMs = (now - this.askedAt) / 1_000;
    const tokens = (this.rest + text).split(' ');
    this.rest = tokens.pop()!;
    for (const token of tokens) {
      const colon = token.indexOf(':');
      const number = Number(token.slice(0, colon));
      if (number !== this.result.received) this.result.reordered += 1;
      if ((number & 15) === 0) this.result.agesMs.push((now - Number(token.slice(colon + 1))) / 1_000);
      this.result.received += 1;
    }
  }
}

/** The upstream's protocol over a bare socket, as cheap as it gets. */
export function directStream(port: number, model: string): StreamRun {
  return {
    streamId: null,
    result: new Promise((resolve, reject) => {
      const body = JSON.stringify({
        model,
        stream: true,
        stream_options: { include_usage: true },
        messages: [{ role: 'user', content: 'Hello' }],
      });
      const socket = net.connect(port, '127.0.0.1');
      let reader = new TokenReader();
      let rest = '';
      socket.setNoDelay(true).setEncoding('latin1');
      socket.once('connect', () => {
        reader = new TokenReader();
        socket.write(
          `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
      });
      socket.on('data', (chunk) => {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          if (!line.startsWith('data: ')) continue;
          if (line.startsWith('data: [DONE]')) reader.result.completed = true;
          const at = line.indexOf('"content":"');
          if (at >= 0) reader.push(line.slice(at + 11, line.indexOf('"', at + 11)));
        }
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(reader.result));
    }),
  };
}

const SUBSCRIPTION = `subscription Stream($input: ChatInput!) { chatStream(input: $input) { __typename ... on StreamEvent { fromSeq seq } ... on StreamStarted { streamId } ... on TextDelta { text }
  ... on StreamCompleted { reply { finishReason usage { completionTokens } } } ... on StreamFailed { refusal { ... on Refusal { code message } } } ... on StreamRefused { refusal { ... on Refusal { code message } } } } }`;

/** Our tokens are numbers, which a vocabulary counts tenfold: with less, the longest would be cut as runaways. */
const MAX_TOKENS = 100_000;

/**
 * A connection of its own, as every reader has. The clock starts when the stream is asked for, the connection being
 * open, as for the baseline.
 */
export function weirStream(port: number, token: string, model: string, { label = 'Hello' } = {}): StreamRun {
  let streamId: string | null = null;
  return {
    get streamId() {
      return streamId;
    },
    result: new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws', {
        perMessageDeflate: false,
      });
      let reader: TokenReader | null = null;
      let lastSeq = 0;
      socket.on('open', () =>
        socket.send(JSON.stringify({ type: 'connection_init', payload: { Authorization: `Bearer ${token}` } })),
      );
      socket.on('message', (data: Buffer) => {
        const message = JSON.parse(data.toString()) as {
          type: string;
          payload?: {
            data?: {
              chatStream: { __typename: string; fromSeq: number; seq: number; text?: string; streamId?: string };
            };
            errors?: unknown;
          };
        };
        if (message.type === 'connection_ack') {
          reader = new TokenReader();
          socket.send(
            JSON.stringify({
              id: '1',
              type: 'subscribe',
              payload: {
                query: SUBSCRIPTION,
                variables: { input: { model, maxTokens: MAX_TOKENS, messages: [{ role: 'USER', content: label }] } },
              },
            }),
          );
        } else if (message.type === 'next' && message.payload?.data) {
          const event = message.payload.data.chatStream;
          if (event.fromSeq !== lastSeq + 1) reader!.result.reordered += 1;
          lastSeq = event.seq;
          if (event.__typename === 'TextDelta') reader!.push(event.text!);
          else if (event.__typename === 'StreamCompleted') reader!.result.completed = true;
          else if (event.__typename === 'StreamStarted') streamId = event.streamId!;
          else if (event.__typename !== 'StreamStopped') reject(new Error(JSON.stringify(event)));
        } else if (message.type === 'complete') {
          socket.close();
        } else if (message.type === 'ping') {
          socket.send('{"type":"pong"}');
        } else {
          reject(new Error(data.toString()));
        }
      });
      socket.on('error', reject);
      socket.on('close', (code, reason) =>
        reader
          ? resolve(reader.result)
          : reject(new Error(`closed before the stream began: ${code} ${String(reason)}`)),
      );
    }),
  };
}

const RESUMPTION = SUBSCRIPTION.replace(
  'subscription Stream($input: ChatInput!) { chatStream(input: $input)',
  'subscription Resume($streamId: ID!) { resumeStream(streamId: $streamId, afterSeq: 0)',
);

/**
 * Milliseconds from asking for a whole stream again, the connection being open, to its last event. Fails when it is not
 * all there.
 */
export function resumeOnce(port: number, token: string, streamId: string, tokens: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws', {
      perMessageDeflate: false,
    });
    let askedAt = 0;
    let lastSeq = 0;
    socket.on('open', () =>
      socket.send(JSON.stringify({ type: 'connection_init', payload: { Authorization: `Bearer ${token}` } })),
    );
    socket.on('message', (data: Buffer) => {
      const { type, payload } = JSON.parse(data.toString()) as {
        type: string;
        payload?: { data?: { resumeStream: { fromSeq: number; seq: number } } };
      };
      if (type === 'connection_ack') {
        askedAt = performance.now();
        socket.send(
          JSON.stringify({ id: '1', type: 'subscribe', payload: { query: RESUMPTION, variables: { streamId } } }),
        );
      } else if (type === 'next' && payload?.data) {
        const { fromSeq, seq } = payload.data.resumeStream;
        if (fromSeq !== lastSeq + 1) reject(new Error(`${fromSeq} behind ${lastSeq}`));
        lastSeq = seq;
        if (seq >= tokens + 2) resolve(performance.now() - askedAt);
      } else if (type === 'complete') socket.close();
      else if (type !== 'ping') reject(new Error(data.toString()));
    });
    socket.on('error', reject);
    socket.on('close', (code) => reject(new Error(`closed behind ${lastSeq}: ${code}`)));
  });
}
