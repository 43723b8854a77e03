import { newId } from '../../../src/lib/ids';
import type { RequestContext, Services } from '../../../src/resolvers/context';
import type { Budget, BudgetAlert } from '../../../src/domain/budget';
import type { Conversation, Message } from '../../../src/domain/conversation';
import type { UsageFigures } from '../../../src/services/usage/usage.types';
import type { UserRow } from '../../../src/domain/principal';
import type { ChatReply } from '../../../src/domain/outcome';
import type { CallRecord } from '../../../src/domain/call';

export const NOW = new Date('2026-03-01T12:00:00.000Z');
export const USER_ID = newId('user');
export const ORGANIZATION_ID = newId('organization');
export const PLAN_ID = newId('plan');

type Stubs = { [K in keyof Services]?: Partial<Services[K]> };

/**
 * A context whose services know only what a test gives them: anything else that is asked for fails the test by name.
 */
export function stubContext(stubs: Stubs): RequestContext {
  const service = (name: string, methods: object = {}): object =>
    new Proxy(methods, {
      get(target, method) {
        if (method in target) return (target as Record<string | symbol, unknown>)[method];
        return () => {
          throw new Error(`unexpected call of ${name}.${String(method)}`);
        };
      },
    });
  const services = new Proxy(
    {},
    { get: (_target, name: string) => service(name, stubs[name as keyof Services]) },
  ) as Services;
  const viewer = {
    userId: USER_ID,
    organizationId: ORGANIZATION_ID,
    role: 'MEMBER' as const,
    planId: PLAN_ID,
    tokenId: null,
    sessionId: null,
    expiresAtMs: null,
  };
  return {
    viewer,
    services,
    loaders: new Map(),
    door: 'GRAPHQL',
    fieldsAt: 'input',
    requestId: 'request-1',
    traceparentId: null,
  };
}

export const user = (fields: Partial<UserRow> = {}): UserRow => ({
  id: USER_ID,
  organizationId: ORGANIZATION_ID,
  name: 'Ada',
  email: null,
  externalId: null,
  role: 'MEMBER',
  planId: PLAN_ID,
  blocked: false,
  createdAt: NOW,
  ...fields,
});

export const conversation = (fields: Partial<Conversation> = {}): Conversation => ({
  id: newId('conversation'),
  organizationId: ORGANIZATION_ID,
  userId: USER_ID,
  projectId: null,
  title: null,
  createdAt: NOW,
  updatedAt: NOW,
  ...fields,
});

export const message = (fields: Partial<Message> = {}): Message => ({
  id: newId('message'),
  conversationId: null,
  role: 'ASSISTANT',
  content: 'Hello',
  reasoning: null,
  parts: [],
  toolCalls: [],
  toolCallId: null,
  name: null,
  createdAt: NOW,
  complete: true,
  superseded: false,
  callId: null,
  ...fields,
});

export const TOKENS = {
  uncachedPrompt: 10,
  cacheRead: 20,
  cacheWrite: 30,
  cacheWriteOneHour: 5,
  output: 40,
  reasoning: 50,
};
export const COST = {
  input: '0.0010',
  cacheRead: '0',
  cacheWrite: '0',
  output: '0.002',
  reasoning: '0',
  request: '0',
  total: '0.00300',
  reportedByProxy: null,
};

export const call = (fields: Partial<CallRecord> = {}): CallRecord => ({
  id: newId('call'),
  occurredAt: NOW,
  organizationId: ORGANIZATION_ID,
  userId: USER_ID,
  projectId: null,
  conversationId: null,
  traceId: 'trace',
  agent: null,
  scenario: 'DEFAULT',
  model: 'small',
  servedModel: 'small',
  provider: 'demo',
  deployment: null,
  upstream: 'LITELLM',
  status: 'COMPLETED',
  errorCode: null,
  streamed: false,
  tokens: TOKENS,
  usageSource: 'PROVIDER',
  cost: COST,
  latencyMs: 120,
  timeToFirstTokenMs: null,
  ...fields,
});

export function reply(fields: Partial<ChatReply> = {}): ChatReply {
  const row = call();
  return {
    kind: 'ChatReply',
    call: row,
    answer: message({ callId: row.id }),
    finishReason: 'STOP',
    usage: { ...TOKENS, source: 'PROVIDER' },
    cost: COST,
    route: {
      model: 'small',
      servedModel: 'small',
      upstream: 'LITELLM',
      provider: 'demo',
      deployment: null,
      attempts: 1,
    },
    conversation: null,
    latencyMs: 120,
    omittedMessages: 0,
    replayed: false,
    ...fields,
  };
}

export const FIGURES: UsageFigures = {
  calls: 2 ** 40,
  failedCalls: 0,
  promptTokens: 1,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  completionTokens: 1,
  reasoningTokens: 0,
  totalTokens: 2,
  cost: '1.50',
  unpricedCalls: 0,
  averageLatencyMs: 1.5,
  p50LatencyMs: null,
  p95LatencyMs: null,
  averageTimeToFirstTokenMs: null,
  p95TimeToFirstTokenMs: null,
};

export const budget = (fields: Partial<Budget> = {}): Budget => ({
  id: newId('budget'),
  organizationId: ORGANIZATION_ID,
  scope: 'USER',
  subjectId: USER_ID,
  period: 'DAY',
  limit: '10',
  softLimit: null,
  timeZone: 'UTC',
  alertAtPercent: [80],
  planId: null,
  byOperator: false,
  spent: '0',
  held: '0',
  remaining: '10',
  overage: '0',
  periodStart: NOW,
  resetsAt: NOW,
  ...fields,
});
export const ALERT: BudgetAlert = {
  id: newId('budgetAlert'),
  budgetId: newId('budget'),
  organizationId: ORGANIZATION_ID,
  scope: 'USER',
  subjectId: USER_ID,
  percent: 80,
  spent: '8',
  limit: '10',
  at: NOW,
};
