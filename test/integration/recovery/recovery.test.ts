import { setClock } from '../../support/database';
import { AT_ONCE_MS, waitFor } from '../../support/wait';
import { question, record, RecoveryScene } from './recovery-scene';

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

describe('a call of a dead owner', () => {
  it('without a proxy ends as LOST with what its stream had written down: tokens and price, its answer, its key, no hold', async () => {
    const budget = await scene.budget();
    const asked = await question(scene);
    const call = await scene.admit({
      hold: '5000',
      question: asked,
      idempotency: { key: 'k', inputHash: 'ab'.repeat(32) },
    });
    await scene.checkpoint(call.id, {
      content: 'Half an ',
      reasoning: 'Hm.',
      completionTokens: 9,
      servedModel: 'fallback',
      deployment: 'f-1',
    });
    await scene.checkpoint(call.id, { number: 2, content: 'answer', completionTokens: 12 });
    expect(await scene.period(budget)).toMatchObject({ spent: 0, held: 5_000 });
    await scene.declareDead();
    await scene.recovery({ direct: true }).recovery.look();

    const [row, ...more] = await scene.usage(call.id);
    expect(more).toEqual([]);
    expect(row).toMatchObject({
      status: 'LOST',
      usage_source: 'ESTIMATED',
      error_code: null,
      model: 'm',
      served_model: 'fallback',
      deployment: 'f-1',
      prompt_tokens: 10,
      completion_tokens: 12,
      reasoning_tokens: 2,
      cost: '1210',
      price_number: '1',
      budget_ids: [budget],
      latency_ms: null,
    });
    expect(await scene.period(budget)).toMatchObject({ spent: 1_210, held: 0 });
    expect(
      await scene.db.query(
        'SELECT role, content, reasoning, complete, parent_id, call_id, superseded FROM messages WHERE call_id IS NOT NULL',
      ),
    ).toEqual([
      {
        role: 'ASSISTANT',
        content: 'Half an answer',
        reasoning: 'Hm.',
        complete: false,
        parent_id: asked.messages[0]!.id,
        call_id: call.id,
        superseded: false,
      },
    ]);
    const [key] = await scene.db.query<any>('SELECT stored, expires_at FROM idempotency_keys');
    expect(key).toMatchObject({
      stored: { status: 'FAILED', refusal: { retryable: false, callId: call.id } },
      expires_at: expect.any(Date),
    });
    expect([await scene.isInFlight(call.id), await scene.db.query('SELECT FROM call_checkpoints')]).toEqual([
      false,
      [],
    ]);
  });

  it.each([
    ['a stream without a checkpoint', { streamed: true }, 10 + 1_024 * 100],
    ['a short stream without a checkpoint', { streamed: true, maxTokens: 50 }, 10 + 50 * 100],
    ['a whole answer', { streamed: false }, 10 + 5_000 * 100],
  ])('without a proxy is booked with the most that it can have used: %s', async (_name, fields, cost) => {
    const call = await scene.admit(fields);
    await scene.declareDead();
    await scene.recovery({ direct: true }).recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([
      { status: 'LOST', usage_source: 'ESTIMATED', cost: String(cost) },
    ]);
  });

  it("ends with the proxy's record, priced by our book and by who served it; what it says of the status is not believed", async () => {
    const call = await scene.admit({ upstream: 'LITELLM' });
    await scene.checkpoint(call.id);
    scene.records.byCall.set(
      call.id,
      record({ servedModel: 'fallback', deployment: 'f-1', attempts: 3, prompt: 8, output: 6 }),
    );
    await scene.declareDead();
    await scene.recovery().recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([
      {
        status: 'LOST',
        usage_source: 'RECONCILED',
        served_model: 'fallback',
        deployment: 'f-1',
        attempts: 3,
        prompt_tokens: 8,
        completion_tokens: 6,
        cost: '608',
        proxy_cost: '0.5',
        raw_usage: { prompt_tokens: 7 },
      },
    ]);
  });

  it("ends without tokens and cost where the record says that the proxy's cache has answered", async () => {
    const budget = await scene.budget();
    const call = await scene.admit({ upstream: 'LITELLM', hold: '5000' });
    await scene.checkpoint(call.id);
    scene.records.byCall.set(
      call.id,
      record({ servedModel: 'fallback', deployment: 'f-1', prompt: 8, output: 6, cost: '0', fromCache: true }),
    );
    await scene.declareDead();
    await scene.recovery().recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([
      {
        status: 'LOST',
        usage_source: 'CACHE',
        served_model: 'fallback',
        deployment: 'f-1',
        total_tokens: 0,
        cost: '0',
        proxy_cost: '0',
        raw_usage: { prompt_tokens: 7 },
      },
    ]);
    expect(await scene.period(budget)).toMatchObject({ spent: 0, held: 0 });
  });

  it('is of the model that its last checkpoint names, of which no deployment is known: the first one had only begun', async () => {
    const call = await scene.admit();
    await scene.checkpoint(call.id, { servedModel: 'm', deployment: 'm-1' });
    await scene.checkpoint(call.id, { number: 2, servedModel: 'fallback', deployment: null });
    await scene.declareDead();
    await scene.recovery({ direct: true }).recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([{ served_model: 'fallback', deployment: null }]);
  });

  it('does not end with a record that another key has paid for: its checkpoint counts', async () => {
    const [stolen, own] = [await scene.admit({ upstream: 'LITELLM' }), await scene.admit({ upstream: 'LITELLM' })];
    const [installation] = await scene.db.query<{ id: string }>('SELECT id FROM installation');
    for (const [{ id }, user] of [
      [stolen, scene.world.analyst],
      [own, scene.world.member],
    ] as const) {
      await scene.checkpoint(id);
      scene.records.byCall.set(id, record({ prompt: 8, output: 600 }));
      scene.records.payers.set(id, { keyAlias: `weir-${installation!.id}-${user.id}`, teamId: null });
    }
    await scene.declareDead();
    await scene.recovery().recovery.look();
    expect(await scene.usage(stolen.id)).toMatchObject([{ usage_source: 'ESTIMATED', completion_tokens: 3 }]);
    expect(await scene.usage(own.id)).toMatchObject([{ usage_source: 'RECONCILED', completion_tokens: 600 }]);
  });

  it('does not end with figures that cannot be of it: its checkpoint counts, else the most that it can have used', async () => {
    const [streamed, whole] = [
      await scene.admit({ upstream: 'LITELLM' }),
      await scene.admit({ upstream: 'LITELLM', streamed: false }),
    ];
    await scene.checkpoint(streamed.id);
    for (const { id } of [streamed, whole]) scene.records.byCall.set(id, record({ output: 90_000_000 }));
    await scene.declareDead();
    await scene.recovery().recovery.look();
    expect(await scene.usage(streamed.id)).toMatchObject([{ usage_source: 'ESTIMATED', completion_tokens: 3 }]);
    expect(await scene.usage(whole.id)).toMatchObject([{ usage_source: 'ESTIMATED', completion_tokens: 5_000 }]);
  });

  it('is asked for at the proxy until its record must have come, before its checkpoint counts', async () => {
    const call = await scene.admit({ upstream: 'LITELLM' });
    await scene.checkpoint(call.id);
    await scene.declareDead();
    const { recovery } = scene.recovery({ timing: { recordDelayMs: MINUTE } });
    await recovery.look();
    expect([scene.records.asked, await scene.isInFlight(call.id)]).toEqual([[call.id], true]);
    const later = scene.recovery({ timing: { recordDelayMs: 30 } });
    await later.recovery.look();
    await waitFor(async () => {
      await later.recovery.look();
      return !(await scene.isInFlight(call.id));
    });
    expect(await scene.usage(call.id)).toMatchObject([
      { status: 'LOST', usage_source: 'ESTIMATED', completion_tokens: 3 },
    ]);
  });

  it('does not wait for a proxy that is away where there is a checkpoint: its record is asked for later', async () => {
    const [streamed, unknown] = [
      await scene.admit({ upstream: 'LITELLM' }),
      await scene.admit({ upstream: 'LITELLM' }),
    ];
    await scene.checkpoint(streamed.id);
    await scene.declareDead();
    scene.records.away = true;
    await at(20);
    await scene.recovery().recovery.look();
    expect(await scene.usage(streamed.id)).toMatchObject([{ usage_source: 'ESTIMATED' }]);
    expect(await scene.isInFlight(unknown.id)).toBe(true);
  });

  it('ends once, however many look at the same time', async () => {
    const budget = await scene.budget();
    const calls = await Promise.all(Array.from({ length: 20 }, () => scene.admit({ hold: '2000' })));
    for (const { id } of calls) await scene.checkpoint(id);
    await scene.declareDead();
    const all = Array.from({ length: 4 }, () => scene.recovery({ direct: true }));
    await Promise.all(all.map(({ recovery }) => recovery.look()));
    for (const { id } of calls) expect(await scene.usage(id)).toHaveLength(1);
    expect(await scene.period(budget)).toEqual({ spent: 20 * 310, held: 0, overage: 0 });
    expect(all.reduce((sum, { logger }) => sum + ((logger.lines[0]?.fields as any)?.estimated ?? 0), 0)).toBe(20);
  });

  it('is left alone while its end waits in our journal', async () => {
    const call = await scene.admit();
    await scene.declareDead();
    const { recovery, pending } = scene.recovery({ direct: true });
    pending.add(call.id);
    await recovery.look();
    expect(await scene.isInFlight(call.id)).toBe(true);
  });

  it('is found as soon as the death is declared', async () => {
    const call = await scene.admit();
    const { recovery, die, logger } = scene.recovery({ direct: true });
    recovery.start();
    await recovery.look();
    await scene.declareDead();
    die();
    await waitFor(async () => !(await scene.isInFlight(call.id)), {
      deadlineMs: AT_ONCE_MS,
      what: 'the call to be found',
    });
    await recovery.stop();
    expect(logger.lines).toEqual([
      expect.objectContaining({
        level: 'warn',
        fields: expect.objectContaining({ estimated: 1 }),
        message: 'recovery has settled or cleaned up calls',
      }),
    ]);
  });

  it('among more than one batch is found, and those that wait keep no other from it', async () => {
    const waiting = await Promise.all(Array.from({ length: 120 }, () => scene.admit({ upstream: 'LITELLM' })));
    const last = await scene.admit({ upstream: 'LITELLM' });
    scene.records.byCall.set(last.id, record());
    await scene.declareDead();
    await scene.recovery().recovery.look();
    expect([await scene.isInFlight(last.id), await scene.isInFlight(waiting[0]!.id)]).toEqual([false, true]);
  });
});

