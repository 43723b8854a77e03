import { newId } from '../../../src/lib/ids';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import type { Admission, NewCall, Settlement } from '../../../src/domain/call';
import { ConversationStore } from '../../../src/services/conversations/conversation.store';
import { Idempotency } from '../../../src/services/idempotency/idempotency';
import { IdempotencyStore } from '../../../src/services/idempotency/idempotency.store';
import { lostOutcome, storeOutcome } from '../../../src/domain/outcome';
import { PeopleStore } from '../../../src/services/accounts/people.store';
import { RunningCalls } from '../../../src/services/pipeline/running-calls';
import { openDatabase, type Db } from '../../../src/database/pool';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createUser, createWorld, type TestUser, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';
import { callFacts } from '../../support/call-ends';

const HASH = 'a'.repeat(64);
const OTHER_HASH = 'b'.repeat(64);
const STORED = { status: 'FAILED', refusal: { code: 'RATE_LIMITED' }, partial: null };

describe('an idempotency key in the database', () => {
  let database: TestDatabase;
  let world: World;
  let user: TestUser;
  let calls: LedgerStore;
  let idempotency: Idempotency;
  let keys: IdempotencyStore;
  const others: Db[] = [];
  beforeAll(async () => {
    database = await createTestDatabase();
    world = await createWorld(database.db);
    calls = new LedgerStore(database.db);
    await calls.ensurePartitions(3);
    keys = new IdempotencyStore(database.db);
    idempotency = new Idempotency({ store: keys, running: new RunningCalls(), logger: memoryLogger(), totalMs: 1_000 });
  });
  afterAll(async () => {
    idempotency.stop();
    await Promise.all(others.map((db) => db.close()));
    await database.close();
  });
  beforeEach(async () => {
    user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
  });
  afterEach(() => setClock(database.db, null));

  const newCall = (fields: Partial<NewCall> = {}): NewCall => ({
    ...callFacts(),
    id: newId('call'),
    organizationId: user.organizationId,
    userId: user.id,
    tokenId: null,
    projectId: null,
    agent: null,
    scenario: 'DEFAULT',
    traceId: 't',
    model: 'test-chat',
    upstream: 'DIRECT',
    streamed: false,
    owner: 'test',
    deadlineMs: 60_000,
    question: null,
    idempotency: { key: 'k', inputHash: HASH },
    ...fields,
  });
  const endOf = (call: NewCall, admission: Admission, fields: Partial<Settlement> = {}): Settlement => ({
    id: call.id,
    occurredAt: admission.kind === 'ADMITTED' ? admission.occurredAt : '',
    organizationId: call.organizationId,
    userId: call.userId,
    tokenId: null,
    projectId: null,
    conversationId: call.question?.conversationId ?? null,
    agent: null,
    scenario: 'DEFAULT',
    traceId: 't',
    streamed: false,
    model: 'test-chat',
    servedModel: 'test-chat',
    provider: null,
    deployment: null,
    serviceTier: null,
    priceBook: 0,
    upstream: 'DIRECT',
    attempts: 1,
    status: 'COMPLETED',
    errorCode: null,
    finishReason: 'STOP',
    tokens: { uncachedPrompt: 1, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 1, reasoning: 0 },
    usageSource: 'PROVIDER',
    cacheUse: 'NO',
    cachedTokens: null,
    rawUsage: null,
    priceNumber: null,
    cost: null,
    proxyCost: null,
    latencyMs: 1,
    timeToFirstTokenMs: null,
    omittedMessages: 0,
    answer: null,
    heldOn: [],
    facts: callFacts(),
    idempotency: { key: call.idempotency!.key, stored: STORED },
    ...fields,
  });
  const admit = async (call: NewCall): Promise<Admission> => (await calls.admit([call]))[0]!;
  /** A call from its admission to its end. */
  const runCall = async (fields: Partial<NewCall> = {}, end: Partial<Settlement> = {}): Promise<NewCall> => {
    const call = newCall(fields);
    const admission = await admit(call);
    expect(admission.kind).toBe('ADMITTED');
    await calls.settle([endOf(call, admission, end)]);
    return call;
  };
  const count = async (sql: string, params: unknown[] = []): Promise<number> =>
    Number((await database.db.query<{ count: string }>(`SELECT count(*) FROM ${sql}`, params))[0]!.count);
  const keysOf = (userId: string): Promise<number> => count('idempotency_keys WHERE user_id = $1', [userId]);

  it('is claimed by one of a hundred that come at once on two replicas; the others are told of its call', async () => {
    const replica = await openDatabase({ url: database.url, poolSize: 4 }, () => {});
    others.push(replica);
    const stores = [calls, new LedgerStore(replica)];
    const admissions = await Promise.all(Array.from({ length: 100 }, (_, i) => stores[i % 2]!.admit([newCall()])));
    const [winner, ...more] = admissions.flat().filter(({ kind }) => kind === 'ADMITTED');
    expect(more).toEqual([]);
    const id = (winner as Extract<Admission, { kind: 'ADMITTED' }>).id;
    expect(admissions.flat().filter((one) => one !== winner)).toEqual(
      Array.from({ length: 99 }, () => ({ kind: 'RUNNING', callId: id })),
    );
    expect(await count('calls_in_flight WHERE user_id = $1', [user.id])).toBe(1);
    expect(await idempotency.find(user.viewer, 'k', HASH)).toEqual({ kind: 'RUNNING', callId: id });
  });

  it("is its user's alone", async () => {
    await runCall();
    const other = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
    expect(await idempotency.find(other.viewer, 'k', HASH)).toBeNull();
    expect((await admit(newCall({ userId: other.id }))).kind).toBe('ADMITTED');
  });

  it('with other input is a conflict, while its call runs and when it has ended, and says since when', async () => {
    await setClock(database.db, '2026-11-21T10:00:00Z');
    const call = newCall();
    const admission = await admit(call);
    const conflict = { kind: 'CONFLICT', firstUsedAt: new Date('2026-11-21T10:00:00Z') };
    expect(await idempotency.find(user.viewer, 'k', OTHER_HASH)).toEqual(conflict);
    expect(await admit(newCall({ idempotency: { key: 'k', inputHash: OTHER_HASH } }))).toEqual(conflict);
    await setClock(database.db, '2026-11-21T10:05:00Z');
    await calls.settle([endOf(call, admission)]);
    expect(await idempotency.find(user.viewer, 'k', OTHER_HASH)).toEqual(conflict);
    expect(await admit(newCall({ idempotency: { key: 'k', inputHash: OTHER_HASH } }))).toEqual(conflict);
    expect(await count('llm_usage WHERE user_id = $1', [user.id])).toBe(1);
    expect(await count('calls_in_flight WHERE user_id = $1', [user.id])).toBe(0);
  });

  it('gives back what was stored, for 24 hours from the end, and is free after that', async () => {
    await setClock(database.db, '2026-11-21T10:00:00Z');
    const call = newCall();
    const admission = await admit(call);
    // The day begins with the end, not with the call.
    await setClock(database.db, '2026-11-21T12:00:00Z');
    await calls.settle([endOf(call, admission)]);
    const replay = { kind: 'REPLAY', callId: call.id, stored: STORED };
    await setClock(database.db, '2026-11-22T11:59:59.999Z');
    expect(await idempotency.find(user.viewer, 'k', HASH)).toEqual(replay);
    expect(await admit(newCall())).toEqual(replay);
    await setClock(database.db, '2026-11-22T12:00:00Z');
    expect(await idempotency.find(user.viewer, 'k', HASH)).toBeNull();
    const again = newCall({ idempotency: { key: 'k', inputHash: OTHER_HASH } });
    expect((await admit(again)).kind).toBe('ADMITTED');
    expect(await idempotency.find(user.viewer, 'k', OTHER_HASH)).toEqual({ kind: 'RUNNING', callId: again.id });
    // What an older call of the key says now is nobody's answer.
    await calls.settle([endOf(call, admission)]);
    expect(await idempotency.find(user.viewer, 'k', OTHER_HASH)).toEqual({ kind: 'RUNNING', callId: again.id });
  });

  it('is free again where the end keeps nothing', async () => {
    await runCall({}, { status: 'FAILED', usageSource: 'NONE', idempotency: { key: 'k', stored: null } });
    expect(await idempotency.find(user.viewer, 'k', HASH)).toBeNull();
    expect(await keysOf(user.id)).toBe(0);
    expect((await admit(newCall({ idempotency: { key: 'k', inputHash: OTHER_HASH } }))).kind).toBe('ADMITTED');
  });

  it('and its usage row are written together or not at all', async () => {
    const call = newCall();
    const admission = await admit(call);
    await database.db.query(
      `CREATE FUNCTION refuse_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the answer cannot be stored'; END $$`,
    );
    await database.db.query(
      'CREATE TRIGGER refuse_key BEFORE UPDATE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION refuse_key()',
    );
    try {
      await expect(calls.settle([endOf(call, admission)])).rejects.toThrow('the answer cannot be stored');
      expect(await count('llm_usage WHERE id = $1', [call.id])).toBe(0);
      expect(await count('calls_in_flight WHERE id = $1', [call.id])).toBe(1);
      expect(await idempotency.find(user.viewer, 'k', HASH)).toEqual({ kind: 'RUNNING', callId: call.id });
    } finally {
      await database.db.query('DROP TRIGGER refuse_key ON idempotency_keys');
    }
    await calls.settle([endOf(call, admission)]);
    expect(await count('llm_usage WHERE id = $1', [call.id])).toBe(1);
    expect(await idempotency.find(user.viewer, 'k', HASH)).toEqual({ kind: 'REPLAY', callId: call.id, stored: STORED });
  });

  it('of a call whose process died is answered, and says that it may have been paid for', async () => {
    const call = newCall({ owner: 'dead', streamed: true });
    const admission = await admit(call);
    const waiting = idempotency.follow(user.viewer, 'k', call.id);
    // What recovery does.
    const lost = lostOutcome(call.id, 'DIRECT', true);
    await calls.settle([
      endOf(call, admission, {
        status: 'LOST',
        usageSource: 'ESTIMATED',
        idempotency: { key: 'k', stored: storeOutcome(lost) },
      }),
    ]);
    expect(await waiting).toEqual({ outcome: lost });
    const found = await idempotency.find(user.viewer, 'k', HASH);
    expect(found).toMatchObject({
      kind: 'REPLAY',
      stored: { status: 'FAILED', refusal: { code: 'STREAM_INTERRUPTED', retryable: false, callId: call.id } },
    });
  });

  it('that is freed sends those who wait on', async () => {
    const call = newCall();
    const admission = await admit(call);
    const waiting = idempotency.follow(user.viewer, 'k', call.id);
    await calls.settle([
      endOf(call, admission, { status: 'FAILED', usageSource: 'NONE', idempotency: { key: 'k', stored: null } }),
    ]);
    // Somebody else was quicker.
    await admit(newCall());
    expect(await waiting).toBe('RELEASED');
  });

  it('goes with its conversation: what was said in it, and what is being said', async () => {
    const conversations = new ConversationStore(database.db);
    const make = async (): Promise<string> =>
      (
        await conversations.insert({
          id: newId('conversation'),
          organizationId: user.organizationId,
          userId: user.id,
          projectId: null,
          title: null,
        })
      ).id;
    const [id, otherId] = [await make(), await make()];
    const message = (): {
      id: string;
      role: 'USER';
      content: string;
      reasoning: null;
      parts: null;
      toolCalls: null;
      toolCallId: null;
      name: null;
    } => ({
      id: newId('message'),
      role: 'USER',
      content: 'q',
      reasoning: null,
      parts: null,
      toolCalls: null,
      toolCallId: null,
      name: null,
    });
    const question = (conversationId: string): NewCall['question'] => ({
      conversationId,
      parentId: null,
      branchIds: [],
      messages: [message()],
    });
    const say = async (key: string, conversationId: string | null): Promise<void> => {
      const asked = conversationId === null ? null : question(conversationId);
      await runCall(
        { idempotency: { key, inputHash: HASH }, question: asked },
        {
          idempotency: { key, stored: STORED },
          conversationId,
          answer: asked && {
            ...message(),
            role: 'ASSISTANT',
            toolCalls: [],
            questionId: asked.messages[0]!.id,
            complete: true,
          },
        },
      );
    };
    await say('said', id);
    await say('said elsewhere', otherId);
    await say('said nowhere', null);
    const running = newCall({ idempotency: { key: 'running', inputHash: HASH }, question: question(id) });
    const admission = await admit(running);
    const waiting = idempotency.follow(user.viewer, 'running', running.id);
    const stranger = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
    expect(await conversations.remove(stranger.viewer, id)).toBe(false);
    expect(await keysOf(user.id)).toBe(4);
    expect(await conversations.remove(user.viewer, id)).toBe(true);
    expect(
      (
        await database.db.query<{ key: string }>('SELECT key FROM idempotency_keys WHERE user_id = $1 ORDER BY key', [
          user.id,
        ])
      ).map(({ key }) => key),
    ).toEqual(['said elsewhere', 'said nowhere']);
    expect(await waiting).toBe('RELEASED');
    await calls.settle([endOf(running, admission, { idempotency: { key: 'running', stored: STORED } })]);
    expect(await keysOf(user.id)).toBe(2);
    expect(await count('llm_usage WHERE id = $1', [running.id])).toBe(1);
  });

  it('goes with its user', async () => {
    await runCall();
    const running = newCall({ idempotency: { key: 'running', inputHash: HASH } });
    const admission = await admit(running);
    await new PeopleStore().eraseUser(database.db, user, null);
    expect(await keysOf(user.id)).toBe(0);
    await calls.settle([endOf(running, admission, { idempotency: { key: 'running', stored: STORED } })]);
    expect(await keysOf(user.id)).toBe(0);
    expect(await count('llm_usage WHERE id = $1', [running.id])).toBe(1);
  });

  it('is read once for many who ask at once', async () => {
    await runCall();
    const names = Array.from({ length: 10 }, (_, i) => ({
      organizationId: user.organizationId,
      userId: user.id,
      key: i % 2 ? 'k' : 'unknown',
    }));
    const rows = await keys.read(names);
    expect(rows.map((row) => row?.inputHash ?? null)).toEqual(names.map(({ key }) => (key === 'k' ? HASH : null)));
    expect(rows[1]).toMatchObject({ ended: true, expired: false, stored: STORED });
  });

  it("holds a character of the client's that an answer cannot: what a model said is stored without it", async () => {
    await runCall(
      { idempotency: { key: '🔑 "\\ \u2028', inputHash: HASH } },
      { idempotency: { key: '🔑 "\\ \u2028', stored: { text: 'a\0b\ud800' } } },
    );
    expect(await idempotency.find(user.viewer, '🔑 "\\ \u2028', HASH)).toMatchObject({
      kind: 'REPLAY',
      stored: { text: 'a\ufffdb\ufffd' },
    });
  });
});
