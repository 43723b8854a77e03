import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { correctedEnd } from '../../../src/services/recovery/lost-call';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import { insertInFlight, type UsageRow } from '../usage/usage-rows';
import { ReconciliationScene } from './scene';

let scene: ReconciliationScene;
beforeEach(async () => {
  scene = await ReconciliationScene.open();
});
afterEach(() => scene.close());

const LATER = '2026-11-20T10:00:01.500Z';
const estimate = { usage_source: 'ESTIMATED', status: 'STOPPED' };
const differences = async (...args: Parameters<ReconciliationScene['compare']>): Promise<any[]> =>
  (await scene.compare(...args)).edges.map(({ node }) => node);

describe("a record with the id of a call, paid by a key that is not its user's", () => {
  /** Estimated, with its own record, which is an estimate of the proxy's. */
  const estimated = async (): Promise<UsageRow> => {
    const call = await scene.call(estimate);
    scene.record(call, { errorCode: '499' });
    return call;
  };
  const dear = {
    promptTokens: 40_000,
    completionTokens: 60_000,
    spend: 7,
    startTime: LATER,
    requestId: 'chatcmpl-theirs',
  };
  const payers = (): Record<string, { keyAlias: string | null; teamId?: string }> => ({
    stranger: { keyAlias: 'somebody-else', teamId: 'another-product' },
    'key without a team': { keyAlias: 'somebody-else', teamId: undefined },
    'key without a name': { keyAlias: null, teamId: 'another-product' },
    tenant: { keyAlias: `${scene.prefix}${scene.theirs.member.id}` },
    colleague: { keyAlias: `${scene.prefix}${scene.world.analyst.id}` },
    'other installation': { keyAlias: `weir-0ther-${scene.world.member.id}`, teamId: 'weir-0ther-pln_1' },
    'alias of ours in a strange team': {
      keyAlias: `${scene.prefix}${scene.world.member.id}`,
      teamId: 'another-product',
    },
  });

  it.each([
    'stranger',
    'key without a team',
    'key without a name',
    'tenant',
    'colleague',
    'other installation',
    'alias of ours in a strange team',
  ])('is not booked, and shown to operators as missing here: %s', async (who) => {
    const call = await estimated();
    scene.record(call, { ...dear, ...payers()[who] });
    expect(await scene.correct()).toMatchObject({ corrected: 0, byKind: { MISSING_HERE: 1, TOKENS_DIFFER: 0 } });
    expect(await scene.usage(call.id)).toHaveLength(1);
    expect(await differences()).toMatchObject([
      {
        kind: 'MISSING_HERE',
        callId: call.id,
        proxyRequestId: 'chatcmpl-theirs',
        ourTokens: null,
        proxyTokens: 100_000,
        proxyCost: '7',
        resolution: expect.stringContaining('somebody has used the id'),
      },
    ]);
    expect((await scene.compare()).summary).toMatchObject({ ourCost: '0.00006', proxyCost: '7.00006' });
    // Not theirs to know.
    expect(await differences({}, scene.world.admin.viewer)).toEqual([]);
    expect((await scene.compare({}, scene.world.admin.viewer)).summary.proxyCost).toBe('0.00006');
  });

  it('makes no dear call free, as a model without a price would', async () => {
    const call = await estimated();
    scene.record(call, { ...dear, keyAlias: 'x', teamId: 'y', modelGroup: 'self-hosted', spend: 0 });
    await scene.correct();
    expect(await scene.usage(call.id)).toMatchObject([{ kind: 'CALL', cost: '0.00006' }]);
  });

  it('is not taken for the record of a call that has none: that is missing at the proxy', async () => {
    const call = await scene.call(estimate);
    // Found by its id only.
    scene.record(call, { ...dear, ...payers().tenant, startTime: '2026-11-20T10:30:00Z' });
    expect(await scene.correct()).toMatchObject({ corrected: 0 });
    expect(await differences()).toMatchObject([
      { kind: 'MISSING_AT_PROXY', callId: call.id },
      { kind: 'MISSING_HERE', callId: call.id, at: '2026-11-20T10:30:00.000000Z' },
    ]);
  });

  it('is shown once and in its own time, also where the call runs still or is out of the span', async () => {
    const { member } = scene.world;
    const at = '2026-11-20T10:00:00Z';
    const runs = {
      id: await insertInFlight(scene.database.db, {
        organization_id: member.organizationId,
        user_id: member.id,
        occurred_at: at,
      }),
      occurred_at: at,
    };
    const before = await scene.call({ occurred_at: '2026-11-19T23:00:00Z' });
    for (const call of [runs, before])
      scene.record(call, { ...dear, ...payers().tenant, requestId: `chatcmpl-${call.id}` });
    expect((await differences()).map(({ kind, callId }) => [kind, callId]).sort()).toEqual(
      [
        ['MISSING_HERE', before.id],
        ['MISSING_HERE', runs.id],
      ].sort(),
    );
  });

  it('that names no key is the call’s only where no other one is', async () => {
    const both = await scene.call(estimate);
    scene.record(both);
    scene.record(both, { ...dear, keyAlias: null, teamId: undefined });
    const only = await scene.call({ ...estimate, occurred_at: '2026-11-20T11:00:00Z' });
    scene.record(only, { promptTokens: 20, spend: 0.00007, keyAlias: null, teamId: undefined });
    expect(await scene.correct()).toMatchObject({ corrected: 1 });
    expect(await scene.usage(both.id)).toHaveLength(1);
    expect((await scene.usage(only.id)).at(-1)).toMatchObject({ usage_source: 'RECONCILED', total_tokens: 25 });
  });
});

