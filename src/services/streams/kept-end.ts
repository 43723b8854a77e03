import { ID_PREFIXES } from '../../lib/ids';
import type { Conversation, Message, ToolCall } from '../../domain/conversation';
import {
  lostOutcome,
  reviveOutcome,
  reviveChatReply,
  type ChatReply,
  type FinishReason,
  type CallOutcome,
} from '../../domain/outcome';
import type { KeptEnd } from './kept.store';
import type { StreamEvent } from '../../domain/stream-events';
import type { Refusal } from '../../domain/refusal';
import { isFree, type CallRecord, type StopReason } from '../../domain/call';

/** Text of an answer, as far as it is known. */
export interface AnswerText {
  content: string;
  reasoning: string;
  toolCalls: ToolCall[];
}

/** What the pieces of a stream make together. */
export function textOf(pieces: Iterable<StreamEvent>): AnswerText {
  const text = { content: '', reasoning: '', toolCalls: [] as ToolCall[] };
  for (const piece of pieces) {
    if (piece.kind === 'TextDelta') text.content += piece.text;
    else if (piece.kind === 'ReasoningDelta') text.reasoning += piece.text;
    else if (piece.kind === 'ToolCallDelta') {
      const call = (text.toolCalls[piece.index] ??= { toolCallId: '', name: '', arguments: '' });
      call.toolCallId ||= piece.toolCallId ?? '';
      call.name ||= piece.name ?? '';
      call.arguments += piece.arguments;
    }
  }
  return { ...text, toolCalls: text.toolCalls.filter(Boolean) };
}
export const isEmpty = ({ content, reasoning, toolCalls }: AnswerText): boolean =>
  !content && !reasoning && toolCalls.length === 0;

/** `toolCallId` and `name` are null where the beginning has them. */
export interface RestOfAnswer {
  content: string;
  reasoning: string;
  toolCalls: { index: number; toolCallId: string | null; name: string | null; arguments: string }[];
}

/** What is behind the beginning of an answer; null: it is not the beginning of this one. */
export function restOf(whole: AnswerText, beginning: AnswerText): RestOfAnswer | null {
  if (
    !whole.content.startsWith(beginning.content) ||
    !whole.reasoning.startsWith(beginning.reasoning) ||
    whole.toolCalls.length < beginning.toolCalls.length
  )
    return null;
  const toolCalls: RestOfAnswer['toolCalls'] = [];
  for (const [index, call] of whole.toolCalls.entries()) {
    const begun = beginning.toolCalls[index];
    if (!begun) toolCalls.push({ index, ...call });
    else if (!call.arguments.startsWith(begun.arguments)) return null;
    else if (call.arguments !== begun.arguments)
      toolCalls.push({ index, toolCallId: null, name: null, arguments: call.arguments.slice(begun.arguments.length) });
  }
  return {
    content: whole.content.slice(beginning.content.length),
    reasoning: whole.reasoning.slice(beginning.reasoning.length),
    toolCalls,
  };
}

/**
 * How a call of another process ended, and its answer as far as it is stored: null where it is stored nowhere, and may
 * have been more than was kept.
 */
export interface KnownEnd {
  outcome: CallOutcome;
  answer: AnswerText | null;
  /** Its process died: what was kept is all. */ isLost?: boolean;
}

export interface EndedCall {
  call: CallRecord;
  end: KeptEnd;
  conversation: Conversation | null;
  /** What was kept of it. */
  kept: AnswerText;
  /** As it was asked for in the database, while it ran. */
  stopReason: StopReason | null;
}

export function knownEnd({ call, end, conversation, kept, stopReason }: EndedCall): KnownEnd {
  // Of an old one nothing is kept but what its conversation has.
  if (call.status === 'LOST')
    return lostEnd(call, isEmpty(kept) && end.answer ? textOfMessage(end.answer) : kept, end, conversation);
  if (end.stored) {
    const outcome = unmarked(reviveOutcome(end.stored, reviveChatReply));
    const reply = outcome.status === 'FAILED' ? outcome.partial : outcome.reply;
    return { outcome, answer: reply ? textOfMessage(reply.answer) : NOTHING };
  }
  const isNothing = call.timeToFirstTokenMs === null;
  const answer = end.answer ? textOfMessage(end.answer) : isNothing ? NOTHING : null;
  const reply = replyOf(call, end, answer ?? kept, conversation);
  if (call.status === 'COMPLETED') return { outcome: { status: 'COMPLETED', reply }, answer };
  // Where nobody has asked for it in the database, and no key has it: the process that ran it saw its viewers go.
  if (call.status === 'STOPPED')
    return { outcome: { status: 'STOPPED', reply, reason: stopReason ?? 'DISCONNECT' }, answer };
  return {
    outcome: { status: 'FAILED', refusal: failed(call, end), partial: isEmpty(answer ?? kept) ? null : reply },
    answer,
  };
}

