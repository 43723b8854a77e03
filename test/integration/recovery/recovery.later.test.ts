import { readFileSync } from 'node:fs';
import { Journal } from '../../../src/services/recovery/journal';
import { SettlementWriter } from '../../../src/services/recovery/settlement-writer';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import { setClock } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { waitFor } from '../../support/wait';
import { record, RecoveryScene } from './recovery-scene';
import { callFacts } from '../../support/call-ends';
import type { Settlement } from '../../../src/domain/call';

const MINUTE = 60_000;
const START = '2026-11-21T12:00:00Z';
/** The database's clock. */
const at = (minutes: number): Promise<void> =>
  setClock(scene.db, new Date(Date.parse(START) + minutes * MINUTE).toISOString());

let scene: RecoveryScene;
beforeEach(async () => {
  scene = await RecoveryScene.create();
  await at(0);
});
afterEach(() => scene.database.close());

describe('what is known later', () => {
  const lose = async (fields: Parameters<RecoveryScene['admit']>[0] = {}): Promise<string> => {
    const call = await scene.admit({ upstream: 'LITELLM', hold: '5000', ...fields });
    await scene.checkpoint(call.id);
    await scene.declareDead();
    await scene.recovery().recovery.look();
    return call.id;
  };

  it('a record that comes late becomes a correction: two further rows, and the budget has the difference; nothing is updated', async () => {
    const budget = await scene.budget();
    const id = await lose();
    expect(await scene.period(budget)).toMatchObject({ spent: 310, held: 0 });
    scene.records.byCall.set(id, record({ prompt: 9, output: 4 }));
    const { recovery, logger } = scene.recovery();
    await recovery.look();
    // Not yet: it was asked for a moment ago.
    expect(await scene.usage(id)).toHaveLength(1);
    await at(1.1);
    await recovery.look();
    expect(await scene.usage(id)).toMatchObject([
      { id, kind: 'CALL', status: 'LOST', usage_source: 'ESTIMATED', cost: '310' },
      { kind: 'REVERSAL', corrects_id: id, cost: '-310', correction_reason: 'SPEND_RECORD' },
      {
        kind: 'CORRECTION',
        corrects_id: id,
        status: 'LOST',
        usage_source: 'RECONCILED',
        cost: '409',
        prompt_tokens: 9,
        completion_tokens: 4,
        proxy_cost: '0.5',
        budget_ids: [budget],
      },
    ]);
    expect(await scene.period(budget)).toEqual({ spent: 409, held: 0, overage: 0 });
    expect(logger.lines.at(-1)!.fields).toMatchObject({ corrected: 1 });

    // Known now: not asked for again.
    scene.records.asked.length = 0;
    for (const minutes of [6, 31, 361]) {
      await at(minutes);
      await recovery.look();
    }
    expect([scene.records.asked, (await scene.usage(id)).length]).toEqual([[], 3]);
  });

  it('a record that another key has paid for, or whose figures cannot be, corrects nothing', async () => {
    const [stolen, absurd, paid] = [await lose(), await lose(), await lose()];
    const [installation] = await scene.db.query<{ id: string }>('SELECT id FROM installation');
    scene.records.byCall
      .set(stolen, record())
      .set(absurd, record({ output: 90_000_000 }))
      .set(paid, record());
    scene.records.payers.set(stolen, { keyAlias: `weir-${installation!.id}-${scene.world.analyst.id}`, teamId: null });
    scene.records.payers.set(paid, {
      keyAlias: `weir-${installation!.id}-${scene.world.member.id}`,
      teamId: `weir-${installation!.id}-${scene.world.planId}`,
    });
    await at(1.1);
    await scene.recovery().recovery.look();
    expect(await Promise.all([stolen, absurd, paid].map(async (id) => (await scene.usage(id)).length))).toEqual([
      1, 1, 3,
    ]);
  });

  it("a record of an answer from the proxy's cache corrects the call to nothing, also where its figures cannot be", async () => {
    const budget = await scene.budget();
    const [id, absurd] = [await lose(), await lose()];
    scene.records.byCall
      .set(id, record({ cost: '0', fromCache: true }))
      .set(absurd, record({ output: 90_000_000, cost: '0', fromCache: true }));
    await at(1.1);
    await scene.recovery().recovery.look();
    for (const call of [id, absurd])
      expect((await scene.usage(call)).at(-1)).toMatchObject({
        kind: 'CORRECTION',
        usage_source: 'CACHE',
        total_tokens: 0,
        cost: '0',
        proxy_cost: '0',
      });
    expect(await scene.period(budget)).toMatchObject({ spent: 0, held: 0 });
  });

  it('asks four times within a day: after one, five and thirty minutes, and six hours', async () => {
    const id = await lose();
    const { recovery } = scene.recovery();
    const asked: number[] = [];
    for (const minutes of [0.5, 1.1, 2, 4, 5.1, 6, 29, 31, 32, 300, 361, 700, 1_430]) {
      scene.records.asked.length = 0;
      await at(minutes);
      await recovery.look();
      if (scene.records.asked.includes(id)) asked.push(minutes);
    }
    expect(asked).toEqual([1.1, 5.1, 31, 361]);
  });

  it('a call without cost whose record comes after all gets its cost', async () => {
    const call = await scene.admit({ upstream: 'LITELLM' });
    await scene.declareDead();
    await at(20);
    scene.records.newestAgeMs = 0;
    await scene.recovery().recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([{ usage_source: 'NONE' }]);
    scene.records.byCall.set(call.id, record());
    await at(22);
    await scene.recovery().recovery.look();
    expect((await scene.usage(call.id)).map(({ cost }) => cost)).toEqual(['0', '0', '507']);
  });

  it('an owner that was only slow corrects what others made of its call', async () => {
    const budget = await scene.budget();
    const call = await scene.admit({ hold: '5000', owner: 'slow' });
    await scene.checkpoint(call.id);
    await scene.declareDead('slow');
    await scene.recovery({ direct: true }).recovery.look();
    const end: Settlement = {
      id: call.id,
      occurredAt: call.occurredAt,
      organizationId: call.organizationId,
      userId: call.userId,
      tokenId: null,
      projectId: null,
      conversationId: null,
      agent: null,
      scenario: 'DEFAULT',
      traceId: call.traceId,
      streamed: true,
      model: 'm',
      servedModel: 'm',
      provider: null,
      deployment: null,
      upstream: 'DIRECT',
      attempts: 1,
      status: 'COMPLETED',
      errorCode: null,
      finishReason: 'STOP',
      tokens: { uncachedPrompt: 11, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 20, reasoning: 0 },
      usageSource: 'PROVIDER',
      cacheUse: 'NO',
      cachedTokens: null,
      rawUsage: null,
      serviceTier: null,
      priceBook: 1,
      priceNumber: 1,
      cost: {
        input: '11',
        cacheRead: '0',
        cacheWrite: '0',
        output: '2000',
        reasoning: '0',
        request: '0',
        total: '2011',
      },
      proxyCost: null,
      latencyMs: 90_000,
      timeToFirstTokenMs: 10,
      omittedMessages: 0,
      answer: null,
      heldOn: [],
      facts: callFacts(),
      idempotency: null,
    };
    const journal = new Journal({ home: '/nonexistent', database: 'test', logger: memoryLogger() });
    await new SettlementWriter({ store: scene.store, journal, logger: memoryLogger() }).write(end);
    expect(
      (await scene.usage(call.id)).map(({ kind, status, cost, correction_reason: why }) => [kind, status, cost, why]),
    ).toEqual([
      ['CALL', 'LOST', '310', null],
      ['REVERSAL', 'LOST', '-310', 'OWNER'],
      ['CORRECTION', 'COMPLETED', '2011', 'OWNER'],
    ]);
    expect(await scene.period(budget)).toEqual({ spent: 2_011, held: 0, overage: 0 });
  });
});

