import type { CallFacts } from '../../src/domain/call';

/** What is known of a call before it runs; of no interest to a measurement but for its width. */
export const benchFacts = (hold: string | null): CallFacts => ({
  door: 'GRAPHQL',
  operation: 'CHAT',
  requestId: 'bench',
  planId: null,
  sessionId: null,
  endUser: null,
  tags: [],
  callHash: null,
  maxTokens: 1_000,
  promptTokensEstimate: 100,
  hold,
  askedInputTokens: 100,
  reasoningEffort: null,
  routeVersion: null,
  routeRule: null,
  routeFlags: [],
});
