import type { Settlement } from '../../domain/call';
import type { CallOutcome, ReplyBase } from '../../domain/outcome';
import { priceUsage, type Prices } from '../pricing/price-usage';

/** Prices a settlement again, in place, because the book has changed since: also in what a repetition will be told. */
export function reprice(settlement: Settlement, prices: Pick<Prices, 'forCall' | 'number'>): void {
  Object.assign(settlement, priceUsage(settlement, prices));
  const stored = settlement.idempotency?.stored as CallOutcome<ReplyBase> | null | undefined;
  const reply = stored && ('reply' in stored ? stored.reply : stored.partial);
  if (reply) Object.assign(reply, withCost(reply, settlement));
}

/** A reply with the cost that its call was booked with. */
export function withCost<R extends ReplyBase>(
  reply: R,
  { cost, proxyCost }: Pick<Settlement, 'cost' | 'proxyCost'>,
): R {
  const shown = cost && { ...cost, reportedByProxy: proxyCost };
  return { ...reply, cost: shown, call: { ...reply.call, cost: shown } };
}
