import type { Conversation } from '../conversation/conversation.types';
import { isFree, type Upstream } from '../usage/usage.types';
import type { HeldCall } from './4-hold';
import type { CallOutcome } from './call-run';
import type { CallEnd } from './call.types';
import type { ChatReply, Refusal, StopReason } from './chat.types';

/** The outcome as plain JSON: what is kept beside an idempotency key. `readOutcome` gives it back. */
export const storeOutcome = (outcome: CallOutcome): unknown => JSON.parse(JSON.stringify(outcome));

/** The outcome as it was told the first time, marked as replayed. Refusals of a call that ran have no dates. */
export function readOutcome(stored: unknown): CallOutcome {
  const outcome = stored as CallOutcome;
  return outcome.status === 'FAILED' ? { ...outcome, partial: outcome.partial && readReply(outcome.partial) } : { ...outcome, reply: readReply(outcome.reply) };
}

const readReply = (reply: ChatReply): ChatReply => ({
  ...reply,
  call: { ...reply.call, occurredAt: new Date(reply.call.occurredAt) },
  answer: { ...reply.answer, createdAt: new Date(reply.answer.createdAt) },
  conversation: reply.conversation && readConversation(reply.conversation),
  replayed: true,
});
const readConversation = (conversation: Conversation): Conversation => ({ ...conversation, createdAt: new Date(conversation.createdAt), updatedAt: new Date(conversation.updatedAt) });

/**
 * What a repetition is told when the process that ran the call died. Not retryable: the provider may have been paid, and whoever asks
 * again pays again. That is for the caller to decide, with a new key.
 */
export const lostOutcome = (callId: string, upstream: Upstream, streamed = false): CallOutcome => ({
  status: 'FAILED',
  refusal: {
    kind: 'UpstreamFailed',
    code: streamed ? 'STREAM_INTERRUPTED' : 'UPSTREAM_FAILED',
    message: 'The server that ran this call died before its end, and the call may have been paid for. To ask again, and pay again, use a new idempotency key.',
    retryable: false,
    retryAfterMs: null,
    upstream,
    attempts: 1,
    callId,
  },
  partial: null,
});

/** Whether it is one of those: nothing is stored of what came. */
export const isLost = (stored: unknown): boolean => {
  const outcome = stored as CallOutcome;
  return outcome.status === 'FAILED' && outcome.refusal.code === 'STREAM_INTERRUPTED' && outcome.partial === null;
};

/**
 * Whether the end is kept for repetitions. What cost money, or may have, is. Where a call was refused or stopped before anything was spent, the
 * key is free again: a repetition is a new try. LOST is kept always: that nothing was spent is then the knowledge of the moment, and may be corrected.
 */
export const keepOutcome = ({ status, usageSource }: Pick<CallEnd, 'usageSource' | 'status'>): boolean =>
  !isFree(usageSource) || (status !== 'FAILED' && status !== 'STOPPED');

/** How a call ended, from what its settlement knows. `partial` is null when nothing came. */
export function outcomeOf(reply: ChatReply, refusal: Refusal | null, stopReason: StopReason | null): CallOutcome {
  if (refusal) return { status: 'FAILED', refusal, partial: isEmpty(reply) ? null : reply };
  return reply.call.status === 'STOPPED' ? { status: 'STOPPED', reply, reason: stopReason ?? 'CLIENT' } : { status: 'COMPLETED', reply };
}
const isEmpty = ({ answer }: ChatReply): boolean => !answer.content && !answer.reasoning && answer.toolCalls.length === 0;

/** `CallEnd.idempotency.stored` of a call that ended in the process that ran it; null where the call has no key, or frees it. */
export const storedFor = (call: Pick<HeldCall, 'input'>, row: Pick<CallEnd, 'usageSource' | 'status'>, reply: ChatReply, refusal: Refusal | null, stopReason: StopReason | null): unknown =>
  call.input.idempotencyKey != null && keepOutcome(row) ? storeOutcome(outcomeOf(reply, refusal, stopReason)) : null;
