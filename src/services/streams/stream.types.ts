import type { Viewer } from '../../domain/principal';
import type { PieceLog } from './piece-log';
import type { StreamEvent, DisconnectPolicy, TerminalEvent } from '../../domain/stream-events';
import type { StopReason } from '../../domain/call';

/** Whose stream it is, and how it is stopped. */
export interface StreamOwner {
  streamId: string;
  callId: string;
  viewer: Pick<Viewer, 'userId' | 'organizationId'>;
  policy: DisconnectPolicy;
  stop(reason: StopReason): void;
}

/** What a viewer attaches to: a stream of this process, of another one, or what is kept of one. */
export interface ViewedStream {
  /** Number of the last event that can be read now. */
  readonly lastSeq: number;
  /** The last event that can be read is the terminal one. */
  readonly isWhole: boolean;
  /** The highest number that a viewer may have, where that is more than `lastSeq`. */
  readonly maxAfter?: number;
  join(viewer: StreamListener): void;
  /** Harmless when repeated. */
  leave(viewer: StreamListener): void;
  /** The next event behind number `after`, neighbouring pieces joined; null: none now. */
  read(after: number): StreamEvent | null;
}

/**
 * One who looks at a stream. It reads when it is woken, at its own pace: nothing waits for it but its place in the log.
 */
export interface StreamListener {
  /** Number of the last piece that it has. */
  readonly after: number;
  wake(): void;
  /** The log cannot be read any further: the operation ends with this error. */
  fail(error: unknown): void;
}

/** What a log beyond this process says to an append. */
export type Appended =
  /** Kept: may be shown. */
  | 'KEPT'
  /** The log cannot be reached: may be shown to viewers of this process, and is appended later. */
  | 'AWAY'
  /** Others have ended this stream: nothing more of it may be shown. */
  | 'CLOSED';

/** The log of one stream that this process runs, kept beyond it. */
export interface SharedLogWriter {
  /** Appends what the stream has up to a number, with all that is missing before it. Never rejects. */
  append(until: number): Promise<Appended>;
  /** After CLOSED: the terminal event that others have appended; null: it cannot be read. */
  theirEnd(): Promise<TerminalEvent | null>;
  /** The stream's events are not kept in this process any more: what could not be appended by now never will be. */
  release(): void;
}

/** What a log is written from. */
export interface RunningStream {
  readonly log: PieceLog;
  readonly viewerCount: number;
  readonly ended: boolean;
}

/** Where the events of streams are kept so that every replica can show them, and so that they outlive their process. */
export interface SharedLog {
  writer(owner: Pick<StreamOwner, 'streamId'>, stream: () => RunningStream): SharedLogWriter;
  /**
   * For the one who began it. null: it has nothing of this stream. Throws SERVICE_UNAVAILABLE while it cannot be
   * reached.
   */
  open(streamId: string, viewer: Viewer): Promise<ViewedStream | null>;
  /** How many look at a stream of this process from elsewhere; null: cannot be told now. */
  viewersElsewhere(streamId: string): Promise<number | null>;
  /** Calls back when somebody elsewhere has left a stream of this process. */
  onLeft(listener: (streamId: string) => void): void;
  /** Last number and viewers of streams of any process, as far as their logs tell; null: they cannot be reached. */
  seen(streamIds: readonly string[]): Promise<ReadonlyMap<string, { lastSeq: number; viewers: number }> | null>;
  /** Resolves when what was shown is kept, where that is possible now. */
  flush(): Promise<void>;
}
