import { AppError } from '../../errors';
import type { Viewer } from '../../domain/principal';
import { PieceLog } from './piece-log';
import { piecesOf, readEntry } from './redis-entry';
import type { RedisKeys } from './redis-keys';
import type { RedisConnection } from './redis-link';
import { type StreamListener, type ViewedStream } from './stream.types';
import { KEPT_GAP, toldBehind } from './told-answer';
import { type StreamEvent, isTerminal, type TerminalEvent } from '../../domain/stream-events';

export interface RedisReaderDeps {
  connection: Pick<RedisConnection, 'send'>;
  keys: RedisKeys;
  streamId: string;
  /** Whose stream it is. */
  viewer: Viewer;
  /** The first viewer of this process has come, or the last one has gone. */
  onWatched(watched: boolean): void;
}

/** Entries that are asked for at once. */
const PAGE = 1_000;

/** Redis is away: nothing is known of the stream but that it is not over. */
export const logAway = (): AppError =>
  new AppError('SERVICE_UNAVAILABLE', {
    public:
      'The events of this stream cannot be reached right now: resume it later, behind the last event that arrived.',
    retryAfterMs: 2_000,
  });
/** For good. */
export const logBroken = (): AppError =>
  new AppError('NOT_FOUND', {
    public:
      'Pieces of this stream are lost: it cannot be resumed there. Its answer is told with its call and in its conversation when it has ended.',
    argument: 'streamId',
  });

/**
 * A stream of another process, as its log in Redis tells it: read once for all viewers of this process, and held as its
 * owner holds it.
 */
export class RedisReader implements ViewedStream {
  private readonly log = new PieceLog();
  private readonly viewers = new Set<StreamListener>();
  private end: TerminalEvent | null = null;
  private pulling: Promise<void> | null = null;
  private again = false;
  private failure: AppError | null = null;
  /** When something new was last read. performance.now() */
  newsAtMs = performance.now();
  /** Nobody of this process has looked since. performance.now() */
  idleSinceMs = performance.now();

  constructor(private readonly deps: RedisReaderDeps) {}

  get streamId(): string {
    return this.deps.streamId;
  }
  get viewer(): Viewer {
    return this.deps.viewer;
  }
  get lastSeq(): number {
    return this.end?.seq ?? this.log.lastSeq;
  }
  /** Its process may have shown more than is here, while it had no Redis. */
  get maxAfter(): number {
    return this.end ? this.lastSeq : this.lastSeq + KEPT_GAP;
  }
  get isWhole(): boolean {
    return this.end !== null;
  }
  get viewerCount(): number {
    return this.viewers.size;
  }

  join(viewer: StreamListener): void {
    if (this.failure) return viewer.fail(this.failure);
    this.viewers.add(viewer);
    if (this.viewers.size === 1) this.deps.onWatched(true);
  }

  leave(viewer: StreamListener): void {
    if (!this.viewers.delete(viewer) || this.viewers.size > 0) return;
    this.idleSinceMs = performance.now();
    this.deps.onWatched(false);
  }

  read(after: number): StreamEvent | null {
    if (after < this.log.lastSeq) return this.log.read(after);
    if (!this.end) return null;
    return after < this.end.seq ? { ...this.end, fromSeq: after + 1 } : toldBehind(this.end, after);
  }

  /** Reads what is new. Never rejects: viewers are told. */
  pull(): Promise<void> {
    if (this.end || this.failure) return Promise.resolve();
    this.again = true;
    this.pulling ??= this.pullAll()
      .catch((error: unknown) => this.fail(error instanceof AppError ? error : logAway()))
      .finally(() => (this.pulling = null));
    return this.pulling;
  }

  get hasFailed(): boolean {
    return this.failure !== null;
  }
  /** The pieces that were read, one by one. */
  pieces(): Iterable<StreamEvent> {
    return this.log.pieces(0, this.log.lastSeq);
  }

  /** Throws what reading has failed with. */
  assertReadable(): void {
    if (this.failure) throw this.failure;
  }

  /** The log cannot be read any further: every viewer is told. */
  fail(error: AppError): void {
    this.failure ??= error;
    for (const viewer of this.viewers) viewer.fail(error);
  }

  private async pullAll(): Promise<void> {
    while (this.again && !this.end) {
      this.again = false;
      const before = this.lastSeq;
      const page = (await this.deps.connection.send([
        'XRANGE',
        this.deps.keys.log(this.streamId),
        `${before + 1}-0`,
        '+',
        'COUNT',
        String(PAGE),
      ])) as unknown[];
      for (const raw of page) this.add(raw);
      if (page.length === PAGE) this.again = true;
      if (this.lastSeq === before) continue;
      this.newsAtMs = performance.now();
      for (const viewer of this.viewers) viewer.wake();
    }
  }

  private add(raw: unknown): void {
    const entry = readEntry(raw);
    const { event, fromSeq, seq } = entry;
    // A log that its owner has filled again may be cut into other entries.
    if (fromSeq > this.log.lastSeq + 1) throw logBroken();
    if (isTerminal(event)) {
      this.end = { ...event, fromSeq, seq } as TerminalEvent;
      this.log.compact();
    } else for (const piece of piecesOf(entry, this.log.lastSeq + 1)) this.log.append(piece);
  }
}
