import { Decimal } from '../../lib/decimal';
import type { RateTier, Rates } from './pricing.types';
import type { CostParts, TokenBuckets } from '../../domain/money';

/**
 * What one call costs, exactly. The length of the whole prompt, cached parts included, chooses the tier, and the tier
 * prices every bucket of the call. Reasoning is a part of its own only where the rates price it apart; else it is in
 * `output`. `perRequest` is charged for every call that is priced: a caller that does not want it for calls that
 * produced nothing does not ask.
 */
export function priceCall(tokens: TokenBuckets, rates: Rates): CostParts {
  const tier = tierFor(rates, tokens.uncachedPrompt + tokens.cacheRead + tokens.cacheWrite);
  const applied = tier ?? rates;
  const reasoningRate = tier?.reasoning ?? rates.reasoning;
  const writeRate = applied.cacheWrite ?? applied.input;
  const oneHourRate = tier?.cacheWriteOneHour ?? rates.cacheWriteOneHour ?? writeRate;
  const oneHourTokens = Math.min(tokens.cacheWriteOneHour, tokens.cacheWrite);

  const input = amount(tokens.uncachedPrompt, applied.input);
  const cacheRead = amount(tokens.cacheRead, applied.cacheRead ?? applied.input);
  const cacheWrite = amount(tokens.cacheWrite - oneHourTokens, writeRate).plus(amount(oneHourTokens, oneHourRate));
  const output = amount(reasoningRate === undefined ? tokens.output + tokens.reasoning : tokens.output, applied.output);
  const reasoning = reasoningRate === undefined ? Decimal.ZERO : amount(tokens.reasoning, reasoningRate);
  const request = rates.perRequest === undefined ? Decimal.ZERO : Decimal.parse(rates.perRequest);
  return {
    input: input.toString(),
    cacheRead: cacheRead.toString(),
    cacheWrite: cacheWrite.toString(),
    output: output.toString(),
    reasoning: reasoning.toString(),
    request: request.toString(),
    total: input.plus(cacheRead).plus(cacheWrite).plus(output).plus(reasoning).plus(request).toString(),
  };
}

const amount = (tokens: number, rate: string): Decimal =>
  tokens === 0 ? Decimal.ZERO : Decimal.parse(rate).times(tokens);

/** The highest tier whose bound the prompt exceeds; a prompt of exactly the bound stays below it. */
function tierFor(rates: Rates, promptTokens: number): RateTier | null {
  let found: RateTier | null = null;
  for (const tier of rates.tiers ?? []) {
    if (promptTokens > tier.abovePromptTokens && (!found || tier.abovePromptTokens > found.abovePromptTokens))
      found = tier;
  }
  return found;
}