describe('a call of ours', () => {
  const mine = { owner: 'me' };

  it('that nobody knows, because the answer of its admission was lost, ends as never asked: no hold, no cost, the key is free', async () => {
    const budget = await scene.budget();
    const call = await scene.admit({ ...mine, hold: '5000', idempotency: { key: 'k', inputHash: 'ab'.repeat(32) } });
    const { recovery } = scene.recovery(mine);
    await recovery.look();
    // Once is no proof.
    expect(await scene.isInFlight(call.id)).toBe(true);
    await recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([
      { status: 'FAILED', error_code: 'SERVICE_UNAVAILABLE', usage_source: 'NONE', cost: '0' },
    ]);
    expect(await scene.period(budget)).toEqual({ spent: 0, held: 0, overage: 0 });
    expect(await scene.db.query('SELECT FROM idempotency_keys')).toEqual([]);
  });

  it('that runs, or whose end waits to be written, is left alone, also behind its deadline', async () => {
    const [runs, waits] = [await scene.admit(mine), await scene.admit(mine)];
    const { recovery, running, pending } = scene.recovery(mine);
    running.add(runs.id);
    pending.add(waits.id);
    for (const minutes of [1, 2, 60]) {
      await at(minutes);
      await recovery.look();
    }
    expect([await scene.isInFlight(runs.id), await scene.isInFlight(waits.id)]).toEqual([true, true]);
    // As others may see it, who have not heard of us for a while.
    await scene.declareDead('me');
    await recovery.look();
    expect(await scene.isInFlight(runs.id)).toBe(true);
  });

  it('that only just begins or ends is not taken for nobody’s', async () => {
    const [begins, ends] = [await scene.admit(mine), await scene.admit(mine)];
    const { recovery, running } = scene.recovery(mine);
    await recovery.look();
    running.add(begins.id);
    await recovery.look();
    running.delete(begins.id);
    await recovery.look();
    expect(await scene.isInFlight(begins.id)).toBe(true);
    expect(await scene.usage(ends.id)).toHaveLength(1);
  });

  it('that did run, as a record shows whose figures cannot be of it, is booked with the most that it can have used', async () => {
    const call = await scene.admit({ ...mine, upstream: 'LITELLM' });
    scene.records.byCall.set(call.id, record({ output: 90_000_000 }));
    const { recovery } = scene.recovery(mine);
    await recovery.look();
    await recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([
      { status: 'LOST', usage_source: 'ESTIMATED', completion_tokens: 5_000 },
    ]);
  });

  it('that did run, and whose end could be written nowhere, is not taken for one that was never asked', async () => {
    const [streamed, recorded] = [await scene.admit(mine), await scene.admit({ ...mine, upstream: 'LITELLM' })];
    await scene.checkpoint(streamed.id);
    scene.records.byCall.set(recorded.id, record());
    const { recovery } = scene.recovery(mine);
    await recovery.look();
    await recovery.look();
    expect(await scene.usage(streamed.id)).toMatchObject([{ status: 'LOST', usage_source: 'ESTIMATED' }]);
    expect(await scene.usage(recorded.id)).toMatchObject([{ status: 'LOST', usage_source: 'RECONCILED' }]);
  });
});

