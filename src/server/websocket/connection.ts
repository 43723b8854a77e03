import type { Duplex } from 'node:stream';
import type { WebSocket as ProtocolSocket } from 'graphql-ws';
import { WebSocket } from 'ws';
import { AppError } from '../../errors';
import type { Viewer } from '../../domain/principal';
import { Farewell } from '../door';
import { ResultStream } from '../graphql/subscription';

/**
 * Close codes. Clients of graphql-ws do not come back after 4401 and 4429, but retry 4403 up to five times and send
 * their (paid) subscriptions again.
 * After 1001 and 1013 they do come back, and shall.
 */
export const CLOSE = {
  unauthenticated: 4401,
  tooMany: 4429,
  badRequest: 4400,
  internal: 4500,
  goingAway: 1001,
  tooLarge: 1009,
  tryAgain: 1013,
} as const;

/** How long a closed socket has to be gone. Milliseconds. */
const GONE_MS = 1_000;
/** Bytes of a close frame's reason. */
const MAX_REASON = 120;
/** So many pings without a word from the client, or without anything of ours taken by it, and it is cut off. */
export const SILENT_PINGS = 5;
/**
 * Bytes that wait to be sent: beyond the first nothing more is read from the client, beyond the second it is cut off.
 * The second is more than two of the largest answers.
 */
const PAUSE_AT = 1024 * 1024;
const CUT_AT = 40 * 1024 * 1024;
/** What a client may send before its `connection_init` is accepted: that and a ping or two. */
const STRANGER_BYTES = 64 * 1024;
const STRANGER_MESSAGES = 10;

/** One socket, its viewer and its running operations. */
export class Connection {
  viewer: Viewer | null = null;
  private readonly operations = new Map<string, ResultStream>();
  /** Pings since the client was last heard. */
  private silence = 0;
  /** Frames that wait for the client to take them, and pings since it took one. */
  private untaken = 0;
  private stalled = 0;
  private requests = 0;
  private readonly farewell = new Farewell({
    isIdle: () => this.operations.size === 0,
    terminate: (error) => {
      for (const operation of this.operations.values()) operation.terminate(error);
    },
  });
  /** Frees its place among those of its token. */
  leave: () => void = () => {};
  private onAdmitted: (() => void) | null = null;
  /** Messages that came while nobody was known. */
  private early = 0;

  constructor(
    private readonly socket: WebSocket,
    /** Of the upgrade. */
    readonly requestId: string,
    readonly traceparentId: string | null,
  ) {
    // Not left to `ws`, which answers however much waits already.
    socket.on('ping', (data) => {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.pong(data, false, this.onSent);
      this.regulate();
    });
  }

  /**
   * Whatever arrives is a sign of life. Until the viewer is known also its size is looked at: `ws` would collect a
   * message of the full size first.
   */
  watchArrivals(network: Duplex): void {
    network.on('data', () => (this.silence = 0));
    let bytes = 0;
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > STRANGER_BYTES) this.refuseStranger();
    };
    network.on('data', count);
    this.onAdmitted = () => network.off('data', count);
  }

  /** The viewer is known: the usual limits hold from now on. */
  admitted(): void {
    this.onAdmitted?.();
    this.onAdmitted = null;
  }

  private refuseStranger(): void {
    this.admitted();
    this.close(CLOSE.tooLarge, 'too much before connection_ack');
    this.socket.pause();
    setTimeout(() => this.socket.terminate(), GONE_MS).unref();
  }

  private send(data: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.readyState !== WebSocket.OPEN) return resolve();
      // A failed send ends in the socket's `close`, where everything is cleaned up.
      this.untaken += 1;
      this.socket.send(data, () => {
        this.untaken -= 1;
        this.stalled = 0;
        this.onSent();
        resolve();
      });
      this.regulate();
    });
  }

  /** Who does not read what we say is not read either: else each message of theirs would add to what waits. */
  private regulate(): void {
    const { socket } = this;
    if (socket.bufferedAmount > CUT_AT) socket.terminate();
    else if (socket.bufferedAmount > PAUSE_AT) socket.pause();
  }

  private readonly onSent = (): void => {
    if (this.socket.isPaused && this.socket.readyState === WebSocket.OPEN && this.socket.bufferedAmount <= PAUSE_AT)
      this.socket.resume();
  };

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
    this.farewell.ended();
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason.slice(0, MAX_REASON));
  }

  /**
   * The viewer may do nothing any more: each operation that does not end by itself within `graceMs` ends with an error,
   * then the socket with a code that clients do not retry.
   */
  endAuthentication(reason: string, graceMs: number): void {
    this.viewer = null;
    const error = new AppError('UNAUTHENTICATED', { public: reason });
    this.farewell.begin({ error, graceMs, close: () => this.close(CLOSE.unauthenticated, reason) });
  }

  /** The socket is gone. */
  left(): void {
    this.leave();
    this.farewell.cancel();
  }

  goAway(): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.readyState === WebSocket.CLOSED) return resolve();
      const timer = setTimeout(() => this.socket.terminate(), GONE_MS);
      this.socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      this.farewell.begin({ error: null, graceMs: 0, close: () => this.close(CLOSE.goingAway, 'Going away') });
    });
  }

  /**
   * Asks the client for a sign of life. TCP brings one through a tunnel, so a single ping without an answer means
   * nothing; who has gone is a viewer no longer. Who speaks and takes nothing of ours has gone as well.
   */
  ping(): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.silence >= SILENT_PINGS || this.stalled >= SILENT_PINGS) return this.socket.terminate();
    this.silence += 1;
    this.stalled = this.untaken > 0 ? this.stalled + 1 : 0;
    this.socket.ping();
  }

  /**
   * What the protocol sees of the socket. `send` resolves when the frame has left for the network, and graphql-ws asks
   * an operation for its next result only then: one frame per operation waits at most, and what a slow client has not
   * taken is joined at the source.
   */
  adapter(isSane: (text: string) => boolean, onFault: (error: unknown) => void): ProtocolSocket {
    const { socket } = this;
    return {
      protocol: socket.protocol,
      send: (data) => this.send(data),
      // Without the payload of the ping: nobody needs its echo, and it may be as large as any message.
      onPing: () => this.send('{"type":"pong"}'),
      close: (code, reason) => socket.close(code, reason?.slice(0, MAX_REASON)),
      onMessage: (handle) =>
        socket.on('message', (data, isBinary) => {
          // Messages that come after our close frame are of nobody.
          if (socket.readyState !== WebSocket.OPEN) return;
          if (this.onAdmitted && (this.early += 1) > STRANGER_MESSAGES) return this.refuseStranger();
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
