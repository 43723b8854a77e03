import type { LiveStream } from './6-stream';
import type { CallOutcome } from './call-run';
import type { ChatReply } from './chat.types';

/** What the viewers of a stream are told at its end. */
export function terminalEvent(outcome: CallOutcome): Parameters<LiveStream['end']>[0] {
  switch (outcome.status) {
    case 'COMPLETED':
      return { kind: 'StreamCompleted', reply: outcome.reply };
    case 'STOPPED':
      return { kind: 'StreamStopped', reason: outcome.reason, reply: outcome.reply };
    case 'FAILED':
      return { kind: 'StreamFailed', refusal: outcome.refusal, partial: outcome.partial };
  }
}

/** What came of an answer; null: nothing did. */
export const replyOf = (outcome: CallOutcome): ChatReply | null => (outcome.status === 'FAILED' ? outcome.partial : outcome.reply);

/** A stored answer as a stream that has been started: everything at once, in the order in which models speak. */
export function replayAnswer(stream: LiveStream, outcome: CallOutcome): void {
  const answer = replyOf(outcome)?.answer;
  if (answer?.reasoning) stream.piece({ kind: 'ReasoningDelta', text: answer.reasoning });
  if (answer?.content) stream.piece({ kind: 'TextDelta', text: answer.content });
  answer?.toolCalls.forEach(({ toolCallId, name, arguments: text }, index) => stream.piece({ kind: 'ToolCallDelta', index, toolCallId, name, arguments: text }));
  stream.end(terminalEvent(outcome));
}
