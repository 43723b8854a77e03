import type { CallRecord, StopReason, Upstream } from './call';
import type { Conversation } from './conversation';
import { type CallOutcome, type ChatReply, lostOutcome } from './outcome';
import type { Refusal } from './refusal';

/** The reply of calls that can be streamed. */
export type StreamReply = ChatReply;

/** The stream goes on for a while, goes on to its end, or is stopped at once. */
export type DisconnectPolicy = 'GRACE' | 'CONTINUE' | 'CANCEL';

interface EventBase {
  fromSeq: number;
  seq: number;
}
/** What a viewer of a stream receives. `kind` names it, also in logs that are shared between replicas. */
export type StreamEvent =
  | (EventBase & {
      kind: 'StreamStarted';
      streamId: string;
      callId: string;
      model: string;
      conversation: Conversation | null;
    })
  | (EventBase & { kind: 'TextDelta'; text: string })
  | (EventBase & { kind: 'ReasoningDelta'; text: string })
  | (EventBase & {
      kind: 'ToolCallDelta';
      index: number;
      toolCallId: string | null;
      name: string | null;
      arguments: string;
    })
  /** Tokens and dollars (decimal text; null: no price) so far, estimated. */
  | (EventBase & { kind: 'StreamProgress'; completionTokens: number; estimatedCost: string | null })
  | (EventBase & { kind: 'StreamCompleted'; reply: ChatReply })
  | (EventBase & { kind: 'StreamStopped'; reason: StopReason; reply: ChatReply })
  | (EventBase & { kind: 'StreamFailed'; refusal: Refusal; partial: ChatReply | null })
  | (EventBase & { kind: 'StreamRefused'; refusal: Refusal });

export type DeltaEvent = Extract<StreamEvent, { kind: 'TextDelta' | 'ReasoningDelta' | 'ToolCallDelta' }>;
export type TerminalEvent = Extract<
  StreamEvent,
  { kind: 'StreamCompleted' | 'StreamStopped' | 'StreamFailed' | 'StreamRefused' }
>;
/** An event that has no number yet. */
export type Unnumbered<E> = E extends unknown ? Omit<E, 'fromSeq' | 'seq'> : never;
export type NewEvent = Unnumbered<StreamEvent>;

export const isTerminal = (event: Pick<StreamEvent, 'kind'>): boolean =>
  event.kind === 'StreamCompleted' ||
  event.kind === 'StreamStopped' ||
  event.kind === 'StreamFailed' ||
  event.kind === 'StreamRefused';

/** A stream that runs, here or in another process. */
export interface ActiveStream {
  streamId: string;
  call: CallRecord;
  startedAt: Date;
  /** Number of the last piece that is known of. */
  lastSeq: number;
  viewers: number;
}

/** What the viewers of a stream are told at its end. */
export function terminalEvent(outcome: CallOutcome): Unnumbered<TerminalEvent> {
  switch (outcome.status) {
    case 'COMPLETED':
      return { kind: 'StreamCompleted', reply: outcome.reply };
    case 'STOPPED':
      return { kind: 'StreamStopped', reason: outcome.reason, reply: outcome.reply };
    case 'FAILED':
      return { kind: 'StreamFailed', refusal: outcome.refusal, partial: outcome.partial };
  }
}

/** The end of a stream whose process died, or could not write its end down. */
export const interrupted = (callId: string, upstream: Upstream): Unnumbered<TerminalEvent> =>
  terminalEvent(lostOutcome(callId, upstream, true));
