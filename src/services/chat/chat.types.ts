import type { Door } from './call.types';
import type { Budget } from '../budget/budget.types';
import type { Conversation, Message, MessageRole, ContentPart, ToolCall } from '../conversation/conversation.types';
import type { CallRecord, Scenario, Upstream, UsageSource } from '../usage/usage.types';
import type { CostParts, TokenBuckets } from '../pricing/pricing.types';

export interface MessageInput {
  role: MessageRole;
  content?: string | null;
  parts?: ContentPart[] | null;
  toolCalls?: ToolCall[] | null;
  toolCallId?: string | null;
  name?: string | null;
}
export interface ToolInput { name: string; description?: string | null; parameters?: unknown; strict?: boolean | null }
export interface ResponseFormatInput { type: 'TEXT' | 'JSON_OBJECT' | 'JSON_SCHEMA'; name?: string | null; schema?: unknown; strict?: boolean | null }

/** What a client asks for: `ChatInput` of the graph, enums as their names. Nothing in it is trusted before `validateChatInput`. */
export interface ChatInput {
  model?: string | null;
  scenario: Scenario;
  agent?: string | null;
  projectId?: string | null;
  traceId?: string | null;
  conversationId?: string | null;
  afterMessageId?: string | null;
  messages: MessageInput[];
  maxTokens?: number | null;
  temperature?: number | null;
  topP?: number | null;
  stop?: string[] | null;
  seed?: number | null;
  presencePenalty?: number | null;
  frequencyPenalty?: number | null;
  reasoningEffort?: 'NONE' | 'MINIMAL' | 'LOW' | 'MEDIUM' | 'HIGH' | null;
  tools?: ToolInput[] | null;
  toolChoice?: 'AUTO' | 'NONE' | 'REQUIRED' | 'TOOL' | null;
  toolName?: string | null;
  parallelToolCalls?: boolean | null;
  responseFormat?: ResponseFormatInput | null;
  idempotencyKey?: string | null;
  /** Streams: what the going of the last viewer means; left out: GRACE. */
  onDisconnect?: DisconnectPolicy | null;
  /** Streams: StreamProgress events, at most one a second. */
  progress?: boolean | null;
}
/** The stream goes on for a while, goes on to its end, or is stopped at once. */
export type DisconnectPolicy = 'GRACE' | 'CONTINUE' | 'CANCEL';

export type FinishReason = 'STOP' | 'LENGTH' | 'TOOL_CALLS' | 'CONTENT_FILTER' | 'STOPPED' | 'BUDGET' | 'OTHER';
export interface TokenUsage extends TokenBuckets { source: UsageSource }
export interface Route { model: string; servedModel: string; upstream: Upstream; provider: string | null; deployment: string | null; attempts: number }

export interface ChatReply {
  kind: 'ChatReply';
  call: CallRecord;
  answer: Message;
  finishReason: FinishReason;
  usage: TokenUsage;
  cost: (CostParts & { reportedByProxy: string | null }) | null;
  route: Route;
  conversation: Conversation | null;
  latencyMs: number;
  omittedMessages: number;
  /** An answer that an idempotency key brought back. */
  replayed: boolean;
}

interface RefusalBase { message: string; retryable: boolean; retryAfterMs: number | null }
/** Expected refusals, with what helps. `kind` is the GraphQL type's name. */
export type Refusal =
  | (RefusalBase & { kind: 'ModelNotAllowed'; code: 'MODEL_NOT_ALLOWED'; model: string; allowedModels: string[]; plansThatAllow: string[] /* plan ids */ })
  | (RefusalBase & { kind: 'ModelUnavailable'; code: 'MODEL_UNAVAILABLE'; model: string; alternatives: string[] })
  | (RefusalBase & { kind: 'ModelUnpriced'; code: 'MODEL_UNPRICED'; model: string })
  | (RefusalBase & { kind: 'BudgetExceeded'; code: 'BUDGET_EXCEEDED'; budget: Budget; needed: string; resetsAt: Date; maxTokensThatFit: number | null; modelsThatFit: string[] })
  | (RefusalBase & { kind: 'IdempotencyConflict'; code: 'IDEMPOTENCY_CONFLICT'; firstUsedAt: Date })
  | (RefusalBase & { kind: 'RateLimited'; code: 'RATE_LIMITED'; origin: 'PLAN' | 'PROXY' | 'PROVIDER'; dimension: 'REQUESTS' | 'TOKENS' | 'PARALLEL_CALLS' | 'UNKNOWN' })
  | (RefusalBase & { kind: 'ContextTooLong'; code: 'CONTEXT_TOO_LONG'; countedTokens: number | null; allowedTokens: number | null; modelsThatFit: string[] })
  | (RefusalBase & { kind: 'ContentBlocked'; code: 'CONTENT_BLOCKED'; category: string | null })
  | (RefusalBase & { kind: 'UpstreamFailed'; code: 'UPSTREAM_FAILED' | 'UPSTREAM_TIMEOUT' | 'STREAM_INTERRUPTED'; upstream: Upstream; attempts: number; callId: string | null });

export type StopReason = 'CLIENT' | 'ADMINISTRATOR' | 'DISCONNECT' | 'DEADLINE' | 'BUDGET' | 'DEPLOY' | 'AUTHORIZATION';

interface EventBase { fromSeq: number; seq: number }
/** What a viewer of a stream receives. `kind` is the GraphQL type's name. */
export type ChatEvent =
  | (EventBase & { kind: 'StreamStarted'; streamId: string; callId: string; model: string; conversation: Conversation | null })
  | (EventBase & { kind: 'TextDelta'; text: string })
  | (EventBase & { kind: 'ReasoningDelta'; text: string })
  | (EventBase & { kind: 'ToolCallDelta'; index: number; toolCallId: string | null; name: string | null; arguments: string })
  /** Tokens and dollars (decimal text; null: no price) so far, estimated. */
  | (EventBase & { kind: 'StreamProgress'; completionTokens: number; estimatedCost: string | null })
  | (EventBase & { kind: 'StreamCompleted'; reply: ChatReply })
  | (EventBase & { kind: 'StreamStopped'; reason: StopReason; reply: ChatReply })
  | (EventBase & { kind: 'StreamFailed'; refusal: Refusal; partial: ChatReply | null })
  | (EventBase & { kind: 'StreamRefused'; refusal: Refusal });

/** A stream that runs, here or in another process. */
export interface ActiveStream {
  streamId: string;
  call: CallRecord;
  startedAt: Date;
  /** Number of the last piece that is known of. */
  lastSeq: number;
  viewers: number;
}

/** What the door knows about the request of a call. */
export interface CallContext {
  door: Door;
  requestId: string;
  /** 32 hex digits of the request's W3C traceparent, if it had one. */
  traceparentId: string | null;
  /** Aborts when the client has left. A call goes on all the same: it is paid for. */
  signal?: AbortSignal;
}
