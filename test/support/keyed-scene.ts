import type { ChatInput } from '../../src/domain/chat';
import { startTestApp, type TestApp } from './app';
import { setClock } from './database';
import { createUser, type TestUser } from './factories';
import { createFixture, type Fixture } from './stream-fixture';
import { settledRows, type UsageRow } from './usage-rows';
import type { StreamEvent } from '../../src/domain/stream-events';
import type { ChatReply } from '../../src/domain/outcome';
import type { Refusal } from '../../src/domain/refusal';

/** An answer with everything that an answer can have. */
export const FULL = [
  { reasoning: 'Hm. ' },
  'It is ',
  '42',
  { toolCall: { index: 0, id: 'tool_1', name: 'look', arguments: '{"a"' } },
  { toolCall: { index: 0, arguments: ':1}' } },
];
export const CONTEXT = { door: 'GRAPHQL' as const, fieldsAt: 'input', requestId: 'test', traceparentId: null };
/** A model whose price is known. */
export const PRICED = 'gpt-4o-mini';
/** Whole answers, with all that repetitions must not change. */
export const KEYED = `mutation Keyed($input: ChatInput!) {
  chat(input: $input) {
    __typename
    ... on ChatReply { replayed finishReason latencyMs answer { id content reasoning createdAt toolCalls { name arguments } } call { id status at latencyMs } usage { totalTokens source } cost { total } route { model servedModel } conversation { id createdAt } }
    ... on Refusal { code message retryable retryAfterMs }
    ... on IdempotencyConflict { firstUsedAt }
    ... on UpstreamFailed { callId }
  }
}`;

let serial = 0;
export const newKey = (): string => `key-${(serial += 1)}`;
export const input = (content: string, idempotencyKey: string, more: Partial<ChatInput> = {}): ChatInput => ({
  model: 'test-chat',
  scenario: 'DEFAULT',
  messages: [{ role: 'USER', content }],
  idempotencyKey,
  ...more,
});

export async function replyOf(answer: Promise<ChatReply | Refusal>): Promise<ChatReply> {
  const reply = await answer;
  if (reply.kind !== 'ChatReply') throw new Error(`refused: ${JSON.stringify(reply)}`);
  return reply;
}
export async function collect(events: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const all: StreamEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}
export const textIn = (events: StreamEvent[], kind: 'TextDelta' | 'ReasoningDelta' = 'TextDelta'): string =>
  events.map((event) => (event.kind === kind ? event.text : '')).join('');
/** Contiguous numbers from 1 on, one start, one end. */
export function expectWellFormed(events: StreamEvent[]): void {
  let next = 1;
  for (const event of events) {
    expect(event.fromSeq).toBe(next);
    expect(event.seq).toBeGreaterThanOrEqual(event.fromSeq);
    next = event.seq + 1;
  }
  expect(events.filter(({ kind }) => kind === 'StreamStarted')).toHaveLength(1);
  expect(events[0]!.kind).toBe('StreamStarted');
  expect(events.filter(({ kind }) => /^Stream(Completed|Stopped|Failed|Refused)$/.test(kind))).toEqual([events.at(-1)]);
}

export interface KeyedScene {
  readonly fixture: Fixture;
  /** Another replica on the same database. */
  readonly second: TestApp;
  /** A new user for each test. */
  readonly member: TestUser;
  chat(asked: ChatInput, app?: TestApp, user?: TestUser): Promise<ChatReply | Refusal>;
  stream(asked: ChatInput, app?: TestApp): Promise<AsyncIterableIterator<StreamEvent>>;
  /** Completions that the provider was asked for. */
  asked(): number;
  rowsOf(user?: TestUser): Promise<UsageRow[]>;
  keyRows(): Promise<unknown[]>;
}

/** Two replicas on one database, and a user of its own for each test. To be called within `describe`. */
export function useKeyedScene(): KeyedScene {
  let fixture: Fixture;
  let second: TestApp;
  let member: TestUser;
  beforeAll(async () => {
    fixture = await createFixture({ provider: { models: ['test-chat', 'test-small', PRICED].map((id) => ({ id })) } });
    second = await startTestApp({ database: fixture.database, upstream: fixture.provider });
  });
  afterAll(async () => {
    await second.stop();
    await fixture.close();
  });
  beforeEach(async () => {
    member = await createUser(fixture.database.db, { organizationId: fixture.organizationId, planId: fixture.planId });
  });
  afterEach(() => setClock(fixture.database.db, null));
  return {
    get fixture() {
      return fixture;
    },
    get second() {
      return second;
    },
    get member() {
      return member;
    },
    chat: (question, app = fixture.app, user = member) => app.services.chat.chat(user.viewer, question, CONTEXT),
    stream: (question, app = fixture.app) => app.services.chat.stream(member.viewer, question, CONTEXT),
    asked: () => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').length,
    rowsOf: async (user = member) => (await settledRows(fixture.database.db)).filter((row) => row.user_id === user.id),
    keyRows: () => fixture.database.db.query('SELECT key FROM idempotency_keys WHERE user_id = $1', [member.id]),
  };
}
