import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { plausible } from '../../../src/services/ledger/bound';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { PriceBook } from '../../../src/services/pricing/price-book';
import { Corrector } from '../../../src/services/reconciliation/corrector';
import { Reconciler } from '../../../src/services/reconciliation/reconciler';
import { ReconciliationStore } from '../../../src/services/reconciliation/reconciliation.store';
import type { Difference } from '../../../src/services/reconciliation/reconciliation.types';
import { sameCost } from '../../../src/services/reconciliation/same-cost';
import { Sums } from '../../../src/services/reconciliation/sums';
import { setClock } from '../../support/database';
import type { TestUser } from '../../support/factories';
import type { LitellmRig } from '../../support/litellm-rig';
import { memoryLogger } from '../../support/log';
import { operation } from '../../support/operations';
import { faults, forever, type Script } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRow, settledRows } from '../../support/usage-rows';
import { SLOW_DEADLINE_MS, waitFor } from '../../support/wait';
import { isTerminal, textOf } from '../../support/ws-client';

const ROOT = path.join(__dirname, '..', '..', '..');
const CACHED = {
  prompt_tokens: 1_200,
  completion_tokens: 50,
  total_tokens: 1_250,
  prompt_tokens_details: { cached_tokens: 1_000 },
  completion_tokens_details: { reasoning_tokens: 20 },
};
const BROKEN = { status: 500, body: { error: { message: 'boom', type: 'server_error', param: null, code: null } } };

