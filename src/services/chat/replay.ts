import type { TerminalEvent, Unnumbered } from '../streams/stream.types';
import type { Upstream } from '../usage/usage.types';
import type { CallOutcome } from './call-run';
import type { ChatReply } from './chat.types';
import { lostOutcome } from './stored-outcome';

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
export const interrupted = (callId: string, upstream: Upstream): Unnumbered<TerminalEvent> => terminalEvent(lostOutcome(callId, upstream, true));

/** What came of an answer; null: nothing did. */
export const replyOf = (outcome: CallOutcome): ChatReply | null => (outcome.status === 'FAILED' ? outcome.partial : outcome.reply);
