import { randomBytes } from 'node:crypto';
import { newId } from '../../lib/ids';
import type { Conversation } from '../conversation/conversation.types';
import type { CatalogModel } from '../model/model.types';
import type { Upstream } from '../usage/usage.types';
import type { Principal } from './1-authenticate';
import type { StoredMessage } from './call.types';
import type { CallStore } from './call.store';
import type { CallContext, ChatInput, MessageInput } from './chat.types';
import { guessPromptTokens } from './history';

/** A call with everything decided and nothing spent. */
export interface PreparedCall {
  principal: Principal;
  input: ChatInput;
  context: CallContext;
  model: CatalogModel;
  maxTokens: number;
  conversation: { conversation: Conversation; /** Ids of the branch that the call continues, from the first message on. */ ids: string[] } | null;
  history: MessageInput[];
  omittedMessages: number;
  /** performance.now() when the request came. */
  startedAt: number;
}

/** A call that is written down: from here on it ends with exactly one usage row. */
export interface HeldCall extends PreparedCall {
  id: string;
  occurredAt: string;
  traceId: string;
  streamed: boolean;
  upstream: Upstream;
  answerId: string;
  /** The last stored message of the question; null without a conversation. */
  questionId: string | null;
}

export interface HoldOptions { owner: string; upstream: Upstream; totalMs: number; streamed: boolean }

/** Room between a call's own deadline and the moment at which others may call it lost. */
const OVERDUE_MARGIN_MS = 60_000;

/** Writes the call down, with the question where it belongs to a conversation, in one transaction. Throws NOT_FOUND for a conversation that is gone. */
export async function hold(prepared: PreparedCall, store: CallStore, options: HoldOptions): Promise<HeldCall> {
  const { input, principal, conversation, context } = prepared;
  const { viewer } = principal;
  const id = newId('call');
  const traceId = input.traceId ?? context.traceparentId ?? randomBytes(16).toString('hex');
  const messages = conversation ? input.messages.map(toStored) : [];
  const [admitted] = await store.admit([
    {
      id,
      organizationId: viewer.organizationId,
      userId: viewer.userId,
      tokenId: viewer.tokenId,
      projectId: input.projectId ?? conversation?.conversation.projectId ?? null,
      agent: input.agent ?? null,
      scenario: input.scenario,
      traceId,
      model: prepared.model.id,
      upstream: options.upstream,
      streamed: options.streamed,
      maxTokens: prepared.maxTokens,
      promptTokensEstimate: guessPromptTokens([...prepared.history, ...input.messages], input),
      owner: options.owner,
      deadlineMs: options.totalMs + OVERDUE_MARGIN_MS,
      question: conversation
        ? { conversationId: conversation.conversation.id, parentId: conversation.ids.at(-1) ?? null, branchIds: conversation.ids, messages }
        : null,
    },
  ]);
  return { ...prepared, id, occurredAt: admitted!.occurredAt, traceId, streamed: options.streamed, upstream: options.upstream, answerId: newId('message'), questionId: messages.at(-1)?.id ?? null };
}

const toStored = (message: MessageInput): StoredMessage => ({
  id: newId('message'),
  role: message.role,
  content: message.content ?? null,
  reasoning: null,
  parts: message.parts?.length ? message.parts.map(({ text, imageUrl, imageDetail }) => ({ text, imageUrl, imageDetail })) : null,
  toolCalls: message.toolCalls?.length ? message.toolCalls.map(({ toolCallId, name, arguments: text }) => ({ toolCallId, name, arguments: text })) : null,
  toolCallId: message.toolCallId ?? null,
  name: message.name ?? null,
});