export function reconciliationCases(rig: LitellmRig): void {
  let admin: LitellmAdmin;
  let reconciler: Reconciler;
  let corrector: Corrector;
  beforeAll(async () => {
    const { db } = rig.database;
    admin = new LitellmAdmin({ baseUrl: rig.litellm.baseUrl, masterKey: rig.litellm.masterKey });
    const prices = new PriceBook({ db, logger: memoryLogger() });
    await prices.start();
    // Nobody waits a minute here: each test waits for its records.
    reconciler = new Reconciler({
      store: new ReconciliationStore(db),
      records: admin,
      plausible,
      modelOf: () => null,
      settledForMs: 0,
    });
    corrector = new Corrector({
      store: new RecoveryStore(db),
      calls: new LedgerStore(db, prices),
      prices,
      modelOf: () => null,
      logger: memoryLogger(),
    });
  });
  // There is none when the proxy did not start, which has been said then.
  afterAll(() => (admin as LitellmAdmin | undefined)?.close());

  const withId = (id: string): { headers: Record<string, string> } => ({ headers: { 'x-litellm-call-id': id } });
  const time = (ms: number): string => encodeURIComponent(new Date(ms).toISOString().slice(0, 19).replace('T', ' '));
  const page = (query: string): ReturnType<LitellmRig['litellm']['ask']> => rig.litellm.ask(`/spend/logs/v2?${query}`);
  /** The proxy writes records seconds later: all calls of a test are made first. */
  const recorded = (...ids: string[]): Promise<unknown> => Promise.all(ids.map((id) => rig.litellm.spendRows(id)));
  /** A call of the product's, settled. */
  const chat = async (user: TestUser, model: string, ...scripts: Script[]): Promise<string> => {
    rig.litellm.provider.script(model, ...scripts);
    const before = new Set(
      (await rig.database.db.query<{ id: string }>('SELECT id FROM llm_usage WHERE user_id = $1', [user.id])).map(
        ({ id }) => id,
      ),
    );
    await rig.app.chat(user.token, ask('good morning', { model }));
    return (await settledRows(rig.database.db)).find((row) => row.user_id === user.id && !before.has(row.id))!.id;
  };
  const stream = async (user: TestUser, model: string, ...scripts: Script[]): Promise<string> => {
    rig.litellm.provider.script(model, ...scripts);
    const opened = rig.app.connect(user.token).chatStream(ask('good morning', { model }));
    await opened.waitFor(isTerminal);
    const { callId } = opened.events[0]!;
    await settledRow(rig.database.db, callId);
    return callId;
  };
  const compare = async (fromMs: number, correct = false): Promise<{ sums: Sums; found: Difference[] }> => {
    const sums = new Sums();
    const found: Difference[] = [];
    for await (const step of reconciler.walk({
      fromMs,
      toMs: Date.now() + 1_000,
      organizationId: null,
      planned: () => 'planned',
      corrector: correct ? corrector : null,
    })) {
      sums.add(step);
      found.push(...step.differences);
    }
    return { sums, found };
  };
  /** As a mistake of ours would have left it. */
  const spoil = (callId: string, change: string): Promise<unknown> =>
    rig.database.db.query(`UPDATE llm_usage SET ${change} WHERE id = $1`, [callId]);

  it('[55, 56] gives records between two seconds, oldest first, page by page, and counts them to ten thousand', async () => {
    const db = new Client({ connectionString: rig.litellm.databaseUrl });
    await db.connect();
    try {
      await db.query(
        `INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime", model, metadata, litellm_call_id)
         SELECT 'planted-' || i, 'acompletion', 'k', 0, 0, 0, 0, timestamp '2026-01-05 00:00:00' + i * interval '250 ms', timestamp '2026-01-05 01:00:00', 'm', '{}', 'planted_' || i FROM generate_series(0, 10199) AS i`,
      );
      const day = 'start_date=2026-01-05&end_date=2026-01-06&sort_by=startTime&sort_order=asc';
      const second = await page(
        'start_date=2026-01-05%2000:00:01&end_date=2026-01-05%2000:00:02&sort_by=startTime&sort_order=asc&page=1&page_size=1000',
      );
      // 1.000 to 1.750 and 2.000, and not 2.250.
      expect(second.body.data.map((row: any) => row.request_id)).toEqual([4, 5, 6, 7, 8].map((i) => `planted-${i}`));
      expect(second.body.total).toBe(5);
      const all = await page(`${day}&page=2&page_size=1000`);
      expect(all.body).toMatchObject({ total: 10_000, total_is_capped: true, page_size: 1_000 });
      expect(all.body.data[0].request_id).toBe('planted-1000');
      expect((await page(`${day}&page=103&page_size=100`)).body.data).toEqual([]);
      expect((await page(`${day}&page=102&page_size=100`)).body.data.at(-1).request_id).toBe('planted-10199');
      expect((await page(`${day}&page=1&page_size=1001`)).status).toBe(422);
      for (const form of ['2026-01-05T00:00:00Z', '2026-01-05%2000:00:00.250'])
        expect((await page(`start_date=${form}&end_date=2026-01-06&page=1&page_size=1`)).status).toBe(400);
      const spendPages: string[] = [];
      for (let at = 0; at < 3; at += 1)
        spendPages.push(
          ...(await admin.spendPage(1_767_571_200 + at, 1_767_571_200 + at, 1, 10)).records.map(
            ({ requestId }) => requestId,
          ),
        );
      expect(spendPages).toEqual(['planted-0', 'planted-4', 'planted-8']);
    } finally {
      await db.query(`DELETE FROM "LiteLLM_SpendLogs" WHERE request_id LIKE 'planted-%'`);
      await db.end();
    }
  });

  it("[55] a user's key sees nobody else's records there", async () => {
    const user = await rig.user();
    await chat(user, 'test-chat');
    const { secret } = await rig.keyOf(user);
    const { status, body } = await rig.litellm.ask(
      '/spend/logs/v2?start_date=2026-01-05&end_date=2099-01-01&page=1&page_size=1000',
      { key: secret },
    );
    // A key sees its own at most.
    expect(
      status === 200
        ? body.data.filter(
            (row: any) =>
              row.metadata?.user_api_key_alias !== undefined &&
              !String(row.metadata.user_api_key_alias).includes(user.id),
          )
        : [],
    ).toEqual([]);
  });

  it('[56] a record is large', async () => {
    await rig.litellm.complete('test-chat', withId('call_large'));
    const [row] = await rig.litellm.spendRows('call_large');
    const listed = await page(
      `start_date=${time(Date.parse(row.startTime))}&end_date=2099-01-01&page=1&page_size=1&sort_order=asc`,
    );
    expect(listed.text.length).toBeGreaterThan(5_000);
  });

  it('[57] begins when the attempt began that answered, and has one record for all attempts', async () => {
    rig.litellm.provider.script('test-primary', BROKEN, BROKEN);
    const beganMs = Date.now();
    await rig.litellm.complete('test-primary', withId('call_fallen_back'));
    const rows = await rig.litellm.spendRows('call_fallen_back');
    expect(rows).toMatchObject([
      { model_group: 'test-small', status: 'success', metadata: { attempted_fallbacks: 1 } },
    ]);
    expect(Date.parse(rows[0].startTime) - beganMs).toBeGreaterThan(500);
    expect(rows[0].startTime).toMatch(/\.\d{3}/);
  });

  it('[58] names the key and the team, and neither of a call with the master key or with none that it knows', async () => {
    const user = await rig.user();
    const id = await chat(user, 'test-chat');
    await rig.litellm.complete('test-chat', withId('call_master'));
    await recorded(id, 'call_master');
    const [installation] = await rig.database.db.query<{ id: string }>('SELECT id FROM installation');
    expect(await admin.recordsOf(id)).toMatchObject([
      {
        callId: id,
        keyAlias: `weir-${installation!.id}-${user.id}`,
        teamId: `weir-${installation!.id}-${user.planId}`,
      },
    ]);
    expect(await admin.recordsOf('call_master')).toMatchObject([{ keyAlias: null, teamId: null }]);

    const beganMs = Date.now();
    await rig.litellm.complete('test-chat', { ...withId('call_stranger'), key: 'sk-nobody-of-this-proxy-at-all' });
    const stranger = await waitFor(
      async () => {
        const { body } = await page(
          `start_date=${time(beganMs)}&end_date=2099-01-01&page=1&page_size=100&sort_order=asc&status_filter=failure`,
        );
        return body.data.find((row: any) => Date.parse(row.startTime) >= beganMs) ?? (await sleep(300));
      },
      { deadlineMs: SLOW_DEADLINE_MS, what: 'the record of a refused key' },
    );
    expect(stranger).toMatchObject({ status: 'failure', team_id: '', metadata: { user_api_key_alias: null } });
    expect(stranger.litellm_call_id).not.toBe('call_stranger');
  });

  it('[59] two calls with one id have two records', async () => {
    for (let i = 0; i < 2; i += 1) await rig.litellm.complete('test-chat', withId('call_twice'));
    const rows = await waitFor(
      async () => {
        const found = await admin.recordsOf('call_twice');
        return found.length === 2 ? found : await sleep(300);
      },
      { deadlineMs: SLOW_DEADLINE_MS, what: 'both records' },
    );
    expect(new Set(rows!.map(({ requestId }) => requestId)).size).toBe(2);
    expect(rows).toMatchObject([
      { state: 'REPORTED', spend: '0.0000675' },
      { state: 'REPORTED', spend: '0.0000675' },
    ]);
  });

  it("[60, 61] tells what a record is worth: reported, cut off, broken off, refused, or the proxy's own count", async () => {
    const { provider } = rig.litellm;
    const stateOf = async (id: string): Promise<object> => {
      const [{ state, hasDetails, spend, totalTokens }] = (await admin.recordsOf(id)) as [any];
      return { state, hasDetails, isCharged: spend !== '0', hasTokens: totalTokens > 0 };
    };
    await rig.litellm.complete('test-chat', { stream: true, ...withId('call_reported') });
    provider.script('test-chat', { usage: null });
    await rig.litellm.complete('test-chat', { stream: true, ...withId('call_counted') });
    provider.script('test-chat', { pieces: ['One ', 'two ', 'three'], cutAfter: 2 });
    await rig.litellm.complete('test-chat', { stream: true, ...withId('call_broken') });
    provider.script('test-chat', { pieces: ['One ', 'two ', 'three'], hold: { after: 2, until: forever } });
    const before = provider.requests.length;
    const left = new AbortController();
    const call = rig.litellm
      .complete('test-chat', { stream: true, ...withId('call_cut'), signal: left.signal })
      .catch(() => null);
    await waitFor(() => provider.requests[before]?.piecesSent === 2, { what: 'two pieces' });
    left.abort();
    await call;
    provider.script('test-chat', faults.contentPolicy());
    await rig.litellm.complete('test-chat', withId('call_refused'));

    await recorded('call_reported', 'call_counted', 'call_broken', 'call_cut', 'call_refused');
    expect(await stateOf('call_reported')).toEqual({
      state: 'REPORTED',
      hasDetails: true,
      isCharged: true,
      hasTokens: true,
    });
    expect(await stateOf('call_counted')).toEqual({
      state: 'REPORTED',
      hasDetails: false,
      isCharged: true,
      hasTokens: true,
    });
    expect(await stateOf('call_broken')).toEqual({
      state: 'BROKE_OFF',
      hasDetails: true,
      isCharged: true,
      hasTokens: true,
    });
    expect(await stateOf('call_cut')).toMatchObject({ state: 'CUT_OFF', isCharged: true, hasTokens: true });
    expect(await stateOf('call_refused')).toEqual({
      state: 'REFUSED',
      hasDetails: false,
      isCharged: false,
      hasTokens: true,
    });
  });

  it('[62] says what cached tokens cost', async () => {
    rig.litellm.provider.script('test-chat', { usage: CACHED });
    await rig.litellm.complete('test-chat', withId('call_cached'));
    await rig.litellm.complete('test-unpriced', withId('call_free'));
    await recorded('call_cached', 'call_free');
    expect(await admin.recordsOf('call_cached')).toMatchObject([
      {
        cacheReadCost: '0.00025',
        cacheWriteCost: null,
        spend: '0.00125',
        tokens: { cacheRead: 1_000, uncachedPrompt: 200 },
      },
    ]);
    expect(await admin.recordsOf('call_free')).toMatchObject([{ spend: '0', totalTokens: 15 }]);
  });

  it('whole answers, streams, cached tokens, reasoning, retries, fallbacks, refusals and models without a price agree to the digit', async () => {
    const user = await rig.user();
    const fromMs = Date.now();
    const ids = [
      await chat(user, 'test-chat'),
      await chat(user, 'test-chat', { usage: CACHED }),
      await chat(user, 'test-reasoner', { usage: CACHED }),
      await chat(user, 'test-chat', BROKEN, {}),
      await chat(user, 'test-primary', BROKEN, BROKEN),
      await chat(user, 'test-chat', faults.contentPolicy()),
      await chat(user, 'test-unpriced'),
      await stream(user, 'test-chat'),
      await stream(user, 'test-chat', { usage: CACHED }),
    ];
    await recorded(...ids);
    const { sums, found } = await compare(fromMs);
    expect(found).toEqual([]);
    expect(sums.comparedCalls).toBe(ids.length);
    expect(sums.ourCost).not.toBeNull();
    expect([sums.ourCost, sums.proxyCost, sameCost(sums.ourCost!, sums.proxyCost!)]).toEqual([
      sums.ourCost,
      sums.proxyCost,
      true,
    ]);
  });

  it('what is wrong here is found: tokens and costs that somebody spoilt, a row that is not there; and what the provider reported is not replaced', async () => {
    const { db } = rig.database;
    const user = await rig.user();
    const fromMs = Date.now();
    const tokens = await chat(user, 'test-chat');
    const cached = await chat(user, 'test-chat', { usage: CACHED });
    const gone = await chat(user, 'test-chat');
    await recorded(tokens, cached, gone);
    await spoil(tokens, 'output_tokens = output_tokens + 1');
    // As if cached tokens had been priced like others.
    await spoil(cached, 'cost = cost - cost_cache_read + 0.0025, cost_cache_read = 0.0025');
    await db.query('DELETE FROM llm_usage WHERE id = $1', [gone]);
    const { found } = await compare(fromMs, true);
    const byCall = new Map(found.map((difference) => [difference.callId, difference]));
    expect(found).toHaveLength(3);
    expect(byCall.get(tokens)).toMatchObject({
      kind: 'TOKENS_DIFFER',
      ourTokens: 16,
      proxyTokens: 15,
      resolution: expect.stringContaining('What the provider reported stands'),
    });
    expect(byCall.get(cached)).toMatchObject({
      kind: 'COST_DIFFERS',
      ourTokens: 1_250,
      proxyCost: '0.00125',
      resolution: expect.stringContaining('The proxy priced 1000 cached tokens as $0.00025, here $0.0025'),
    });
    expect(byCall.get(null)).toMatchObject({
      kind: 'MISSING_HERE',
      proxyCost: '0.0000675',
      resolution: expect.stringContaining('an id of ours'),
    });
    expect(await db.query('SELECT FROM llm_usage WHERE corrects_id = ANY ($1)', [[tokens, cached, gone]])).toEqual([]);
  });

  it('an estimate of ours is replaced by what the provider told the proxy, and agrees from then on', async () => {
    const { db } = rig.database;
    const user = await rig.user();
    const fromMs = Date.now();
    const id = await stream(user, 'test-chat', { usage: CACHED });
    await recorded(id);
    // As when the connection to the proxy broke behind the last piece.
    await spoil(
      id,
      `usage_source = 'ESTIMATED', status = 'FAILED', uncached_prompt_tokens = 9, cache_read_tokens = 0, output_tokens = 3, reasoning_tokens = 0, raw_usage = NULL, cost = 0.0000525, cost_input = 0.0000225, cost_cache_read = 0, cost_output = 0.00003`,
    );
    const { sums, found } = await compare(fromMs, true);
    expect(found).toMatchObject([
      {
        kind: 'TOKENS_DIFFER',
        callId: id,
        ourTokens: 12,
        proxyTokens: 1_250,
        ourCost: '0.0000525',
        proxyCost: '0.00125',
      },
    ]);
    expect(sums.corrected).toBe(1);
    const rows = await db.query<any>(
      'SELECT *, trim_scale(cost)::text AS cost FROM llm_usage WHERE corrects_id = $1 ORDER BY kind',
      [id],
    );
    expect(rows).toMatchObject([
      {
        kind: 'CORRECTION',
        correction_reason: 'RECONCILIATION',
        usage_source: 'RECONCILED',
        cache_read_tokens: 1_000,
        reasoning_tokens: 20,
        cost: '0.00125',
        served_model: 'test-chat',
        deployment: 'test-chat-1',
        provider: 'openai',
      },
      { kind: 'REVERSAL', cost: '-0.0000525' },
    ]);
    const again = await compare(fromMs, true);
    expect(again.sums).toMatchObject({ comparedCalls: 1, corrected: 0, ourCost: '0.00125', proxyCost: '0.00125' });
    expect(again.found).toMatchObject([
      { isReplaced: true, resolution: expect.stringMatching(/^Replaced by a correction on /) },
    ]);
  });

  it('a call that was cut off: both have estimates of their own, which stay', async () => {
    const user = await rig.user();
    const fromMs = Date.now();
    rig.litellm.provider.script('test-chat', {
      pieces: ['One ', 'two ', 'three.'],
      hold: { after: 2, until: forever },
    });
    const opened = rig.app
      .connect(user.token)
      .chatStream(ask('Why is the sky blue, and why do sunsets look red? Answer at length.'));
    await opened.waitFor(() => textOf(opened.events) === 'One two ');
    const { callId, streamId } = opened.events[0]!;
    await rig.app.graphql(user.token, operation('stop-stream'), { streamId });
    const row = await settledRow(rig.database.db, callId);
    expect(row).toMatchObject({ status: 'STOPPED', usage_source: 'ESTIMATED' });
    await rig.litellm.spendRows(callId);
    // Our count is nudged, in case that both count alike.
    await spoil(callId, 'uncached_prompt_tokens = uncached_prompt_tokens + 1');
    const { sums, found } = await compare(fromMs, true);
    expect(found).toMatchObject([
      {
        kind: 'TOKENS_DIFFER',
        callId,
        resolution:
          "The proxy's record is an estimate of its own: the call was cut off. The estimate here is another one, and stands.",
      },
    ]);
    expect(sums.corrected).toBe(0);
  });

  it("a call that went to the proxy behind our back, with a user's key, is missing here; with other keys of the proxy it does not concern us", async () => {
    const user = await rig.user();
    await chat(user, 'test-chat');
    const fromMs = Date.now();
    const { secret } = await rig.keyOf(user);
    await rig.litellm.complete('test-chat', { ...withId('call_of_others') });
    await rig.litellm.complete('test-chat', { ...withId('behind-our-back'), key: secret });
    await recorded('call_of_others', 'behind-our-back');
    const { found } = await compare(fromMs);
    expect(found).toMatchObject([
      {
        kind: 'MISSING_HERE',
        callId: null,
        ourTokens: null,
        ourCost: null,
        proxyTokens: 15,
        proxyCost: '0.0000675',
        resolution: expect.stringContaining(user.id),
      },
    ]);
  });

  it('the graph tells it, and a command corrects it', async () => {
    const { db } = rig.database;
    const user = await rig.user();
    const fromMs = Date.now();
    const id = await chat(user, 'test-chat');
    const estimated = await stream(user, 'test-chat');
    await recorded(id, estimated);
    await spoil(estimated, `usage_source = 'ESTIMATED', output_tokens = 1, raw_usage = NULL`);
    const from = new Date(fromMs).toISOString();
    const to = new Date(Date.now() + 1_000).toISOString();
    const question = async (): Promise<any> =>
      (await rig.app.graphql(rig.operator.token, operation('reconciliation'), { from, to })).data.reconciliation;
    // Too young yet.
    expect((await question()).summary).toMatchObject({ comparedCalls: 0, comparedUpTo: from });
    await setClock(db, new Date(Date.now() + 120_000).toISOString());
    try {
      expect(await question()).toMatchObject({
        summary: { comparedCalls: 2, differences: 1, comparedUpTo: to },
        edges: [
          {
            node: {
              kind: 'TOKENS_DIFFER',
              call: { id: estimated, usage: { source: 'ESTIMATED' } },
              proxyRequestId: expect.stringMatching(/^chatcmpl-/),
              ourTokens: 12,
              proxyTokens: 15,
              resolution: expect.stringContaining('nightly run'),
            },
          },
        ],
      });
      const child = spawn(
        process.execPath,
        [
          '-r',
          path.join(ROOT, 'test', 'support', 'register-ts.js'),
          path.join(ROOT, 'src', 'admin.ts'),
          'reconcile',
          '--from',
          from,
          '--to',
          to,
        ],
        {
          cwd: ROOT,
          env: {
            PATH: process.env.PATH,
            DATABASE_URL: rig.database.url,
            LLM_BASE_URL: rig.litellm.baseUrl,
            LITELLM_MASTER_KEY: rig.litellm.masterKey,
          },
        },
      );
      let output = '';
      for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (output += chunk.toString()));
      await once(child, 'exit');
      expect(output).toContain(`TOKENS_DIFFER  ${estimated}  tokens 12 / 15`);
      expect(output).toMatch(
        /2 calls from .*\nmissing here 0, missing at the proxy 0, tokens differ 1, cost differs 0; corrected 1, could not be corrected 0\n/,
      );
      expect(output).not.toContain(rig.litellm.masterKey);
      expect(await question()).toMatchObject({
        summary: { comparedCalls: 2, differences: 1 },
        edges: [
          {
            node: {
              call: { id: estimated, usage: { source: 'RECONCILED', totalTokens: 15 } },
              resolution: expect.stringContaining('Replaced by a correction'),
            },
          },
        ],
      });
      expect(await db.query('SELECT FROM llm_usage WHERE corrects_id = $1', [id])).toEqual([]);
    } finally {
      await setClock(db, null);
    }
  });
}
