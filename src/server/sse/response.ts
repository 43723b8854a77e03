import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ExecutionResult, GraphQLError, GraphQLFormattedError } from 'graphql';
import { AppError } from '../../errors';
import type { Viewer } from '../../domain/principal';
import { boundedResult } from '../graphql/response-limit';
import { Farewell } from '../door';
import { ResultStream } from '../graphql/subscription';

/** Bytes that are written at once: a client that takes a large answer slowly is seen to take it. */
const SLICE = 64 * 1024;

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // nginx would collect events before it passes them on.
  'x-accel-buffering': 'no',
} as const;
const COMMENT = ':\n\n';
const COMPLETE = 'event: complete\ndata:\n\n';

/**
 * One operation on its response. The next result is asked for when the last frame has left for the network, so that one
 * frame waits at most, and what a slow client has not taken is joined at the source. A closed response is a viewer that
 * has left.
 */
export class EventResponse {
  /** null: its credentials have ended. */
  viewer: Viewer | null;
  private stream: ResultStream | null = null;
  /** Why the operation is ended from this side. */
  private ending: AppError | null = null;
  private closed = false;
  /** Goes on behind a write that is not taken yet. */
  private onTaken: (() => void) | null = null;
  /** How often the client was looked for in vain since it took something. */
  private looks = 0;
  private readonly farewell = new Farewell({
    // It has one operation, and ends with it.
    isIdle: () => this.closed,
    terminate: (error) => {
      this.ending = error;
      this.stream?.terminate(error);
    },
  });

  constructor(
    private readonly raw: ServerResponse,
    viewer: Viewer,
    private readonly format: (errors: readonly unknown[]) => GraphQLFormattedError[],
  ) {
    this.viewer = viewer;
    raw.once('close', () => this.left());
    // A write to a client that has gone ends in `close`.
    raw.on('error', () => {});
  }

  /** Resolves when the response has ended, or its client has gone. `headers` are those that every response has. */
  async run(
    headers: OutgoingHttpHeaders,
    start: () => Promise<ResultStream | { errors: readonly GraphQLError[] }>,
  ): Promise<void> {
    this.raw.writeHead(200, { ...headers, ...HEADERS });
    // The client learns that it is connected before the model has said anything.
    await this.write(COMMENT);
    const started = this.ending ? { errors: [this.ending] } : await start();
    if (started instanceof ResultStream) await this.tell(started);
    else await this.next({ errors: started.errors as readonly GraphQLError[] });
    await this.write(COMPLETE);
    this.raw.end();
  }

  private async tell(stream: ResultStream): Promise<void> {
    this.stream = stream;
    if (this.closed) return void stream.return();
    if (this.ending) stream.terminate(this.ending);
    try {
      for await (const result of stream) await this.next(boundedResult(result));
    } catch (error) {
      await this.next({ errors: [error as GraphQLError] });
    }
  }

  private next({ errors, ...rest }: ExecutionResult): Promise<void> {
    return this.write(
      `event: next\ndata: ${JSON.stringify(errors ? { ...rest, errors: this.format(errors) } : rest)}\n\n`,
    );
  }

  private async write(text: string): Promise<void> {
    if (text.length <= SLICE) return this.writeSlice(text);
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += SLICE) await this.writeSlice(bytes.subarray(at, at + SLICE));
  }

  /** Resolves when it has left for the network, or the client has gone. */
  private writeSlice(slice: string | Buffer): Promise<void> {
    if (this.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const taken = (): void => {
        this.onTaken = null;
        this.looks = 0;
        resolve();
      };
      this.onTaken = taken;
      this.raw.write(slice, taken);
    });
  }

  /**
   * Called again and again: closes the client that has taken nothing for so many times, and speaks to one that takes
   * everything.
   */
  look(most: number): void {
    if (this.closed || this.raw.writableEnded) return;
    if (!this.onTaken && this.raw.writableLength === 0) return void this.raw.write(COMMENT, () => (this.looks = 0));
    this.looks += 1;
    if (this.looks > most) this.raw.destroy();
  }

  /**
   * The viewer may do nothing any more: what does not end by itself within `graceMs` ends with an error, and none of it
   * is waited for longer than a moment.
   */
  endAuthentication(reason: string, graceMs: number): void {
    this.viewer = null;
    const error = new AppError('UNAUTHENTICATED', { public: reason });
    this.farewell.begin({ error, graceMs, close: () => this.raw.destroy() });
  }

  /** The server ends. Without `complete`: clients try again elsewhere, as after the 1001 of a WebSocket. */
  goAway(): Promise<void> {
    if (this.closed) return Promise.resolve();
    const gone = new Promise<void>((resolve) => this.raw.once('close', resolve));
    this.farewell.begin({ error: null, graceMs: 0, close: () => this.raw.destroy() });
    return gone;
  }

  private left(): void {
    this.closed = true;
    this.farewell.cancel();
    this.onTaken?.();
    void this.stream?.return();
  }
}
