import { type CallRecord, type StopReason, type Settlement, type Upstream, type UsageSource, isFree } from './call';
import type { Conversation, Message } from './conversation';
import type { CostParts, TokenBuckets } from './money';
import { type Refusal, reviveRefusal } from './refusal';

export type FinishReason = 'STOP' | 'LENGTH' | 'TOOL_CALLS' | 'CONTENT_FILTER' | 'STOPPED' | 'BUDGET' | 'OTHER';
export interface TokenUsage extends TokenBuckets {
  source: UsageSource;
}
export interface Route {
  model: string;
  servedModel: string;
  upstream: Upstream;
  provider: string | null;
  deployment: string | null;
  attempts: number;
}

/** What every reply says, whatever was asked for. */
export interface ReplyBase {
  call: CallRecord;
  usage: TokenUsage;
  /** null: no price is known. */
  cost: (CostParts & { reportedByProxy: string | null }) | null;
  route: Route;
  latencyMs: number;
  /** An answer that an idempotency key brought back. */
  replayed: boolean;
}

export interface ChatReply extends ReplyBase {
  kind: 'ChatReply';
  answer: Message;
  finishReason: FinishReason;
  conversation: Conversation | null;
  omittedMessages: number;
}

/** How a call ended, as its caller is told. */
export type CallOutcome<R extends ReplyBase = ChatReply> =
  | { status: 'COMPLETED'; reply: R }
  | { status: 'STOPPED'; reply: R; reason: StopReason }
  /** `partial` is null when nothing came. */
  | { status: 'FAILED'; refusal: Refusal; partial: R | null };

/** The outcome as plain JSON: what is kept beside an idempotency key. `reviveOutcome` gives it back. */
export const storeOutcome = (outcome: CallOutcome<ReplyBase>): unknown => JSON.parse(JSON.stringify(outcome));

/**
 * The outcome as it was told the first time, marked as replayed. `revive`: gives a reply of this kind its dates back.
 */
export function reviveOutcome<R extends ReplyBase>(stored: unknown, revive: (reply: R) => R): CallOutcome<R> {
  const outcome = stored as CallOutcome<R>;
  const replayed = (reply: R): R => ({ ...revive(reply), replayed: true });
  if (outcome.status === 'FAILED')
    return {
      ...outcome,
      refusal: reviveRefusal(outcome.refusal),
      partial: outcome.partial && replayed(outcome.partial),
    };
  return { ...outcome, reply: replayed(outcome.reply) };
}

/** Dates are text in JSON. */
export const reviveCall = (call: CallRecord): CallRecord => ({ ...call, occurredAt: new Date(call.occurredAt) });

export const reviveConversation = (conversation: Conversation): Conversation => ({
  ...conversation,
  createdAt: new Date(conversation.createdAt),
  updatedAt: new Date(conversation.updatedAt),
});

export const reviveChatReply = (reply: ChatReply): ChatReply => ({
  ...reply,
  call: reviveCall(reply.call),
  answer: { ...reply.answer, createdAt: new Date(reply.answer.createdAt) },
  conversation: reply.conversation && reviveConversation(reply.conversation),
});

/**
 * What a repetition is told when the process that ran the call died. Not retryable: the provider may have been paid,
 * and whoever asks again pays again. That is for the caller to decide, with a new key.
 */
export const lostOutcome = (callId: string, upstream: Upstream, streamed = false): CallOutcome<never> => ({
  status: 'FAILED',
  refusal: {
    kind: 'UpstreamFailed',
    code: streamed ? 'STREAM_INTERRUPTED' : 'UPSTREAM_FAILED',
    message:
      'The server that ran this call died before its end, and the call may have been paid for. To ask again, and pay again, use a new idempotency key.',
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
 * Whether the end is kept for repetitions. What cost money, or may have, is. Where a call was refused or stopped before
 * anything was spent, the key is free again: a repetition is a new try. LOST is kept always: that nothing was spent is
 * then the knowledge of the moment, and may be corrected.
 */
export const keepOutcome = ({ status, usageSource }: Pick<Settlement, 'usageSource' | 'status'>): boolean =>
  !isFree(usageSource) || (status !== 'FAILED' && status !== 'STOPPED');

/** How a call ended, from what its settlement knows. `isEmpty`: nothing of an answer has come. */
export function outcomeOf<R extends ReplyBase>(
  reply: R,
  end: { isEmpty: boolean; refusal: Refusal | null; stopReason: StopReason | null },
): CallOutcome<R> {
  if (end.refusal) return { status: 'FAILED', refusal: end.refusal, partial: end.isEmpty ? null : reply };
  if (reply.call.status === 'STOPPED') return { status: 'STOPPED', reply, reason: end.stopReason ?? 'CLIENT' };
  return { status: 'COMPLETED', reply };
}

/** What came of an answer; null: nothing did. */
export const replyOf = <R extends ReplyBase>(outcome: CallOutcome<R>): R | null =>
  outcome.status === 'FAILED' ? outcome.partial : outcome.reply;
