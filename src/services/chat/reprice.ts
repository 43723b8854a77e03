import { priceUsage, type Prices } from '../pricing/price-usage';
import type { CallOutcome } from './call-run';
import type { CallEnd } from './call.types';
import type { ChatReply } from './chat.types';

/** Prices an end again, in place, because the book has changed since: also in what a repetition will be told. */
export function reprice(end: CallEnd, prices: Pick<Prices, 'forCall' | 'number'>): void {
  Object.assign(end, priceUsage(end, prices));
  const stored = end.idempotency?.stored as CallOutcome | null | undefined;
  const reply = stored && ('reply' in stored ? stored.reply : stored.partial);
  if (reply) Object.assign(reply, withCost(reply, end));
}

/** A reply with the cost that its call was booked with. */
export function withCost(reply: ChatReply, { cost, proxyCost }: Pick<CallEnd, 'cost' | 'proxyCost'>): ChatReply {
  const shown = cost && { ...cost, reportedByProxy: proxyCost };
  return { ...reply, cost: shown, call: { ...reply.call, cost: shown } };
}