describe('a call of an owner that lives', () => {
  it("is nobody else's after a jump of the database's clock by a day; only when it was watched for longer than it can run", async () => {
    await scene.db.query(`INSERT INTO owners (id) VALUES ('lives')`);
    const long = await scene.admit({ owner: 'lives' });
    const short = await scene.admit({ owner: 'lives', deadlineMs: 40 });
    const { recovery } = scene.recovery({ direct: true });
    await at(24 * 60);
    for (let i = 0; i < 3; i += 1) await recovery.look();
    await waitFor(async () => {
      await recovery.look();
      return !(await scene.isInFlight(short.id));
    });
    expect(await scene.isInFlight(long.id)).toBe(true);
    expect(await scene.usage(short.id)).toMatchObject([{ status: 'LOST', usage_source: 'ESTIMATED' }]);
  });
});

describe('the hold of a lost call', () => {
  it('does not stay for a day when the clock of the database is put back by one', async () => {
    const call = await scene.admit();
    await scene.declareDead();
    await at(-24 * 60);
    const { recovery } = scene.recovery({ direct: true, timing: { directDelayMs: 30 } });
    await recovery.look();
    expect(await scene.isInFlight(call.id)).toBe(true);
    await waitFor(async () => {
      await recovery.look();
      return !(await scene.isInFlight(call.id));
    });
  });
});

