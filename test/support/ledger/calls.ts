import { createHash } from 'node:crypto';
import { newId } from '../../../src/lib/ids';
import { callFacts } from '../call-ends';
import type { HeldOn, NewCall, Settlement } from '../../../src/domain/call';

/** What tests of the ledger say of a call; everything else is of no interest to it. */
export interface CallFields {
  id?: string;
  organizationId: string;
  userId: string;
  tokenId?: string | null;
  projectId?: string | null;
  owner?: string;
  /** Dollars; null: no price is known. */
  hold: string | null;
  streamed?: boolean;
  key?: string | null;
  /** Of the key's input. */
  input?: string;
  /** A question in this conversation, behind its head. */
  question?: { conversationId: string; parentId: string | null; branchIds: string[] } | null;
}

export const newCall = ({ id = newId('call'), ...fields }: CallFields): NewCall => ({
  ...callFacts({ hold: fields.hold }),
  id,
  organizationId: fields.organizationId,
  userId: fields.userId,
  tokenId: fields.tokenId ?? null,
  projectId: fields.projectId ?? null,
  agent: null,
  scenario: 'DEFAULT',
  traceId: 'trace',
  model: 'direct/test-chat',
  upstream: 'DIRECT',
  streamed: fields.streamed ?? false,
  owner: fields.owner ?? 'test',
  deadlineMs: 600_000,
  question: fields.question
    ? {
        ...fields.question,
        messages: [
          {
            id: `${id}_question`,
            role: 'USER',
            content: 'a question',
            reasoning: null,
            parts: null,
            toolCalls: null,
            toolCallId: null,
            name: null,
          },
        ],
      }
    : null,
  idempotency: fields.key
    ? {
        key: fields.key,
        inputHash: createHash('sha256')
          .update(fields.input ?? 'input')
          .digest('hex'),
      }
    : null,
});

export interface EndFields {
  occurredAt: string;
  heldOn: readonly HeldOn[];
  /** Dollars; null: no price is known. */
  cost: string | null;
  status?: Settlement['status'];
  /** What a repetition with the key is told; left out: the key is free again. */
  stored?: unknown;
  answer?: boolean;
}

export const endOf = (call: NewCall, fields: EndFields): Settlement => ({
  id: call.id,
  occurredAt: fields.occurredAt,
  facts: call,
  organizationId: call.organizationId,
  userId: call.userId,
  tokenId: call.tokenId,
  projectId: call.projectId,
  conversationId: call.question?.conversationId ?? null,
  agent: null,
  scenario: call.scenario,
  traceId: call.traceId,
  streamed: call.streamed,
  model: call.model,
  servedModel: call.model,
  provider: null,
  deployment: null,
  serviceTier: null,
  priceBook: 0,
  upstream: call.upstream,
  attempts: 1,
  status: fields.status ?? 'COMPLETED',
  errorCode: null,
  finishReason: null,
  tokens: { uncachedPrompt: 10, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 5, reasoning: 0 },
  usageSource: 'PROVIDER',
  cacheUse: 'NO',
  cachedTokens: null,
  rawUsage: null,
  priceNumber: null,
  cost:
    fields.cost === null
      ? null
      : {
          total: fields.cost,
          input: fields.cost,
          cacheRead: '0',
          cacheWrite: '0',
          output: '0',
          reasoning: '0',
          request: '0',
        },
  proxyCost: null,
  latencyMs: 1,
  timeToFirstTokenMs: null,
  omittedMessages: 0,
  answer:
    call.question && fields.answer !== false
      ? {
          id: `${call.id}_answer`,
          role: 'ASSISTANT',
          content: 'an answer',
          reasoning: null,
          parts: null,
          toolCalls: null,
          toolCallId: null,
          name: null,
          questionId: call.question.messages.at(-1)!.id,
          complete: true,
        }
      : null,
  heldOn: fields.heldOn,
  idempotency: call.idempotency ? { key: call.idempotency.key, stored: fields.stored ?? null } : null,
});