/** What viewers are told of a stream whose process died: what was kept is all that there is. */
export function lostEnd(
  call: CallRecord,
  kept: AnswerText,
  end: KeptEnd | null,
  conversation: Conversation | null,
): KnownEnd {
  const outcome = lostOutcome(call.id, call.upstream, true);
  return {
    outcome:
      outcome.status === 'FAILED' && !isEmpty(kept)
        ? { ...outcome, partial: replyOf(call, end, kept, conversation) }
        : outcome,
    answer: kept,
    isLost: true,
  };
}

const NOTHING: AnswerText = { content: '', reasoning: '', toolCalls: [] };
export const textOfMessage = ({
  content,
  reasoning,
  toolCalls,
}: Pick<Message, 'content' | 'reasoning' | 'toolCalls'>): AnswerText => ({
  content: content ?? '',
  reasoning: reasoning ?? '',
  toolCalls,
});

/** Who resumes has not repeated anything. */
function unmarked(outcome: CallOutcome): CallOutcome {
  const unmark = (reply: ChatReply): ChatReply => ({ ...reply, replayed: false });
  return outcome.status === 'FAILED'
    ? { ...outcome, partial: outcome.partial && unmark(outcome.partial) }
    : { ...outcome, reply: unmark(outcome.reply) };
}

function failed(call: CallRecord, end: KeptEnd): Refusal {
  // Its key, if it had one, is free.
  if (isFree(call.usageSource))
    return {
      kind: 'UpstreamFailed',
      code: 'UPSTREAM_FAILED',
      message: 'The call ended before anything was spent: repeat the request.',
      retryable: true,
      retryAfterMs: 1_000,
      upstream: call.upstream,
      attempts: end.attempts,
      callId: call.id,
    };
  const code =
    call.errorCode === 'UPSTREAM_TIMEOUT' || call.errorCode === 'STREAM_INTERRUPTED'
      ? call.errorCode
      : 'UPSTREAM_FAILED';
  return {
    kind: 'UpstreamFailed',
    code,
    message: 'The upstream failed before the end of the answer.',
    retryable: false,
    retryAfterMs: null,
    upstream: call.upstream,
    attempts: end.attempts,
    callId: call.id,
  };
}

function replyOf(
  call: CallRecord,
  end: KeptEnd | null,
  text: AnswerText,
  conversation: Conversation | null,
): ChatReply {
  const answer: Message = {
    // Outside a conversation it is stored nowhere: the same whenever it is told.
    id: end?.answer?.id ?? ID_PREFIXES.message + call.id.slice(ID_PREFIXES.call.length),
    conversationId: end?.answer?.conversationId ?? call.conversationId,
    role: 'ASSISTANT',
    content: text.content || null,
    reasoning: text.reasoning || null,
    parts: [],
    toolCalls: text.toolCalls,
    toolCallId: null,
    name: null,
    createdAt: end?.answer?.createdAt ?? call.occurredAt,
    complete: call.status === 'COMPLETED',
    superseded: end?.answer?.superseded ?? false,
    callId: call.id,
  };
  return {
    kind: 'ChatReply',
    call,
    answer,
    finishReason: (end?.finishReason as FinishReason | undefined) ?? 'OTHER',
    usage: { ...call.tokens, source: call.usageSource },
    cost: call.cost,
    route: {
      model: call.model,
      servedModel: call.servedModel,
      upstream: call.upstream,
      provider: call.provider,
      deployment: call.deployment,
      attempts: end?.attempts ?? 1,
    },
    conversation,
    latencyMs: call.latencyMs ?? 0,
    omittedMessages: end?.omittedMessages ?? 0,
    replayed: false,
  };
}
