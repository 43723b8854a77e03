import {
  keepOutcome,
  lostOutcome,
  outcomeOf,
  reviveChatReply,
  reviveOutcome,
  storeOutcome,
  type CallOutcome,
  type ChatReply,
} from '../../../src/domain/outcome';
import { call, conversation, message, reply as stubReply } from '../resolvers/stub-context';
import { Answer } from '../../../src/services/pipeline/operations/answer';
import { collectorHooks } from '../../support/collector-hooks';
import type { Refusal } from '../../../src/domain/refusal';

const refusal: Refusal = {
  kind: 'RateLimited',
  code: 'RATE_LIMITED',
  message: 'm',
  retryable: true,
  retryAfterMs: 7,
  origin: 'PROVIDER',
  dimension: 'TOKENS',
};
const reply = (fields: Partial<ChatReply> = {}): ChatReply => ({ ...stubReply(), replayed: false, ...fields });
const full = reply({
  conversation: conversation({
    createdAt: new Date('2026-01-02T03:04:05.678Z'),
    updatedAt: new Date('2026-02-02T03:04:05.001Z'),
  }),
  answer: message({
    reasoning: 'hm',
    toolCalls: [{ toolCallId: 't', name: 'f', arguments: '{"a": 1}' }],
    createdAt: new Date('2026-03-02T03:04:05.999Z'),
  }),
});
/** As jsonb gives it back: plain, and in another order of fields. */
const throughTheDatabase = (stored: unknown): unknown => {
  const turned = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(turned)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([name, field]) => [name, turned(field)]),
          )
        : value;
  return turned(JSON.parse(JSON.stringify(stored)));
};

describe('the stored end of a call', () => {
  it.each<[string, CallOutcome, CallOutcome]>([
    ['COMPLETED', { status: 'COMPLETED', reply: full }, { status: 'COMPLETED', reply: { ...full, replayed: true } }],
    [
      'without conversation and price',
      { status: 'COMPLETED', reply: reply({ cost: null }) },
      { status: 'COMPLETED', reply: reply({ cost: null, replayed: true }) },
    ],
    [
      'STOPPED',
      { status: 'STOPPED', reply: full, reason: 'ADMINISTRATOR' },
      { status: 'STOPPED', reply: { ...full, replayed: true }, reason: 'ADMINISTRATOR' },
    ],
    [
      'FAILED with a part of the answer',
      { status: 'FAILED', refusal, partial: full },
      { status: 'FAILED', refusal, partial: { ...full, replayed: true } },
    ],
    ['FAILED with nothing', { status: 'FAILED', refusal, partial: null }, { status: 'FAILED', refusal, partial: null }],
  ])('%s is read back as it was told, and marked as replayed', (_name, outcome, expected) => {
    // Ids differ from one stub to the next.
    const ids = <T>(value: T): T => JSON.parse(JSON.stringify(value).replace(/(call|msg|conv)_[a-z0-9]+/g, '$1')) as T;
    const read = reviveOutcome(throughTheDatabase(storeOutcome(outcome)), reviveChatReply);
    expect(ids(read)).toEqual(ids(expected));
    const whole = read.status === 'FAILED' ? read.partial : read.reply;
    if (whole === null) return;
    expect(whole.call.occurredAt).toBeInstanceOf(Date);
    expect(whole.answer.createdAt).toBeInstanceOf(Date);
    if (whole.conversation)
      expect([whole.conversation.createdAt, whole.conversation.updatedAt]).toEqual([
        full.conversation!.createdAt,
        full.conversation!.updatedAt,
      ]);
  });

  it('of a lost call can be paid for again only with a new key', () => {
    for (const [streamed, code] of [
      [true, 'STREAM_INTERRUPTED'],
      [false, 'UPSTREAM_FAILED'],
    ] as const) {
      const outcome = reviveOutcome(
        throughTheDatabase(storeOutcome(lostOutcome('call_1', 'DIRECT', streamed))),
        reviveChatReply,
      );
      expect(outcome).toMatchObject({
        status: 'FAILED',
        partial: null,
        refusal: {
          kind: 'UpstreamFailed',
          code,
          retryable: false,
          retryAfterMs: null,
          callId: 'call_1',
          upstream: 'DIRECT',
        },
      });
      expect((outcome as Extract<CallOutcome, { status: 'FAILED' }>).refusal.message).toMatch(
        /paid.*new idempotency key/,
      );
    }
  });

  it('is kept when money was spent or may have been, and frees the key when nothing was', () => {
    for (const usageSource of ['PROVIDER', 'ESTIMATED', 'RECONCILED'] as const)
      for (const status of ['COMPLETED', 'STOPPED', 'FAILED', 'LOST'] as const)
        expect(keepOutcome({ status, usageSource })).toBe(true);
    for (const status of ['STOPPED', 'FAILED'] as const)
      for (const usageSource of ['NONE', 'CACHE'] as const) expect(keepOutcome({ status, usageSource })).toBe(false);
    for (const status of ['COMPLETED', 'LOST'] as const)
      expect(keepOutcome({ status, usageSource: 'CACHE' })).toBe(true);
    for (const status of ['LOST', 'COMPLETED'] as const)
      expect(keepOutcome({ status, usageSource: 'NONE' })).toBe(true);
  });

  it('says who stopped it, and what came before it failed', () => {
    const stopped = reply({ call: call({ status: 'STOPPED' }) });
    expect(outcomeOf(stopped, { isEmpty: false, refusal: null, stopReason: 'DEADLINE' })).toEqual({
      status: 'STOPPED',
      reply: stopped,
      reason: 'DEADLINE',
    });
    expect(outcomeOf(full, { isEmpty: false, refusal, stopReason: null })).toEqual({
      status: 'FAILED',
      refusal,
      partial: full,
    });
    expect(outcomeOf(full, { isEmpty: true, refusal, stopReason: null })).toEqual({
      status: 'FAILED',
      refusal,
      partial: null,
    });
  });
});

it('an answer is empty as long as nothing of it could be shown', () => {
  const answer = new Answer(collectorHooks());
  expect(answer.isEmpty).toBe(true);
  answer.toolCall(0, 't', 'f', '');
  expect(answer.isEmpty).toBe(false);
});
