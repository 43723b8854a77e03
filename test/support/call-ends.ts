import { newId } from '../../src/lib/ids';
import type { CallFacts, Settlement } from '../../src/domain/call';

/** What is known of a call of no interest. */
export const callFacts = (fields: Partial<CallFacts> = {}): CallFacts => ({
  door: 'GRAPHQL',
  operation: 'CHAT',
  requestId: null,
  planId: null,
  sessionId: null,
  endUser: null,
  tags: [],
  callHash: null,
  maxTokens: 100,
  promptTokensEstimate: 10,
  hold: null,
  askedInputTokens: 10,
  reasoningEffort: null,
  routeVersion: null,
  routeRule: null,
  routeFlags: [],
  ...fields,
});

/** The end of a call that went well, of nobody in particular. */
export function callEnd(fields: Partial<Settlement> = {}): Settlement {
  const id = fields.id ?? newId('call');
  return {
    id,
    occurredAt: '2026-11-21 12:00:00.123456+00',
    organizationId: 'org_1',
    userId: 'usr_1',
    tokenId: null,
    projectId: null,
    conversationId: null,
    agent: null,
    scenario: 'DEFAULT',
    traceId: `trc_${id}`,
    streamed: false,
    model: 'direct/small',
    servedModel: 'direct/small',
    provider: 'openai',
    deployment: null,
    serviceTier: null,
    upstream: 'DIRECT',
    attempts: 1,
    status: 'COMPLETED',
    errorCode: null,
    finishReason: 'STOP',
    tokens: { uncachedPrompt: 10, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 5, reasoning: 0 },
    usageSource: 'PROVIDER',
    cacheUse: 'NO',
    cachedTokens: null,
    rawUsage: { prompt_tokens: 10, completion_tokens: 5, details: { audio: [0, null] } },
    priceNumber: null,
    priceBook: 0,
    cost: { input: '0.000010', cacheRead: '0', cacheWrite: '0', output: '0.00005', reasoning: '0', request: '0', total: '0.00006' },
    proxyCost: null,
    latencyMs: 120,
    timeToFirstTokenMs: null,
    omittedMessages: 0,
    answer: null,
    heldOn: [],
    facts: callFacts(),
    idempotency: null,
    ...fields,
  };
}
