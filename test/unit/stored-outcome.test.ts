import type { CallOutcome } from '../../src/services/chat/call-run';
import { keepOutcome, lostOutcome, outcomeOf, readOutcome, storedFor, storeOutcome } from '../../src/services/chat/stored-outcome';
import type { ChatReply, Refusal } from '../../src/services/chat/chat.types';
import { call, conversation, message, reply as stubReply } from './resolvers/stub-context';

const refusal: Refusal = { kind: 'RateLimited', code: 'RATE_LIMITED', message: 'm', retryable: true, retryAfterMs: 7, origin: 'PROVIDER', dimension: 'TOKENS' };
const reply = (fields: Partial<ChatReply> = {}): ChatReply => ({ ...stubReply(), replayed: false, ...fields });
const full = reply({
  conversation: conversation({ createdAt: new Date('2026-01-02T03:04:05.678Z'), updatedAt: new Date('2026-02-02T03:04:05.001Z') }),
  answer: message({ reasoning: 'hm', toolCalls: [{ toolCallId: 't', name: 'f', arguments: '{"a": 1}' }], createdAt: new Date('2026-03-02T03:04:05.999Z') }),
});
/** As jsonb gives it back: plain, and in another order of fields. */
const throughTheDatabase = (stored: unknown): unknown => {
  const turned = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(turned) : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).reverse().map(([name, field]) => [name, turned(field)])) : value;
  return turned(JSON.parse(JSON.stringify(stored)));
};

describe('the stored end of a call', () => {
  it.each<[string, CallOutcome, CallOutcome]>([
    ['COMPLETED', { status: 'COMPLETED', reply: full }, { status: 'COMPLETED', reply: { ...full, replayed: true } }],
    ['without conversation and price', { status: 'COMPLETED', reply: reply({ cost: null }) }, { status: 'COMPLETED', reply: reply({ cost: null, replayed: true }) }],
    ['STOPPED', { status: 'STOPPED', reply: full, reason: 'ADMINISTRATOR' }, { status: 'STOPPED', reply: { ...full, replayed: true }, reason: 'ADMINISTRATOR' }],
    ['FAILED with a part of the answer', { status: 'FAILED', refusal, partial: full }, { status: 'FAILED', refusal, partial: { ...full, replayed: true } }],
    ['FAILED with nothing', { status: 'FAILED', refusal, partial: null }, { status: 'FAILED', refusal, partial: null }],
  ])('%s is read back as it was told, and marked as replayed', (_name, outcome, expected) => {
    // Ids differ from one stub to the next.
    const ids = <T>(value: T): T => JSON.parse(JSON.stringify(value).replace(/(call|msg|conv)_[a-z0-9]+/g, '$1')) as T;
    const read = readOutcome(throughTheDatabase(storeOutcome(outcome)));
    expect(ids(read)).toEqual(ids(expected));
    const whole = read.status === 'FAILED' ? read.partial : read.reply;
    if (whole === null) return;
    expect(whole.call.occurredAt).toBeInstanceOf(Date);
    expect(whole.answer.createdAt).toBeInstanceOf(Date);
    if (whole.conversation) expect([whole.conversation.createdAt, whole.conversation.updatedAt]).toEqual([full.conversation!.createdAt, full.conversation!.updatedAt]);
  });

  it('of a lost call can be paid for again only with a new key', () => {
    for (const [streamed, code] of [[true, 'STREAM_INTERRUPTED'], [false, 'UPSTREAM_FAILED']] as const) {
      const outcome = readOutcome(throughTheDatabase(storeOutcome(lostOutcome('call_1', 'DIRECT', streamed))));
      expect(outcome).toMatchObject({ status: 'FAILED', partial: null, refusal: { kind: 'UpstreamFailed', code, retryable: false, retryAfterMs: null, callId: 'call_1', upstream: 'DIRECT' } });
      expect((outcome as Extract<CallOutcome, { status: 'FAILED' }>).refusal.message).toMatch(/paid.*new idempotency key/);
    }
  });

  it('is kept when money was spent or may have been, and frees the key when nothing was', () => {
    for (const usageSource of ['PROVIDER', 'ESTIMATED', 'RECONCILED'] as const) for (const status of ['COMPLETED', 'STOPPED', 'FAILED', 'LOST'] as const) expect(keepOutcome({ status, usageSource })).toBe(true);
    for (const status of ['STOPPED', 'FAILED'] as const) for (const usageSource of ['NONE', 'CACHE'] as const) expect(keepOutcome({ status, usageSource })).toBe(false);
    for (const status of ['COMPLETED', 'LOST'] as const) expect(keepOutcome({ status, usageSource: 'CACHE' })).toBe(true);
    for (const status of ['LOST', 'COMPLETED'] as const) expect(keepOutcome({ status, usageSource: 'NONE' })).toBe(true);
  });

  it('is nothing for a call without a key', () => {
    const row = { status: 'COMPLETED', usageSource: 'PROVIDER' } as const;
    const input = (idempotencyKey?: string) => ({ input: { scenario: 'DEFAULT' as const, messages: [], idempotencyKey } });
    expect(storedFor(input(), row, full, null, null)).toBeNull();
    expect(storedFor(input('k'), row, full, null, null)).toEqual(storeOutcome({ status: 'COMPLETED', reply: full }));
    expect(storedFor(input('k'), { status: 'FAILED', usageSource: 'NONE' }, full, refusal, null)).toBeNull();
  });

  it('says who stopped it, and what came before it failed', () => {
    const stopped = reply({ call: call({ status: 'STOPPED' }) });
    expect(outcomeOf(stopped, null, 'DEADLINE')).toEqual({ status: 'STOPPED', reply: stopped, reason: 'DEADLINE' });
    expect(outcomeOf(full, refusal, null)).toEqual({ status: 'FAILED', refusal, partial: full });
    expect(outcomeOf(reply({ answer: message({ content: null }) }), refusal, null)).toEqual({ status: 'FAILED', refusal, partial: null });
    const called = reply({ answer: message({ content: null, toolCalls: [{ toolCallId: 't', name: 'f', arguments: '' }] }) });
    expect(outcomeOf(called, refusal, null)).toMatchObject({ partial: called });
  });
});
