import type { UpstreamHead } from '../upstream/upstream';
import { priceUsage, type Prices } from '../pricing/price-usage';
import type { AdmittedCall } from './5-admit';

type Produced = { output: number; reasoning: number };

/**
 * What a running stream has cost so far, as settlement would price it: dollars, decimal string; null: no price is
 * known.
 * The prompt is counted once, when it is first asked for.
 */
export function progressCost(
  call: AdmittedCall,
  prices: Pick<Prices, 'forCall' | 'number'>,
): (tokens: Produced, head: UpstreamHead | null) => string | null {
  let promptTokens: number | null = null;
  return (tokens, head) => {
    promptTokens ??= call.prompt.countTokens();
    const used = {
      organizationId: call.caller.viewer.organizationId,
      occurredAt: call.occurredAt,
      model: call.model.id,
      servedModel: head?.servedModel ?? call.model.id,
      deployment: head?.deployment ?? null,
      serviceTier: null,
      tokens: { uncachedPrompt: promptTokens, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, ...tokens },
      // Of an answer from the proxy's cache nothing is paid.
      usageSource: head?.fromCache ? ('CACHE' as const) : ('ESTIMATED' as const),
      heldOn: call.heldOn,
    };
    return priceUsage(used, prices).cost?.total ?? null;
  };
}
