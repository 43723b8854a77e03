import type { ChatEvent, DisconnectPolicy, StopReason } from '../chat/chat.types';
import type { Viewer } from '../viewer/viewer.types';

export type DeltaEvent = Extract<ChatEvent, { kind: 'TextDelta' | 'ReasoningDelta' | 'ToolCallDelta' }>;
export type TerminalEvent = Extract<ChatEvent, { kind: 'StreamCompleted' | 'StreamStopped' | 'StreamFailed' | 'StreamRefused' }>;
/** An event that has no number yet. */
export type Unnumbered<E> = E extends unknown ? Omit<E, 'fromSeq' | 'seq'> : never;
export type NewEvent = Unnumbered<ChatEvent>;

export const isTerminal = (event: Pick<ChatEvent, 'kind'>): boolean =>
  event.kind === 'StreamCompleted' || event.kind === 'StreamStopped' || event.kind === 'StreamFailed' || event.kind === 'StreamRefused';

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
  join(viewer: StreamListener): void;
  /** Harmless when repeated. */
  leave(viewer: StreamListener): void;
  /** The next event behind number `after`, neighbouring pieces joined; null: none now. */
  read(after: number): ChatEvent | null;
}

/** One who looks at a stream. It reads when it is woken, at its own pace: nothing waits for it but its place in the log. */
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
  /** Appends events that follow each other. One at a time. Never rejects. */
  append(events: readonly ChatEvent[]): Promise<Appended>;
  /** The stream has ended here and its last event was appended, or never will be. */
  close(): void;
}

/** Where the events of streams are kept so that every replica can show them, and so that they outlive their process. */
export interface SharedLog {
  writer(owner: Pick<StreamOwner, 'streamId' | 'callId' | 'viewer'>, /** Events from a number on that are still in this process. */ kept: (after: number) => readonly ChatEvent[]): SharedLogWriter;
  /** null: it has nothing of this stream. Throws SERVICE_UNAVAILABLE while it cannot be reached. */
  open(streamId: string): Promise<ViewedStream | null>;
  /** How many look at a stream of this process from elsewhere; null: cannot be told now. */
  viewersElsewhere(streamId: string): Promise<number | null>;
  /** Calls back when somebody elsewhere has left a stream of this process. */
  onLeft(listener: (streamId: string) => void): void;
}