describe('what is left over', () => {
  it('stays for a while where it is what viewers of a lost stream are to be told, and then goes', async () => {
    const [lost, finished] = [await scene.admit(), await scene.admit({ owner: 'me' })];
    for (const { id } of [lost, finished]) await scene.checkpoint(id);
    await scene.declareDead();
    const { recovery } = scene.recovery({ direct: true, keptMs: 60_000 });
    await recovery.look();
    // The end of one that its own process saw end takes them with it.
    await scene.db.query(`DELETE FROM calls_in_flight WHERE id = $1`, [finished.id]);
    await recovery.look();
    expect(await scene.usage(lost.id)).toMatchObject([{ status: 'LOST' }]);
    expect(await scene.db.query('SELECT call_id FROM call_checkpoints')).toEqual([{ call_id: lost.id }]);
    await scene.db.query(`UPDATE llm_usage SET settled_at = settled_at - interval '61 seconds' WHERE id = $1`, [
      lost.id,
    ]);
    await recovery.look();
    expect(await scene.db.query('SELECT call_id FROM call_checkpoints')).toEqual([]);
  });

  it('goes: checkpoints without a call, keys whose day is over; the others stay', async () => {
    const call = await scene.admit({ idempotency: { key: 'runs', inputHash: 'ab'.repeat(32) } });
    await scene.checkpoint(call.id);
    await scene.db.query(
      `INSERT INTO call_checkpoints (organization_id, call_id, number, content, reasoning, tools, completion_tokens) SELECT 'org', 'call_orphan', n, '', '', '', 0 FROM generate_series(1, 2100) AS n`,
    );
    await scene.db
      .query(`INSERT INTO idempotency_keys (organization_id, user_id, key, input_hash, call_id, first_used_at, stored, expires_at)
      SELECT 'org', 'usr', 'old' || n, ''::bytea, 'c', weir.now() - interval '2 days', '{}'::jsonb, weir.now() - interval '1 second' FROM generate_series(1, 2100) AS n
      UNION ALL SELECT 'org', 'usr', 'kept', ''::bytea, 'c', weir.now(), '{}'::jsonb, weir.now() + interval '1 second'`);
    const { recovery, logger } = scene.recovery({ direct: true });
    await recovery.look();
    expect(await scene.db.query('SELECT call_id FROM call_checkpoints')).toEqual([{ call_id: call.id }]);
    expect((await scene.db.query('SELECT key FROM idempotency_keys ORDER BY key')).map(({ key }) => key)).toEqual([
      'kept',
      'runs',
    ]);
    expect(logger.lines).toMatchObject([{ level: 'info', fields: { checkpointsRemoved: 2_100, keysRemoved: 2_100 } }]);
  });

  it('a step that fails keeps no other from being done, and a look never throws', async () => {
    const store = new RecoveryStore(scene.db);
    store.lost = async () => {
      throw new Error('no');
    };
    await scene.db.query(
      `INSERT INTO call_checkpoints (organization_id, call_id, number, content, reasoning, tools, completion_tokens) VALUES ('org', 'call_orphan', 1, '', '', '', 0)`,
    );
    const { recovery, logger } = scene.recovery({ direct: true, store });
    await recovery.look();
    expect(await scene.db.query('SELECT FROM call_checkpoints')).toEqual([]);
    expect(logger.lines.map(({ message }) => message)).toEqual([
      'a step of recovery failed, and is tried again with the next look',
      'recovery has settled or cleaned up calls',
    ]);
  });

  it('a quiet look logs nothing', async () => {
    const { recovery, logger } = scene.recovery();
    await recovery.look();
    expect(logger.lines).toEqual([]);
  });
});

it('the SQL that docs/recovery.md gives an operator runs, and shows what it says', async () => {
  const statements = [...readFileSync('docs/recovery.md', 'utf8').matchAll(/```sql\n([\s\S]*?)```/g)].flatMap(
    ([, block]) =>
      block!
        .split(';')
        .map((one) => one.trim())
        .filter(Boolean),
  );
  expect(statements).toHaveLength(4);
  await setClock(scene.db, null);
  const [lost, waits] = [await scene.admit({ upstream: 'LITELLM' }), await scene.admit({ upstream: 'LITELLM' })];
  await scene.checkpoint(lost.id);
  await scene.declareDead();
  await scene.recovery().recovery.look();
  const [settled] = await new RecoveryStore(scene.db).lostWithoutRecord(1);
  const end = (await new RecoveryStore(scene.db).settledCall(settled!))!;
  await scene.store.correct(
    [
      {
        ...end,
        priceBook: 1,
        usageSource: 'RECONCILED',
        tokens: record().tokens!,
        cacheUse: 'NO',
        cachedTokens: null,
        cost: {
          input: '7',
          cacheRead: '0',
          cacheWrite: '0',
          output: '500',
          reasoning: '0',
          request: '0',
          total: '507',
        },
      },
    ],
    'SPEND_RECORD',
  );
  const [owners, dead, rows, corrections] = await Promise.all(
    statements.map((statement) => scene.db.query<any>(statement)),
  );
  expect(owners).toMatchObject([{ id: 'gone', calls: '1' }]);
  expect(dead).toMatchObject([{ id: waits.id }]);
  expect(rows).toMatchObject([{ id: lost.id, usage_source: 'ESTIMATED', cost: '310' }]);
  expect(corrections).toMatchObject([
    { corrects_id: lost.id, booked: '310', true_cost: '507', correction_reason: 'SPEND_RECORD' },
  ]);
});
