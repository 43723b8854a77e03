import type { TokenBuckets } from '../../domain/money';
import { Decimal } from '../../lib/decimal';
import type { WorstRates } from '../pricing/worst-rates';

/**
 * Dollars, exactly: the whole prompt and the whole answer at the dearest rate of each, and the fee of a request. There
 * is one answer to a call, no service tier and no search on the web is ever asked for, and `max_tokens` bounds
 * reasoning too, as the proxy passes it on. A provider that does not keep to it is paid all the same: the rest is
 * overage.
 */
export function worstCaseCost(promptTokens: number, maxTokens: number, rates: WorstRates): string {
  return Decimal.parse(rates.promptPerToken)
    .times(promptTokens)
    .plus(Decimal.parse(rates.outputPerToken).times(maxTokens))
    .plus(Decimal.parse(rates.perRequest))
    .toString();
}

/** What is known of a call before it is made. `contextWindow`: of the model that served, null where nobody says. */
export interface CallBounds {
  promptBound: number;
  maxTokens: number;
  contextWindow: number | null;
}

/** More than a proxy adds to a prompt; more than any model writes in one answer. */
const LARGEST_ADDITION = 2_000_000;
const LARGEST_ANSWER = 1_000_000;

/**
 * Whether usage that an upstream reports can be true. What cannot be is refused, and estimated instead: a fault of an
 * upstream must not eat a month's budget. What is only more than was agreed is booked: a proxy may add pages to a
 * prompt, a provider may write past `max_tokens`.
 * So a prompt may be four times its bound or fill the context twice, and an answer four times `max_tokens` or as long
 * as any model's.
 */
export function plausible(tokens: TokenBuckets, { promptBound, maxTokens, contextWindow }: CallBounds): boolean {
  const prompt = tokens.uncachedPrompt + tokens.cacheRead + tokens.cacheWrite;
  const answer = tokens.output + tokens.reasoning;
  const twoWindows = contextWindow === null ? null : 2 * contextWindow;
  return (
    prompt <= Math.max(4 * promptBound, twoWindows ?? LARGEST_ADDITION) &&
    answer <= Math.max(4 * maxTokens, Math.min(twoWindows ?? LARGEST_ANSWER, LARGEST_ANSWER))
  );
}
