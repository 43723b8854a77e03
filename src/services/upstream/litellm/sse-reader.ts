import type { Readable } from 'node:stream';
import { createParser, type EventSourceParser } from 'eventsource-parser';
import { StreamChunks } from './stream-chunks';
import { Turns } from './turns';
import type { UpstreamSink } from '../upstream';
import { UpstreamError } from '../errors';

/**
 * Bytes that are parsed before the clock is looked at: the smallest events that there are take a third of a millisecond
 * then.
 */
const SLICE_BYTES = 4 * 1024;
/** Bytes that wait to be parsed before the upstream is told to stop sending, and those at which it may go on. */
const PAUSE_AT_BYTES = 64 * 1024;
const RESUME_AT_BYTES = 16 * 1024;
/** A connection that stays open behind `[DONE]` is not waited for longer. Milliseconds. */
const CLOSE_AFTER_MS = 5_000;

export interface SseReaderOptions {
  kind: 'LITELLM' | 'DIRECT';
  /** Of one event. In characters, which are not more than its bytes. */
  maxEventBytes: number;
  sink: UpstreamSink;
  /** Nothing is given to the sink any more after it aborts. */
  signal: AbortSignal;
  /** Bytes have come. */
  onBytes(): void;
  /** We do not read for a while: silence is not the upstream's fault. */
  onPause(): void;
  turns?: Turns;
}

/**
 * Reads a streamed answer (server-sent events, `data: [DONE]` at the end) and gives it to the sink piece by piece, in
 * the moment in which its bytes come; of a burst as much as is one turn's due, and the rest turn by turn. A stream that
 * ends before the provider said why it finished, or without `[DONE]` after an error object, was interrupted.
 */
export class SseReader {
  private readonly decoder = new TextDecoder('utf-8');
  private readonly parser: EventSourceParser;
  private readonly chunks: StreamChunks;
  private readonly turns: Turns;
  private readonly queue: Buffer[] = [];
  private queuedBytes = 0;
  /** Bytes of the first of the queue that are parsed. */
  private at = 0;
  /** The last text ended with a CR, which has ended its line: an LF that follows belongs to it. */
  private behindCr = false;
  private waiting = false;
  /** Whoever keeps the pieces has not caught up. */
  private isPaused = false;
  private settled = false;
  /** How it ends, once everything that came is parsed. */
  private ending: (() => void) | null = null;
  private body!: Readable;
  private resolve!: () => void;
  private reject!: (error: unknown) => void;

  constructor(private readonly options: SseReaderOptions) {
    this.chunks = new StreamChunks(options.kind, options.sink, options.signal);
    this.turns = options.turns ?? new Turns();
    this.parser = createParser({
      maxBufferSize: options.maxEventBytes,
      onEvent: (event) => this.chunks.event(event.data),
      // Unknown fields and odd waits for reconnection are to be ignored, as the standard has it.
      onError: (error) => {
        if (error.type === 'max-buffer-size-exceeded')
          this.chunks.fail(new UpstreamError('INTERRUPTED', `an event larger than ${options.maxEventBytes} bytes`));
      },
    });
  }

