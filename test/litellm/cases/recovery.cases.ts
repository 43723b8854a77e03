import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { plausible } from '../../../src/services/ledger/bound';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { newId } from '../../../src/lib/ids';
import { Liveness } from '../../../src/services/recovery/liveness';
import { OwnersStore } from '../../../src/services/recovery/owners.store';
import { Recovery } from '../../../src/services/recovery/recovery';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { PriceBook } from '../../../src/services/pricing/price-book';
import { startAppProcess } from '../../support/app-process';
import type { TestUser } from '../../support/factories';
import type { LitellmRig } from '../../support/litellm-rig';
import { memoryLogger } from '../../support/log';
import { forever } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { SLOW_DEADLINE_MS, eventually, waitFor } from '../../support/wait';
import { connectWs, textOf } from '../../support/ws-client';

export function recoveryCases(rig: LitellmRig): void {
  let home: string;
  let admin: LitellmAdmin;
  beforeAll(() => {
    home = mkdtempSync(path.join(os.tmpdir(), 'weir-killed-'));
    admin = new LitellmAdmin({ baseUrl: rig.litellm.baseUrl, masterKey: rig.litellm.masterKey });
  });
  afterAll(async () => {
    // There is neither when the proxy did not start, which has been said then.
    await (admin as LitellmAdmin | undefined)?.close();
    if (home) rmSync(home, { recursive: true, force: true });
  });

  /** A second process that looks after the calls of others, and waits only a second for the dead. */
  const recoverer = async (owner: string): Promise<{ recovery: Recovery; stop(): Promise<void> }> => {
    const { db } = rig.database;
    const logger = memoryLogger();
    const prices = new PriceBook({ db, logger });
    await prices.start();
    const liveness = new Liveness({ store: new OwnersStore(db), owner, logger, deadAfterMs: 1_000 });
    const recovery = new Recovery({
      store: new RecoveryStore(db),
      calls: new LedgerStore(db, prices),
      liveness,
      records: admin,
      prices,
      modelOf: () => null,
      plausible,
      isRunning: () => false,
      pendingIds: () => new Set(),
      owner,
      logger,
      keptMs: 600_000,
    });
    // The other products here, which say more seldom that they live, have no calls in flight.
    await liveness.start();
    return {
      recovery,
      stop: async () => {
        await liveness.stop();
        await recovery.stop();
      },
    };
  };
  const budgetOf = async (user: TestUser): Promise<() => Promise<any>> => {
    const id = newId('budget');
    await rig.database.db.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, 'USER', $3, 'MONTH', 100)`,
      [id, user.organizationId, user.id],
    );
    return async () =>
      (await rig.database.db.query('SELECT spent, held, overage FROM budget_periods WHERE budget_id = $1', [id]))[0];
  };

  it("[53] killed in the middle of a stream: it is found by its call id and settled with the proxy's record, once, and its hold is gone", async () => {
    const { db } = rig.database;
    const user = await rig.user();
    const period = await budgetOf(user);
    const killed = await startAppProcess({
      DATABASE_URL: rig.database.url,
      LLM_BASE_URL: rig.litellm.baseUrl,
      LITELLM_MASTER_KEY: rig.litellm.masterKey,
      WEIR_SECRET_KEY: rig.secretKey,
      WEIR_HOME: home,
    });
    try {
      rig.litellm.provider.script('test-chat', {
        pieces: ['One ', 'two ', 'three.'],
        hold: { after: 2, until: forever },
      });
      const before = rig.litellm.provider.requests.length;
      const client = connectWs(killed.url, user.token);
      const stream = client.chatStream(ask('count'));
      await stream.waitFor(() => textOf(stream.events) === 'One two ');
      const { callId } = stream.events[0]!;
      await waitFor(
        async () => (await db.query('SELECT FROM call_checkpoints WHERE call_id = $1', [callId])).length > 0,
        { what: 'a checkpoint' },
      );
      const held = await period();
      expect([Number(held.spent), Number(held.held) > 0]).toEqual([0, true]);

      await killed.kill();
      await eventually(rig.litellm.provider.requests[before]!.closed, "the end of the provider's connection");
      const { recovery, stop } = await recoverer('survivor');
      try {
        await waitFor(
          async () => {
            await recovery.look();
            return (await db.query('SELECT FROM calls_in_flight WHERE id = $1', [callId])).length === 0;
          },
          { deadlineMs: SLOW_DEADLINE_MS, what: 'the end of the call' },
        );
      } finally {
        await stop();
      }
      const rows = await db.query<any>('SELECT * FROM llm_usage WHERE coalesce(corrects_id, id) = $1', [callId]);
      expect(rows).toMatchObject([
        {
          status: 'LOST',
          usage_source: 'RECONCILED',
          served_model: 'test-chat',
          deployment: 'test-chat-1',
          streamed: true,
        },
      ]);
      const [record] = await rig.litellm.spendRows(callId);
      expect(record).toMatchObject({
        status: 'success',
        metadata: {
          error_information: { error_code: '499' },
          usage_object: { prompt_tokens: rows[0].prompt_tokens, completion_tokens: rows[0].completion_tokens },
        },
      });
      expect(rows[0].completion_tokens).toBeGreaterThan(0);
      // Our price of the same tokens, exactly.
      expect(Number(rows[0].cost)).toBeCloseTo(
        rows[0].prompt_tokens * 0.0000025 + rows[0].completion_tokens * 0.00001,
        12,
      );
      const { spent, ...rest } = await period();
      expect([spent, Object.values(rest).map(Number)]).toEqual([rows[0].cost, [0, 0]]);
      // Kept for a while, for whoever resumes the stream.
      expect(await db.query('SELECT FROM call_checkpoints WHERE call_id = $1', [callId])).not.toEqual([]);
    } finally {
      await killed.kill();
    }
  });

  it('[53] of a stream that was left before its first token there is a record too, with the prompt', async () => {
    rig.litellm.provider.script('test-chat', { holdHead: forever });
    const before = rig.litellm.provider.requests.length;
    const left = new AbortController();
    const call = rig.litellm
      .complete('test-chat', { stream: true, headers: { 'x-litellm-call-id': 'call_left_early' }, signal: left.signal })
      .catch(() => null);
    await waitFor(() => rig.litellm.provider.requests[before]);
    left.abort();
    await call;
    expect(await rig.litellm.spendRows('call_left_early')).toMatchObject([{ status: 'failure', completion_tokens: 0 }]);
    const record = await admin.spendRecord('call_left_early', { prefix: 'weir-', userId: 'nobody' });
    expect(record!.tokens).toMatchObject({ uncachedPrompt: expect.any(Number), output: 0 });
    expect(record!.tokens!.uncachedPrompt).toBeGreaterThan(0);
  });

  it('[54] of a call that the proxy has not seen there is none', async () => {
    expect(await rig.litellm.ask('/spend/logs?request_id=call_never_made')).toMatchObject({ status: 200, body: [] });
    expect(await admin.spendRecord('call_never_made', { prefix: 'weir-', userId: 'nobody' })).toBeNull();
  });

  it("[52] tells how old the newest record is, by the proxy's own clock", async () => {
    await rig.litellm.complete('test-chat', { headers: { 'x-litellm-call-id': 'call_newest' } });
    const [row] = await rig.litellm.spendRows('call_newest');
    const { headers, body } = await rig.litellm.ask(
      `/spend/logs/v2?start_date=${row.startTime.slice(0, 10)}%2000:00:00&end_date=2099-01-01%2000:00:00&page=1&page_size=1`,
    );
    expect(body.data).toMatchObject([{ litellm_call_id: 'call_newest' }]);
    expect(Math.abs(Date.parse(headers.get('date')!) - Date.now())).toBeLessThan(60_000);
    const ageMs = (await admin.newestRecordAgeMs(3_600_000))!;
    expect(Math.abs(ageMs - (Date.now() - Date.parse(row.startTime)))).toBeLessThan(60_000);
  });
}
