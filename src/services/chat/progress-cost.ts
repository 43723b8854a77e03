import type { UpstreamHead } from '../litellm/upstream.types';
import { priceUsage, type Prices } from '../pricing/price-usage';
import type { HeldCall } from './4-hold';
import { countPromptTokens } from './history';

/** What a running stream has cost so far, as settlement would price it: dollars, decimal text; null: no price is known. The prompt is counted here, once, when it is first asked for. */
export function progressCost(call: HeldCall, prices: Pick<Prices, 'forCall' | 'number'>): (tokens: { output: number; reasoning: number }, head: UpstreamHead | null) => string | null {
  let promptTokens: number | null = null;
  return (tokens, head) => {
    promptTokens ??= countPromptTokens([...call.history, ...call.input.messages], call.input);
    // Of an answer from the proxy's cache nothing is paid.
    const usageSource = head?.fromCache ? ('CACHE' as const) : ('ESTIMATED' as const);
    const used = {
      organizationId: call.principal.viewer.organizationId, occurredAt: call.occurredAt, model: call.model.id, servedModel: head?.servedModel ?? call.model.id, deployment: head?.deployment ?? null,
      serviceTier: null, tokens: { uncachedPrompt: promptTokens, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, ...tokens }, usageSource, heldOn: call.heldOn,
    };
    return priceUsage(used, prices).cost?.total ?? null;
  };
}
