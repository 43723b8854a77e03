export type MessageRole = 'SYSTEM' | 'USER' | 'ASSISTANT' | 'TOOL';

export interface ContentPart {
  text?: string | null;
  imageUrl?: string | null;
  imageDetail?: 'AUTO' | 'LOW' | 'HIGH' | null;
}
/** `toolCallId` as the provider gave it: not unique. `arguments` is JSON text as the model wrote it. */
export interface ToolCall {
  toolCallId: string;
  name: string;
  arguments: string;
}

export interface Conversation {
  id: string;
  organizationId: string;
  userId: string;
  projectId: string | null;
  title: string | null;
  createdAt: Date;
  updatedAt: Date;
}

/** A stored message, or an answer outside a conversation (`conversationId` null: not stored). */
export interface Message {
  id: string;
  conversationId: string | null;
  role: MessageRole;
  content: string | null;
  reasoning: string | null;
  parts: ContentPart[];
  toolCalls: ToolCall[];
  toolCallId: string | null;
  name: string | null;
  createdAt: Date;
  /** false: the answer was cut (stopped, failed, lost). */
  complete: boolean;
  superseded: boolean;
  callId: string | null;
}