describe('a lost call without record and checkpoint', () => {
  it('is without cost only behind the deadline and the delay of the proxy, and when the proxy has written a later record', async () => {
    const budget = await scene.budget();
    // Its deadline is at 10.
    const call = await scene.admit({ upstream: 'LITELLM', streamed: false, hold: '600000' });
    await scene.declareDead();
    const look = async (minutes: number, newestMinute: number | null): Promise<boolean> => {
      // Another one, whose deadline is long past: what is asked for it says nothing about the call.
      await scene.admit({ upstream: 'LITELLM', deadlineMs: 1, userId: scene.world.analyst.id });
      await at(minutes);
      scene.records.newestAgeMs = newestMinute === null ? null : (minutes - newestMinute) * MINUTE;
      await scene.recovery().recovery.look();
      return scene.isInFlight(call.id);
    };
    expect(await look(1, 1)).toBe(true);
    // The provider may work until the deadline, and the record be a little late.
    expect(await look(9.8, 9.8)).toBe(true);
    expect(await look(10.4, 10.3)).toBe(true);
    // Nothing later was written: perhaps nothing is written at all.
    expect(await look(11, 9.9)).toBe(true);
    expect(await look(60, null)).toBe(true);
    expect(await scene.period(budget)).toMatchObject({ held: 600_000 });
    expect(await look(61, 10.1)).toBe(false);
    expect(await scene.usage(call.id)).toMatchObject([
      { status: 'LOST', usage_source: 'NONE', cost: '0', total_tokens: 0 },
    ]);
    expect(await scene.period(budget)).toMatchObject({ spent: 0, held: 0 });
  });

  it('is not without cost when its record came with the later one', async () => {
    const call = await scene.admit({ upstream: 'LITELLM' });
    await scene.declareDead();
    await at(20);
    scene.records.newestAgeMs = 0;
    // The proxy writes its batch in the moment in which it is asked for the newest record.
    scene.records.onNewest = () => scene.records.byCall.set(call.id, record());
    await scene.recovery().recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([{ usage_source: 'RECONCILED', cost: '507' }]);
  });

  it('is booked with the most that it can have used when the proxy has told nothing for a day, and a person is warned', async () => {
    const call = await scene.admit({ upstream: 'LITELLM', streamed: true });
    await scene.declareDead();
    await at(24 * 60);
    await scene.recovery().recovery.look();
    expect(await scene.isInFlight(call.id)).toBe(true);
    await at(24 * 60 + 11);
    const { recovery, logger } = scene.recovery();
    await recovery.look();
    expect(await scene.usage(call.id)).toMatchObject([{ status: 'LOST', usage_source: 'ESTIMATED', cost: '500010' }]);
    expect(logger.lines).toContainEqual(expect.objectContaining({ level: 'warn', fields: { callId: call.id } }));
  });

  it('that the proxy refused is without cost at once; one whose usage the record does not tell is booked with the most', async () => {
    const [refused, untold] = [
      await scene.admit({ upstream: 'LITELLM' }),
      await scene.admit({ upstream: 'LITELLM', streamed: false }),
    ];
    scene.records.byCall.set(refused.id, record({ prompt: 0, output: 0, cost: null }));
    scene.records.byCall.set(untold.id, { ...record(), tokens: null });
    await scene.declareDead();
    await scene.recovery().recovery.look();
    expect(await scene.usage(refused.id)).toMatchObject([{ status: 'LOST', usage_source: 'NONE', cost: '0' }]);
    expect(await scene.usage(untold.id)).toMatchObject([{ status: 'LOST', usage_source: 'ESTIMATED', cost: '500010' }]);
  });
});
