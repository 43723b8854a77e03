import type { WebSocket as ProtocolSocket } from 'graphql-ws';
import { WebSocket } from 'ws';
import { AppError } from '../errors';
import type { Viewer } from '../services/viewer/viewer.types';
import { ResultStream } from './subscription';

/**
 * Close codes. Clients of graphql-ws do not come back after 4401 and 4429, but retry 4403 up to five times and send their (paid) subscriptions again.
 * After 1001 and 1013 they do come back, and shall.
 */
export const CLOSE = { unauthenticated: 4401, tooMany: 4429, badRequest: 4400, internal: 4500, goingAway: 1001, tryAgain: 1013 } as const;

/** How long an ended operation has to tell its client before the socket is closed, and a closed socket to be gone. Milliseconds. */
const FAREWELL_MS = 500;
const GONE_MS = 1_000;
/** Bytes of a close frame's reason. */
const MAX_REASON = 120;

/** One socket, its viewer and its running operations. */
export class Connection {
  viewer: Viewer | null = null;
  private readonly operations = new Map<string, ResultStream>();
  private answersPings = true;
  private requests = 0;
  private onIdle: (() => void) | null = null;

  constructor(
    private readonly socket: WebSocket,
    /** Of the upgrade. */
    readonly requestId: string,
    readonly traceparentId: string | null,
  ) {
    socket.on('pong', () => (this.answersPings = true));
  }

  /** Operations of one socket are told apart by their number. */
  nextRequestId(): string {
    this.requests += 1;
    return `${this.requestId}.${this.requests}`.slice(-128);
  }

  began(id: string, result: unknown): void {
    if (!(result instanceof ResultStream)) return;
    // The credentials have ended while it began.
    if (!this.viewer) result.terminate(new AppError('UNAUTHENTICATED'));
    this.operations.set(id, result);
  }

  ended(id: string): void {
    this.operations.delete(id);
    if (this.operations.size === 0) this.onIdle?.();
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason.slice(0, MAX_REASON));
  }

  /** The viewer may do nothing any more: each operation ends with an error, then the socket with a code that clients do not retry. */
  endAuthentication(reason: string): void {
    this.viewer = null;
    const close = (): void => this.close(CLOSE.unauthenticated, reason);
    if (this.operations.size === 0) return close();
    const timer = setTimeout(close, FAREWELL_MS);
    this.onIdle = () => {
      clearTimeout(timer);
      // The last error frame is sent in this turn.
      setImmediate(close);
    };
    for (const operation of this.operations.values()) operation.terminate(new AppError('UNAUTHENTICATED', { public: reason }));
  }

  goAway(): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.readyState === WebSocket.CLOSED) return resolve();
      const timer = setTimeout(() => this.socket.terminate(), GONE_MS);
      this.socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      this.close(CLOSE.goingAway, 'Going away');
    });
  }

  /** Also ends clients that keep the socket and read nothing: the ping waits behind what they have not read. */
  ping(): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (!this.answersPings) return this.socket.terminate();
    this.answersPings = false;
    this.socket.ping();
  }

  /**
   * What the protocol sees of the socket. `send` resolves when the frame has left for the network, and graphql-ws asks an operation for its next result
   * only then: one frame per operation waits at most, and what a slow client has not taken is joined at the source.
   */
  adapter(isSane: (text: string) => boolean, onFault: (error: unknown) => void): ProtocolSocket {
    const { socket } = this;
    return {
      protocol: socket.protocol,
      send: (data) =>
        new Promise((resolve) => {
          if (socket.readyState !== WebSocket.OPEN) return resolve();
          // A failed send ends in the socket's `close`, where everything is cleaned up.
          socket.send(data, () => resolve());
        }),
      close: (code, reason) => socket.close(code, reason?.slice(0, MAX_REASON)),
      onMessage: (handle) =>
        socket.on('message', (data, isBinary) => {
          // Messages that come after our close frame are of nobody.
          if (socket.readyState !== WebSocket.OPEN) return;
          const text = String(data);
          if (isBinary || !isSane(text)) return socket.close(CLOSE.badRequest, 'Invalid message received');
          handle(text).catch((error: unknown) => {
            onFault(error);
            socket.close(CLOSE.internal, 'Internal server error');
          });
        }),
    };
  }
}
