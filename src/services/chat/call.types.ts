import type { CostParts, TokenBuckets } from '../pricing/pricing.types';
import type { ContentPart, MessageRole, ToolCall } from '../conversation/conversation.types';
import type { Scenario, Upstream, UsageSource } from '../usage/usage.types';

export interface StoredMessage {
  id: string;
  role: MessageRole;
  content: string | null;
  reasoning: string | null;
  parts: ContentPart[] | null;
  toolCalls: ToolCall[] | null;
  toolCallId: string | null;
  name: string | null;
}

/** A call as it is written down before the upstream is asked. */
export interface NewCall {
  id: string;
  organizationId: string;
  userId: string;
  tokenId: string | null;
  projectId: string | null;
  agent: string | null;
  scenario: Scenario;
  traceId: string;
  model: string;
  upstream: Upstream;
  streamed: boolean;
  maxTokens: number;
  promptTokensEstimate: number;
  /** The process that runs it. */
  owner: string;
  /** Milliseconds after admission at which the call has ended, one way or the other. */
  deadlineMs: number;
  /** The question, stored with the admission. */
  question: Question | null;
}
export interface Question {
  conversationId: string;
  /** The message that the question follows; null: it begins the conversation. */
  parentId: string | null;
  /** Ids of the branch up to `parentId`. */
  branchIds: string[];
  messages: StoredMessage[];
}

/** `occurredAt` is the database's time of admission as text: a JavaScript date would cut the microseconds that are part of the row's key. */
export interface AdmittedCall { id: string; occurredAt: string }

/** How a call ended: everything that its usage row says, and the answer to store. */
export interface CallEnd {
  id: string;
  occurredAt: string;
  organizationId: string;
  userId: string;
  tokenId: string | null;
  projectId: string | null;
  conversationId: string | null;
  agent: string | null;
  scenario: Scenario;
  traceId: string;
  streamed: boolean;
  model: string;
  servedModel: string;
  provider: string | null;
  deployment: string | null;
  upstream: Upstream;
  attempts: number;
  status: 'COMPLETED' | 'STOPPED' | 'FAILED' | 'LOST';
  errorCode: string | null;
  finishReason: string | null;
  tokens: TokenBuckets;
  usageSource: UsageSource;
  rawUsage: Record<string, unknown> | null;
  priceNumber: number | null;
  cost: CostParts | null;
  proxyCost: string | null;
  latencyMs: number | null;
  timeToFirstTokenMs: number | null;
  omittedMessages: number;
  /** Stored only in a conversation. */
  answer: (StoredMessage & { questionId: string; complete: boolean }) | null;
}