  read(body: Readable): Promise<void> {
    this.body = body;
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      body.on('data', (chunk: Buffer) => {
        if (this.settled) return;
        if (!this.isPaused) this.options.onBytes();
        this.queue.push(chunk);
        this.queuedBytes += chunk.length;
        if (!this.waiting) this.work();
        if (this.queuedBytes > PAUSE_AT_BYTES && !this.settled) body.pause();
      });
      const cut = (error: unknown): void => {
        if (this.options.signal.aborted) this.settle(error);
        // With the provider's finish in hand the answer is whole, and only its usage may be missing.
        else this.endWith(() => this.settle(this.chunks.failure ?? (this.chunks.isWhole ? null : error)));
      };
      body.on('error', cut);
      body.on('end', () =>
        this.endWith(() => {
          // The end of the stream ends the last event too, with or without its empty line.
          this.feed(this.decoder.decode());
          this.feed('\n\n');
          this.ending = () =>
            this.settle(
              this.chunks.failure ??
                (this.chunks.isWhole
                  ? null
                  : new UpstreamError('INTERRUPTED', 'the stream ended before the answer did', { retryable: true })),
            );
          this.work();
        }),
      );
      // A socket that is cut ends neither: undici then closes without `end`.
      body.on('close', () =>
        cut(
          new UpstreamError('INTERRUPTED', 'the connection was closed in the middle of the answer', {
            retryable: true,
          }),
        ),
      );
    });
  }

  /** Parses what came, as much as fits the turn. */
  private work(): void {
    const { turns, chunks, options } = this;
    if (!turns.begin()) return this.later();
    while (this.parse()) {
      if (options.signal.aborted) return this.settle(options.signal.reason);
      if (chunks.failure) return this.settle(chunks.failure);
      if (chunks.done) return this.settle(null);
      const behind = options.sink.behind?.();
      if (behind) {
        turns.end();
        return this.pauseFor(behind);
      }
      if (this.hasMore && turns.isOver) {
        turns.end();
        return this.later();
      }
    }
    turns.end();
    this.ending?.();
  }

  private get hasMore(): boolean {
    return this.queue.length > 0 || this.chunks.hasMore;
  }

  /** A little of what came. false: that was all. */
  private parse(): boolean {
    if (this.chunks.hasMore) {
      this.guarded(() => this.chunks.step());
      return true;
    }
    const first = this.queue[0];
    if (!first) return false;
    const slice = this.at === 0 && first.length <= SLICE_BYTES ? first : first.subarray(this.at, this.at + SLICE_BYTES);
    this.at += slice.length;
    this.queuedBytes -= slice.length;
    if (this.at >= first.length) {
      this.queue.shift();
      this.at = 0;
    }
    this.feed(this.decoder.decode(slice, { stream: true }));
    return true;
  }

  private later(): void {
    this.waiting = true;
    setImmediate(() => this.goOn());
  }

  private goOn(): void {
    this.waiting = false;
    this.turns.another();
    if (this.settled) return;
    this.work();
    if (!this.waiting && !this.settled && this.queuedBytes <= RESUME_AT_BYTES && this.body.isPaused())
      this.body.resume();
  }

  /** Whoever keeps the pieces is slower than the upstream. */
  private pauseFor(behind: Promise<void>): void {
    const { signal } = this.options;
    // An upstream that has said everything would not tell of an abort any more.
    const onAbort = (): void => this.settle(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.waiting = true;
    this.isPaused = true;
    this.body.pause();
    this.options.onPause();
    void behind.then(() => {
      signal.removeEventListener('abort', onAbort);
      this.isPaused = false;
      if (this.settled) return;
      this.options.onBytes();
      this.goOn();
    });
  }

  private feed(text: string): void {
    let given = this.behindCr && text.startsWith('\n') ? text.slice(1) : text;
    if (text !== '') this.behindCr = text.endsWith('\r');
    // A CR ends its line: the parser would wait for the next text, to see whether an LF follows.
    if (this.behindCr) given += '\n';
    this.guarded(() => this.parser.feed(given));
  }

  /** An exception in a socket's handler would end the process, and with it everybody's streams. */
  private guarded(work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.chunks.fail(
        new UpstreamError('INTERRUPTED', 'an event of the stream is not what the protocol says', {
          retryable: true,
          cause,
        }),
      );
    }
  }

  private endWith(ending: () => void): void {
    this.ending ??= ending;
    if (!this.waiting && !this.hasMore) this.ending();
  }

  private settle(error: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.queue.length = 0;
    if (error) {
      this.reject(error);
      this.body.destroy();
      return;
    }
    this.resolve();
    // Read to its end the connection serves the next call.
    this.body.resume();
    const timer = setTimeout(() => this.body.destroy(), CLOSE_AFTER_MS).unref();
    if (this.body.closed) clearTimeout(timer);
    else this.body.once('close', () => clearTimeout(timer));
  }
}