describe('what was booked stands', () => {
  it('where reconciliation has replaced the estimate before: a bigger record that turns up with the same id is a second charge', async () => {
    const call = await scene.call(estimate);
    scene.record(call, { completionTokens: 6, spend: 0.00007 });
    expect(await scene.correct()).toMatchObject({ corrected: 1 });
    scene.record(call, {
      promptTokens: 1_000,
      completionTokens: 6_000,
      spend: 7,
      startTime: LATER,
      requestId: 'chatcmpl-again',
    });
    expect(await scene.correct()).toMatchObject({ corrected: 0, byKind: { MISSING_HERE: 1, TOKENS_DIFFER: 0 } });
    expect((await scene.usage(call.id)).map(({ kind, total_tokens }) => [kind, total_tokens])).toEqual([
      ['CALL', 15],
      ['REVERSAL', -15],
      ['CORRECTION', 16],
    ]);
    expect(await differences()).toMatchObject([
      { kind: 'MISSING_HERE', callId: call.id, proxyRequestId: 'chatcmpl-again' },
      { kind: 'TOKENS_DIFFER', isReplaced: true },
    ]);
  });

  it('and where the record has gone that replaced it, another one does not replace it again', async () => {
    const call = await scene.call(estimate);
    scene.record(call, { completionTokens: 6, spend: 0.00007 });
    await scene.correct();
    scene.proxy.spendRows.length = 0;
    scene.record(call, { completionTokens: 60, spend: 0.00061 });
    expect(await scene.correct()).toMatchObject({ corrected: 0 });
    expect(await scene.usage(call.id)).toHaveLength(3);
    expect(await differences()).toContainEqual(
      expect.objectContaining({
        kind: 'TOKENS_DIFFER',
        isReplaced: false,
        resolution: expect.stringContaining('What the proxy had told before stands'),
      }),
    );
  });

  it('where the provider’s figures arrive while the proxy is being asked: they are not replaced by what was planned for the estimate', async () => {
    const call = await scene.call({ status: 'LOST', usage_source: 'ESTIMATED' });
    scene.record(call, { completionTokens: 1, errorCode: '499', spend: 0.00002 });
    const { db } = scene.database;
    const store = new LedgerStore(db, scene.prices);
    let told = false;
    // The window's calls are read by then.
    scene.proxy.before = async () => {
      if (told) return;
      told = true;
      const settled = (await new RecoveryStore(db).settledCall({
        id: call.id,
        occurredAt: call.occurred_at,
        organizationId: call.organization_id,
      }))!;
      const tokens = {
        uncachedPrompt: 10,
        cacheRead: 0,
        cacheWrite: 0,
        cacheWriteOneHour: 0,
        output: 500,
        reasoning: 0,
      };
      const end = correctedEnd(
        settled,
        { servedModel: 'm', deployment: null, attempts: 1, tokens, raw: null, cost: null, fromCache: false },
        { prices: scene.prices, modelOf: () => null },
      );
      await store.correct([{ ...end, status: 'COMPLETED', usageSource: 'PROVIDER' }], 'JOURNAL');
    };
    // Only the window of the call, so that the first question is asked behind its reading.
    const span = {
      fromMs: Date.parse('2026-11-20T09:59:50Z'),
      toMs: Date.parse('2026-11-20T10:00:10Z'),
      organizationId: scene.world.organizationId,
    };
    let corrected = 0;
    for await (const step of scene.reconciler.walk({ ...span, planned: () => 'planned', corrector: scene.corrector })) {
      corrected += step.corrected;
      expect(step.differences).toMatchObject([{ resolution: 'planned' }]);
    }
    expect(corrected).toBe(0);
    expect((await scene.usage(call.id)).at(-1)).toMatchObject({
      correction_reason: 'JOURNAL',
      usage_source: 'PROVIDER',
      total_tokens: 510,
    });
  });
});

