import type { Budget } from './budget';
import type { ContentPart, MessageRole, ToolCall } from './conversation';
import type { CostParts, TokenBuckets } from './money';

export type CallStatus = 'RUNNING' | 'COMPLETED' | 'STOPPED' | 'FAILED' | 'LOST';
/** Why a call was stopped before its end. */
export type StopReason = 'CLIENT' | 'ADMINISTRATOR' | 'DISCONNECT' | 'DEADLINE' | 'BUDGET' | 'DEPLOY' | 'AUTHORIZATION';
export type UsageSource = 'PROVIDER' | 'ESTIMATED' | 'RECONCILED' | 'CACHE' | 'NONE';
/** Nothing was used, or nobody is paid for it: the call costs nothing, whatever a request costs. */
export const isFree = (source: UsageSource): boolean => source === 'NONE' || source === 'CACHE';
export type Upstream = 'LITELLM' | 'DIRECT';
export type Scenario = 'DEFAULT' | 'BACKGROUND' | 'THINK' | 'LONG_CONTEXT' | 'REVIEW' | 'PLAN';
/** One call: a settled row of `llm_usage`, or one in flight (status RUNNING, no tokens yet). */
export interface CallRecord {
  id: string;
  occurredAt: Date;
  organizationId: string;
  userId: string;
  projectId: string | null;
  conversationId: string | null;
  traceId: string;
  agent: string | null;
  scenario: Scenario;
  model: string;
  servedModel: string;
  provider: string | null;
  deployment: string | null;
  upstream: Upstream;
  status: CallStatus;
  errorCode: string | null;
  streamed: boolean;
  tokens: TokenBuckets;
  usageSource: UsageSource;
  /** null: no price known. */
  cost: (CostParts & { reportedByProxy: string | null }) | null;
  latencyMs: number | null;
  timeToFirstTokenMs: number | null;
}

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

/** What is asked of a model. */
export type OperationKind = 'CHAT' | 'EMBEDDING';
/** Through which protocol a call came. */
export type Door = 'GRAPHQL';
export type RouteFlag = 'tools' | 'images' | 'schema' | 'explicit' | 'sticky' | 'downgraded';

/**
 * What is known of a call at its admission and could not be filled in later: columns of the call in flight and of the
 * usage row.
 */
export interface CallFacts {
  door: Door;
  operation: OperationKind;
  /** Of the HTTP request or the socket's operation, as in the log. */
  requestId: string | null;
  /** The caller's plan at the time. */
  planId: string | null;
  /** One sign-in of the caller. */
  sessionId: string | null;
  /** An HMAC of the end user that the client named. */
  endUser: string | null;
  tags: string[];
  /** SHA-256 in hex of what was asked; null: nobody needed it. */
  callHash: string | null;
  maxTokens: number;
  promptTokensEstimate: number;
  /** Dollars, decimal string: the most that the call can cost. null: no price is known. */
  hold: string | null;
  /** Estimated tokens of the prompt before anything of the history was left out. */
  askedInputTokens: number | null;
  reasoningEffort: string | null;
  /** The routing document in force and the rule that chose; null: there is none. */
  routeVersion: number | null;
  routeRule: string | null;
  /** What the choice of the model depended on. */
  routeFlags: RouteFlag[];
}

/** A call as it is written down before the upstream is asked. */
export interface NewCall extends CallFacts {
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
  /** The process that runs it. */
  owner: string;
  /** Milliseconds after admission at which the call has ended, one way or the other. */
  deadlineMs: number;
  /** The question, stored with the admission. */
  question: Question | null;
  /** The caller's idempotency key, and the SHA-256 of the input in hex. */
  idempotency: { key: string; inputHash: string } | null;
}
/** A period row that a call holds money on: the budget, and the local date on which the period began (YYYY-MM-DD). */
export interface HeldOn {
  budgetId: string;
  startsOn: string;
}

/** What became of a call at admission. Only an admitted one is written down, and holds something. */
export type Admission =
  | ({ kind: 'ADMITTED' } & AdmittedCall)
  /**
   * `budget` is the first that does not fit, in the order organisation, project, user, token, as it was in that moment;
   * `room` is what all of the call's budgets together leave; `onlyHeld`: it would fit if nothing else ran.
   */
  | { kind: 'BUDGET_EXCEEDED'; budget: Budget; room: string; onlyHeld: boolean }
  /** A budget applies, and no price is known. */
  | { kind: 'UNPRICED' }
  /** The key's call has ended; `stored` is what was kept of it. */
  | { kind: 'REPLAY'; callId: string; stored: unknown }
  /** The key's call runs, here or elsewhere. */
  | { kind: 'RUNNING'; callId: string }
  /** The key was used with other input. */
  | { kind: 'CONFLICT'; firstUsedAt: Date }
  /** The conversation is not there any more. */
  | { kind: 'NO_CONVERSATION' };
export interface Question {
  conversationId: string;
  /** The message that the question follows; null: it begins the conversation. */
  parentId: string | null;
  /** Ids of the branch up to `parentId`. */
  branchIds: string[];
  messages: StoredMessage[];
}

/**
 * `occurredAt` is the database's time of admission as text: a JavaScript date would cut the microseconds that are part
 * of the row's key.
 */
export interface AdmittedCall {
  id: string;
  occurredAt: string;
  heldOn: readonly HeldOn[];
}

/** How a call ended: everything that its usage row says, and the answer to store. */
export interface Settlement {
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
  /** As the provider named it; null: its usual one. */
  serviceTier: string | null;
  upstream: Upstream;
  attempts: number;
  status: 'COMPLETED' | 'STOPPED' | 'FAILED' | 'LOST';
  errorCode: string | null;
  finishReason: string | null;
  tokens: TokenBuckets;
  usageSource: UsageSource;
  /**
   * The proxy's response cache. HIT: it has answered; ASKED: the request asked for it, and it had nothing; NO: neither.
   */
  cacheUse: 'ASKED' | 'HIT' | 'NO';
  /** Of a HIT: what the call would have used without the cache; null also where that is not known. */
  cachedTokens: TokenBuckets | null;
  rawUsage: Record<string, unknown> | null;
  priceNumber: number | null;
  cost: CostParts | null;
  /** The newest record of the price book that was known when it was priced. */
  priceBook: number;
  proxyCost: string | null;
  latencyMs: number | null;
  timeToFirstTokenMs: number | null;
  omittedMessages: number;
  /** Stored only in a conversation. */
  answer: (StoredMessage & { questionId: string; complete: boolean }) | null;
  /** null: a correction, whose rows repeat those of the call. */
  facts: CallFacts | null;
  /**
   * Dollars that admission held, on each of `heldOn`. Used where the row in flight is gone, as after a fail-over: else
   * the row says.
   */
  heldOn: readonly HeldOn[];
  /**
   * The call's key, and what a repetition shall be told; `stored` null: nothing was spent, and the key is free again.
   */
  idempotency: { key: string; stored: unknown } | null;
}

/** What the door knows about the request of a call. */
export interface CallContext {
  door: Door;
  /** Where the door has the fields of a request, for its errors: `input` in GraphQL; empty: at the top. */
  fieldsAt: string;
  requestId: string;
  /** 32 hex digits of the request's W3C traceparent, if it had one. */
  traceparentId: string | null;
  /** Aborts when the client has left. A call goes on all the same: it is paid for. */
  signal?: AbortSignal;
}

/** A call of an organisation. */
export interface CallName {
  organizationId: string;
  id: string;
}
