import { WebSocket } from 'ws';
import { jsonRequest, RawConnection } from './raw-http';

/** How a reader behaves. GRACE and CANCEL are left in the middle by a socket that dies, for good. */
export type Ending = 'READ' | 'STOP' | 'RESUME' | 'CANCEL' | 'GRACE';
export interface SoakResult {
  ending: Ending;
  /** null: refused, or the connection ended before it began. */ streamId: string | null;
  /** Terminal event; null: it had left. */ terminal: string | null;
  /** Numbers that do not follow each other. */ gaps: number;
  /** How the last connection ended. */ closed: string;
}

interface Event {
  __typename: string;
  fromSeq: number;
  seq: number;
  streamId?: string;
}
interface Message {
  type: string;
  payload?: { data?: Record<string, Event>; errors?: unknown };
}

const FIELDS =
  '__typename ... on StreamEvent { fromSeq seq } ... on StreamStarted { streamId } ... on TextDelta { text } ... on StreamCompleted { reply { finishReason } } ... on StreamStopped { reason }';
const START = `subscription Soak($input: ChatInput!) { chatStream(input: $input) { ${FIELDS} } }`;
const RESUME = `subscription SoakResume($streamId: ID!, $afterSeq: Int!) { resumeStream(streamId: $streamId, afterSeq: $afterSeq) { ${FIELDS} } }`;
const STOP = 'mutation SoakStop($streamId: ID!) { stopStream(streamId: $streamId) { stopped } }';
const TERMINAL = new Set(['StreamCompleted', 'StreamStopped', 'StreamFailed', 'StreamRefused']);
/** A connection that hangs is a stream lost. Milliseconds. */
const DEADLINE_MS = 60_000;

/** One stream to its end, on a connection of its own; whoever resumes takes a second one. */
export async function soakStream(
  port: number,
  token: string,
  model: string,
  ending: Ending,
  leaveAtSeq: number,
): Promise<SoakResult> {
  const result: SoakResult = { ending, streamId: null, terminal: null, gaps: 0, closed: '' };
  let seq = 0;
  const connect = (query: string, variables: object, leave: boolean): Promise<void> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws', {
        perMessageDeflate: false,
      });
      const late = setTimeout(() => socket.terminate(), DEADLINE_MS);
      socket.on('open', () =>
        socket.send(JSON.stringify({ type: 'connection_init', payload: { Authorization: `Bearer ${token}` } })),
      );
      socket.on('message', (data: Buffer) => {
        const { type, payload } = JSON.parse(data.toString()) as Message;
        if (type === 'connection_ack')
          return socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query, variables } }));
        if (type === 'ping') return socket.send('{"type":"pong"}');
        if (type === 'error') result.closed = JSON.stringify(payload).slice(0, 300);
        if (type === 'complete' || type === 'error') return socket.close();
        const event = payload?.data && Object.values(payload.data)[0];
        if (!event) {
          result.closed = JSON.stringify(payload).slice(0, 300);
          return socket.close();
        }
        if (event.fromSeq !== seq + 1) result.gaps += 1;
        const before = seq;
        seq = event.seq;
        result.streamId = event.streamId ?? result.streamId;
        if (TERMINAL.has(event.__typename)) result.terminal = event.__typename;
        else if (leave && before < leaveAtSeq && seq >= leaveAtSeq) {
          if (ending === 'STOP') void stop(port, token, result.streamId!);
          else socket.terminate();
        }
      });
      socket.on('error', () => {});
      socket.on('close', (code, reason) => {
        clearTimeout(late);
        result.closed ||= `${code} ${String(reason)}`;
        resolve();
      });
    });
  const onDisconnect = ending === 'CANCEL' ? 'CANCEL' : 'GRACE';
  await connect(
    START,
    { input: { model, maxTokens: 1_000, messages: [{ role: 'USER', content: 'Hello' }], onDisconnect } },
    ending !== 'READ',
  );
  if (ending === 'RESUME' && result.streamId && !result.terminal)
    await connect(RESUME, { streamId: result.streamId, afterSeq: seq }, false);
  return result;
}

async function stop(port: number, token: string, streamId: string): Promise<void> {
  const connection = await RawConnection.open(port);
  // The answer is the terminal event's business; a stop that fails leaves a stream that completes.
  await connection.send(jsonRequest(port, '/graphql', { query: STOP, variables: { streamId } }, token)).catch(() => {});
  connection.close();
}