describe('figures that cannot be of the call', () => {
  it.each([
    ['of any model', null, { completionTokens: 90_000_000 }],
    ['of a model with a known window: the answer', 128_000, { completionTokens: 300_000 }],
    ['of a model with a known window: the prompt', 128_000, { promptTokens: 300_000 }],
  ])('replace no estimate, and are listed: %s', async (_, contextWindow, fields) => {
    if (contextWindow) scene.contextWindows.set('m', contextWindow);
    for (const status of ['STOPPED', 'LOST']) {
      const call = await scene.call({ ...estimate, status, occurred_at: `2026-11-20T1${status.length}:00:00Z` });
      scene.record(call, { ...fields, spend: 900 });
      expect(await scene.correct()).toMatchObject({ corrected: 0, notCorrected: 0 });
      expect(await scene.usage(call.id)).toHaveLength(1);
      expect(await differences()).toContainEqual(
        expect.objectContaining({
          kind: 'TOKENS_DIFFER',
          callId: call.id,
          ourTokens: 15,
          resolution: expect.stringMatching(/cannot be of this call.*the estimate stands/),
        }),
      );
    }
  });

  it('are not what is only much', async () => {
    scene.contextWindows.set('m', 128_000);
    const call = await scene.call(estimate);
    scene.record(call, { promptTokens: 120_000, completionTokens: 60_000, spend: 0.72 });
    expect(await scene.correct()).toMatchObject({ corrected: 1 });
    expect((await scene.usage(call.id)).at(-1)).toMatchObject({ total_tokens: 180_000 });
  });
});

describe('the service tier of a correction', () => {
  it.each([
    ['the usual one, where the record says so', 'default', null],
    ['another one, where the record says so', 'flex', 'flex'],
    ['what the call was told, where the record does not say', undefined, 'priority'],
  ])('is %s', async (_, serviceTier, wanted) => {
    const call = await scene.call({ ...estimate, service_tier: 'priority' });
    scene.record(call, { completionTokens: 6, spend: 0.00007, serviceTier });
    expect(await scene.correct()).toMatchObject({ corrected: 1 });
    expect((await scene.usage(call.id)).at(-1)).toMatchObject({ kind: 'CORRECTION', service_tier: wanted });
  });
});
