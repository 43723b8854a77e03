import type { Scenario } from './call';
import type { ContentPart, MessageRole, ToolCall } from './conversation';
import type { DisconnectPolicy } from './stream-events';

export interface MessageInput {
  role: MessageRole;
  content?: string | null;
  parts?: ContentPart[] | null;
  toolCalls?: ToolCall[] | null;
  toolCallId?: string | null;
  name?: string | null;
}
export interface ToolInput {
  name: string;
  description?: string | null;
  parameters?: unknown;
  strict?: boolean | null;
}
export interface ResponseFormatInput {
  type: 'TEXT' | 'JSON_OBJECT' | 'JSON_SCHEMA';
  name?: string | null;
  schema?: unknown;
  strict?: boolean | null;
}

/**
 * What a client asks for: `ChatInput` of the graph, enums as their names. Nothing in it is trusted before
 * `validateChatInput`.
 */
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
