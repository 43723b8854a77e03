import { newId } from '../../../src/lib/ids';
import type { Sums } from '../../../src/services/reconciliation/sums';
import { operation } from '../../support/operations';
import { appendPrice, changeAllCalls } from '../../support/prices';
import { createFixture } from '../../support/stream-fixture';
import { insertInFlight } from '../usage/usage-rows';
import { FROM, ReconciliationScene, TO } from './scene';

let scene: ReconciliationScene;
beforeEach(async () => {
  scene = await ReconciliationScene.open();
});
afterEach(() => scene.close());

const MINUTE = 60_000;
const differences = async (...args: Parameters<ReconciliationScene['compare']>): Promise<any[]> =>
  (await scene.compare(...args)).edges.map(({ node }) => node);
const correct = (): Promise<Sums> => scene.correct();

describe('what agrees', () => {
  it('a call whose record says the same is no difference, and both sums are exact', async () => {
    for (const occurred_at of ['2026-11-20T00:00:00Z', '2026-11-20T10:00:00.5Z', '2026-11-20T23:59:59.999999Z'])
      scene.record(await scene.call({ occurred_at }));
    // Out of the span: `from` is inclusive, `to` is not.
    for (const occurred_at of ['2026-11-19T23:59:59.999999Z', '2026-11-21T00:00:00Z'])
      await scene.call({ occurred_at });
    const { edges, summary } = await scene.compare();
    expect([edges, summary]).toEqual([
      [],
      { comparedCalls: 3, differences: 0, ourCost: '0.00018', proxyCost: '0.00018', comparedUpTo: TO },
    ]);
  });

  it("the proxy's float arithmetic is no difference, a millionth of a cent is", async () => {
    scene.record(await scene.call(), { spend: 0.00006000000000000001 });
    const other = await scene.call({ occurred_at: '2026-11-20T11:00:00Z' });
    scene.record(other, { spend: 0.00006001 });
    expect(await differences()).toMatchObject([
      { kind: 'COST_DIFFERS', callId: other.id, ourCost: '0.00006', proxyCost: '0.00006001' },
    ]);
  });

  it('a call that was refused agrees with its record, in which the proxy has counted the prompt', async () => {
    const call = await scene.call({
      status: 'FAILED',
      usage_source: 'NONE',
      uncached_prompt_tokens: 0,
      output_tokens: 0,
      cost: '0',
      cost_input: '0',
      cost_output: '0',
    });
    scene.record(call, { status: 'failure', promptTokens: 14, completionTokens: 0, spend: 0, errorCode: '400' });
    expect(await differences()).toEqual([]);
  });

  it("an answer from the proxy's cache agrees: here it has nothing, there the tokens of the first answer and no cost", async () => {
    const call = await scene.call({
      usage_source: 'CACHE',
      uncached_prompt_tokens: 0,
      output_tokens: 0,
      cost: '0',
      cost_input: '0',
      cost_output: '0',
    });
    scene.record(call, { spend: 0, cacheHit: true });
    const { edges, summary } = await scene.compare();
    expect([edges, summary]).toEqual([
      [],
      { comparedCalls: 1, differences: 0, ourCost: '0', proxyCost: '0', comparedUpTo: TO },
    ]);
    expect(await correct()).toMatchObject({ corrected: 0 });
  });

  it('a call without a price on either side agrees', async () => {
    scene.record(await scene.call({ cost: null, cost_input: null, cost_output: null, price_number: null }), {
      spend: 0,
    });
    const { edges, summary } = await scene.compare();
    expect([edges, summary.comparedCalls, summary.ourCost]).toEqual([[], 1, null]);
  });

  it('calls past the proxy are none of this', async () => {
    await scene.call({ upstream: 'DIRECT' });
    expect((await scene.compare()).summary.comparedCalls).toBe(0);
  });

  it('a call that was repeated at the proxy after a refusal has two records: the one in which something was used counts', async () => {
    const call = await scene.call();
    scene.record(call, { status: 'failure', promptTokens: 0, completionTokens: 0, spend: 0, errorCode: '403' });
    scene.record(call);
    expect(await differences()).toEqual([]);
  });

  it('a record that began long after its call, as after retries, is found by its id', async () => {
    const call = await scene.call();
    scene.record(call, { startTime: '2026-11-20T10:04:00Z' });
    // It would be in another window of this span, or beyond it.
    expect(await differences()).toEqual([]);
    expect(await differences({ from: FROM, to: new Date('2026-11-20T10:00:01Z') })).toEqual([]);
    expect(scene.proxy.count('GET /spend/logs')).toBe(1);
  });
});

describe('what is missing', () => {
  it('a call without a record: listed with what it says of itself', async () => {
    const reported = await scene.call();
    const failed = await scene.call({
      occurred_at: '2026-11-20T11:00:00Z',
      status: 'FAILED',
      usage_source: 'NONE',
      uncached_prompt_tokens: 0,
      output_tokens: 0,
      cost: '0',
    });
    const lost = await scene.call({ occurred_at: '2026-11-20T12:00:00Z', status: 'LOST', usage_source: 'ESTIMATED' });
    const nothing = { kind: 'MISSING_AT_PROXY', proxyRequestId: null, proxyTokens: null, proxyCost: null };
    expect(await differences()).toMatchObject([
      {
        ...nothing,
        callId: reported.id,
        ourTokens: 15,
        ourCost: '0.00006',
        resolution: expect.stringContaining('What the provider reported stands'),
      },
      { ...nothing, callId: failed.id, ourTokens: 0, resolution: expect.stringContaining('nothing was used') },
      { ...nothing, callId: lost.id, resolution: expect.stringContaining('no record') },
    ]);
    expect((await scene.compare()).summary).toMatchObject({ comparedCalls: 3, differences: 3, proxyCost: null });
  });

  it('a proxy that remembers nothing of the time is not asked for each call', async () => {
    for (let i = 0; i < 40; i += 1)
      await scene.call({ occurred_at: new Date(FROM.getTime() + i * 1_000).toISOString() });
    expect(await differences()).toHaveLength(40);
    expect(scene.proxy.count('GET /spend/logs')).toBe(0);
  });

  it('a call that ended within the last minute is not compared yet: its record may be on its way', async () => {
    const young = { occurred_at: '2026-11-20T10:00:00Z', settled_at: '2026-11-21T11:59:30Z' };
    await scene.call(young);
    await scene.call({ ...young, settled_at: '2026-11-21T11:58:30Z' });
    expect((await scene.compare()).summary).toMatchObject({ comparedCalls: 1, differences: 1 });
  });

  it('a question about the future is answered up to a minute ago', async () => {
    const { summary } = await scene.compare({
      from: new Date('2026-11-21T11:00:00Z'),
      to: new Date('2026-11-22T00:00:00Z'),
    });
    expect(summary.comparedUpTo).toEqual(new Date('2026-11-21T11:59:00Z'));
    const later = await scene.compare({ from: new Date('2026-11-23T00:00:00Z'), to: new Date('2026-11-24T00:00:00Z') });
    expect(later.summary.comparedUpTo).toEqual(new Date('2026-11-23T00:00:00Z'));
  });

  it("a record of one of our keys that belongs to no call of ours is missing here; those of the proxy's other users are not", async () => {
    const at = '2026-11-20T10:00:00Z';
    const alias = `${scene.prefix}${scene.world.member.id}`;
    scene.proxy.record(
      { callId: 'theirs-1', startTime: at, keyAlias: null },
      {
        callId: 'theirs-2',
        startTime: at,
        keyAlias: 'weir-0ther1nstallation-usr_1',
        teamId: 'weir-0ther1nstallation-pln_1',
      },
      {
        callId: 'b5f1',
        requestId: 'chatcmpl-behind',
        startTime: at,
        keyAlias: alias,
        teamId: `${scene.prefix}${scene.world.planId}`,
        spend: 0.5,
      },
      {
        callId: 'made-by-hand',
        startTime: '2026-11-20T10:00:01Z',
        keyAlias: 'somebody',
        teamId: `${scene.prefix}${scene.world.planId}`,
        spend: 0.25,
      },
    );
    expect(await differences()).toMatchObject([
      {
        kind: 'MISSING_HERE',
        callId: null,
        proxyRequestId: 'chatcmpl-behind',
        ourTokens: null,
        ourCost: null,
        proxyTokens: 15,
        proxyCost: '0.5',
        resolution: expect.stringContaining(alias),
      },
      { kind: 'MISSING_HERE', callId: null, resolution: expect.stringContaining('the key somebody') },
    ]);
    expect((await scene.compare()).summary).toEqual({
      comparedCalls: 0,
      differences: 2,
      ourCost: null,
      proxyCost: '0.75',
      comparedUpTo: TO,
    });
    // Not theirs to know, whoever the key belongs to.
    expect(await differences({}, scene.world.admin.viewer)).toEqual([]);
  });

  it('a record whose call runs, or was made outside the span, is not missing', async () => {
    const { member } = scene.world;
    const at = '2026-11-20T23:59:59.990Z';
    const id = await insertInFlight(scene.database.db, {
      organization_id: member.organizationId,
      user_id: member.id,
      occurred_at: at,
    });
    scene.record({ id, occurred_at: at });
    const before = await scene.call({ occurred_at: '2026-11-19T23:59:59.990Z' });
    scene.record(before, { startTime: '2026-11-20T00:00:01Z' });
    expect(await differences()).toEqual([]);
  });

  it('a second charge for the id of a call of ours is missing here, and shown with that call', async () => {
    const call = await scene.call();
    scene.record(call);
    scene.record(call, { requestId: 'chatcmpl-again', spend: 0.00005, completionTokens: 4 });
    expect(await differences({}, scene.world.analyst.viewer)).toMatchObject([
      {
        kind: 'MISSING_HERE',
        callId: call.id,
        proxyRequestId: 'chatcmpl-again',
        ourTokens: null,
        proxyCost: '0.00005',
      },
    ]);
    expect((await scene.compare()).summary.proxyCost).toBe('0.00011');
  });
});

describe('estimates', () => {
  const estimate = {
    usage_source: 'ESTIMATED',
    status: 'FAILED',
    streamed: true,
    uncached_prompt_tokens: 8,
    output_tokens: 2,
    cost: '0.000028',
    cost_input: '0.000008',
    cost_output: '0.00002',
  };

  it('are replaced by what the proxy was told, once, as a correction with its reason; the question writes nothing', async () => {
    const call = await scene.call(estimate);
    scene.record(call);
    expect(await differences()).toMatchObject([
      {
        kind: 'TOKENS_DIFFER',
        ourTokens: 10,
        proxyTokens: 15,
        ourCost: '0.000028',
        proxyCost: '0.00006',
        resolution: expect.stringContaining('nightly run'),
      },
    ]);
    expect(await scene.usage(call.id)).toHaveLength(1);

    expect(await correct()).toMatchObject({
      comparedCalls: 1,
      corrected: 1,
      notCorrected: 0,
      byKind: { TOKENS_DIFFER: 1 },
    });
    const rows = [
      { kind: 'CALL', usage_source: 'ESTIMATED', cost: '0.000028' },
      { kind: 'REVERSAL', correction_reason: 'RECONCILIATION', cost: '-0.000028' },
      {
        kind: 'CORRECTION',
        correction_reason: 'RECONCILIATION',
        usage_source: 'RECONCILED',
        status: 'FAILED',
        prompt_tokens: 10,
        completion_tokens: 5,
        cost: '0.00006',
        provider: null,
      },
    ];
    expect(await scene.usage(call.id)).toMatchObject(rows);
    // Again: nothing is done twice, and nothing counted.
    expect(await correct()).toMatchObject({
      comparedCalls: 1,
      corrected: 0,
      byKind: { TOKENS_DIFFER: 0, COST_DIFFERS: 0 },
    });
    expect(await scene.usage(call.id)).toMatchObject(rows);
    // What was done is told, with the figures from before; the sums are those of now.
    const { edges, summary } = await scene.compare();
    expect(edges.map(({ node }) => node)).toMatchObject([
      {
        kind: 'TOKENS_DIFFER',
        ourTokens: 10,
        ourCost: '0.000028',
        proxyTokens: 15,
        proxyCost: '0.00006',
        resolution: expect.stringMatching(/^Replaced by a correction on 2026-11-21T12:0/),
      },
    ]);
    expect(summary).toMatchObject({ ourCost: '0.00006', proxyCost: '0.00006' });
  });

  it('two runs at the same time correct it once', async () => {
    for (let i = 0; i < 20; i += 1)
      scene.record(await scene.call({ ...estimate, occurred_at: new Date(FROM.getTime() + i * MINUTE).toISOString() }));
    const both = await Promise.all([correct(), correct()]);
    expect(both[0].corrected + both[1].corrected).toBe(20);
    expect(
      await scene.database.db.query('SELECT kind, count(*)::int AS n FROM llm_usage GROUP BY kind ORDER BY kind'),
    ).toEqual([
      { kind: 'CALL', n: 20 },
      { kind: 'CORRECTION', n: 20 },
      { kind: 'REVERSAL', n: 20 },
    ]);
  });

  it("what a provider has reported is never replaced, whatever the proxy's record says", async () => {
    const call = await scene.call();
    scene.record(call, { promptTokens: 100, spend: 0.00015 });
    expect(await correct()).toMatchObject({ corrected: 0, byKind: { TOKENS_DIFFER: 1 } });
    expect(await scene.usage(call.id)).toHaveLength(1);
    expect(await differences()).toMatchObject([
      {
        kind: 'TOKENS_DIFFER',
        ourTokens: 15,
        proxyTokens: 105,
        resolution: expect.stringContaining('What the provider reported stands'),
      },
    ]);
  });

  it.each([
    ['the call was cut off', { errorCode: '499' }, /cut off/],
    ['the provider failed in the middle', { status: 'failure', errorCode: '500' }, /failed in the middle/],
    ['the provider of a stream told nothing', { details: false }, /counted by itself/],
    ['the provider told nothing', { promptTokens: 0, completionTokens: 0, spend: 0 }, /wrote down zeros/],
  ] as const)("stay where the proxy's record is an estimate, too: %s", async (_, fields, why) => {
    const call = await scene.call(estimate);
    scene.record(call, fields);
    expect(await correct()).toMatchObject({ corrected: 0, byKind: { TOKENS_DIFFER: 1 } });
    expect(await differences()).toMatchObject([
      { kind: 'TOKENS_DIFFER', callId: call.id, resolution: expect.stringMatching(why) },
    ]);
  });

  it('of calls that nobody saw end are replaced by whatever the proxy knows, as recovery does', async () => {
    const lost = await scene.call({ ...estimate, status: 'LOST' });
    scene.record(lost, { errorCode: '499' });
    const unused = await scene.call({ ...estimate, status: 'LOST', occurred_at: '2026-11-20T11:00:00Z' });
    scene.record(unused, { status: 'failure', errorCode: '400', promptTokens: 14, completionTokens: 0, spend: 0 });
    const unknown = await scene.call({
      status: 'LOST',
      usage_source: 'NONE',
      occurred_at: '2026-11-20T12:00:00Z',
      uncached_prompt_tokens: 0,
      output_tokens: 0,
      cost: '0',
    });
    scene.record(unknown);
    expect(await correct()).toMatchObject({ corrected: 3 });
    const rows = [
      ...(await scene.usage(lost.id)),
      ...(await scene.usage(unused.id)),
      ...(await scene.usage(unknown.id)),
    ].filter(({ kind }) => kind === 'CORRECTION');
    expect(rows).toMatchObject([
      { usage_source: 'RECONCILED', total_tokens: 15, cost: '0.00006' },
      { usage_source: 'NONE', total_tokens: 0, cost: '0' },
      { usage_source: 'RECONCILED', total_tokens: 15, cost: '0.00006' },
    ]);
  });

  it('stay where the provider told figures that cannot be of this call: they were seen, and refused', async () => {
    const call = await scene.call({
      ...estimate,
      raw_usage: { prompt_tokens: 9_000_000, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 0 } },
    });
    scene.record(call, { promptTokens: 9_000_000, spend: 9 });
    expect(await correct()).toMatchObject({ corrected: 0 });
    expect(await differences()).toMatchObject([{ resolution: expect.stringContaining('cannot be of this call') }]);
  });

  it("become nothing where the proxy's cache has answered; of one that is known to be from there the record is believed in nothing else", async () => {
    const lost = await scene.call({ status: 'LOST', usage_source: 'ESTIMATED', output_tokens: 900, cost: '0.00901' });
    scene.record(lost, { spend: 0, cacheHit: true });
    const hit = await scene.call({
      occurred_at: '2026-11-20T11:00:00Z',
      usage_source: 'CACHE',
      uncached_prompt_tokens: 0,
      output_tokens: 0,
      cost: '0',
      cost_input: '0',
      cost_output: '0',
    });
    scene.record(hit);
    expect(await correct()).toMatchObject({ corrected: 1 });
    expect(await scene.usage(lost.id)).toMatchObject([
      { usage_source: 'ESTIMATED' },
      { cost: '-0.00901' },
      { usage_source: 'CACHE', total_tokens: 0, cost: '0', proxy_cost: '0' },
    ]);
    expect((await differences()).filter(({ isReplaced }) => !isReplaced)).toMatchObject([
      { kind: 'TOKENS_DIFFER', callId: hit.id, resolution: expect.stringContaining('its record does not say so') },
    ]);
  });

  it('one that cannot be written keeps no other from it', async () => {
    const { db } = scene.database;
    const [first, second] = [
      await scene.call(estimate),
      await scene.call({ ...estimate, occurred_at: '2026-11-20T11:00:00Z' }),
    ];
    for (const call of [first, second]) scene.record(call);
    await db.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
    );
    await db.query(
      `CREATE TRIGGER refuse BEFORE INSERT ON llm_usage FOR EACH ROW WHEN (NEW.corrects_id = '${first!.id}') EXECUTE FUNCTION refuse()`,
    );
    expect(await correct()).toMatchObject({ corrected: 1, notCorrected: 1 });
    expect(scene.logger.lines).toMatchObject([{ level: 'error', fields: { callId: first!.id } }]);
  });
});

describe('costs', () => {
  it.each([
    [
      'cached tokens at another price',
      {
        cache_read_tokens: 6,
        uncached_prompt_tokens: 4,
        cost: '0.000057',
        cost_input: '0.000004',
        cost_cache_read: '0.000003',
      },
      { cachedTokens: 6, spend: 0.0000546, cacheReadCost: 0.0000006 },
      'The proxy priced 6 cached tokens as $0.0000006, here $0.000003',
    ],
    [
      'no price here',
      { cost: null, cost_input: null, cost_output: null, price_number: null },
      {},
      'No price was known here',
    ],
    ['no price there', {}, { spend: 0 }, 'The proxy knows no price of it'],
    ["an answer from the proxy's cache", {}, { spend: 0, cacheHit: true }, 'answered from its own cache'],
    ['another table', {}, { spend: 0.00007 }, 'its table has changed'],
  ] as const)('%s: the same tokens, and why they cost another sum', async (_, fields, record, why) => {
    const call = await scene.call(fields);
    scene.record(call, record);
    const found = await differences();
    expect(found).toMatchObject([{ kind: 'COST_DIFFERS', callId: call.id, ourTokens: 15, proxyTokens: 15 }]);
    expect(found[0].resolution).toContain(why);
    expect(await correct()).toMatchObject({ corrected: 0 });
  });

  it("says whose price it was: an operator's, or the organisation's own", async () => {
    const { db } = scene.database;
    const price = { model: 'm', effectiveFrom: '2026-01-01', rates: { input: '0.000001', output: '0.000001' } };
    await appendPrice(db, { ...price, number: 2, recordedAt: '2026-01-02' });
    await appendPrice(db, {
      ...price,
      number: 3,
      recordedAt: '2026-01-03',
      organizationId: scene.world.organizationId,
    });
    for (const price_number of [2, 3])
      scene.record(
        await scene.call({
          occurred_at: `2026-11-20T1${price_number}:00:00Z`,
          price_number,
          cost: '0.000015',
          cost_input: '0.00001',
          cost_output: '0.000005',
        }),
      );
    expect((await differences()).map(({ resolution }) => resolution)).toEqual([
      expect.stringMatching(/record 2 .* operator/),
      expect.stringMatching(/record 3 .* organisation's own/),
    ]);
  });

  it('is by the price book of today: a price that was corrected since changes what is compared', async () => {
    const { db } = scene.database;
    const call = await scene.call({ cost: '0.00003', cost_input: '0.00001', cost_output: '0.00002' });
    scene.record(call);
    expect(await differences()).toMatchObject([{ kind: 'COST_DIFFERS', ourCost: '0.00003' }]);
    await appendPrice(db, {
      number: 2,
      model: 'm',
      effectiveFrom: '2026-11-01',
      recordedAt: '2026-11-21',
      rates: { input: '0.000001', output: '0.00001' },
    });
    await changeAllCalls(db, { book: 2, model: 'm', from: '2026-11-01', previous: 1 });
    const { edges, summary } = await scene.compare();
    expect([edges, summary.ourCost]).toEqual([[], '0.00006']);
  });
});

describe('bounds', () => {
  it('thousands of calls, more in a second than a page holds, are compared window by window, each once', async () => {
    const { db } = scene.database;
    const { member } = scene.world;
    // 900 in one second, and 2,100 over an hour.
    await db.query(
      `INSERT INTO llm_usage (organization_id, occurred_at, id, user_id, scenario, trace_id, streamed, model, served_model, upstream, attempts, status, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens,
         cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, price_number, cost, settled_at, batch_id, door, operation)
       SELECT $1, CASE WHEN i < 900 THEN timestamptz '2026-11-20 10:00:00.25+00' + i % 3 * interval '1 ms' ELSE timestamptz '2026-11-20 10:00:02+00' + i * interval '1.5 s' END, 'call_' || i, $2, 'DEFAULT', 'a', false, 'm', 'm', 'LITELLM', 1,
         'COMPLETED', 10, 0, 0, 0, 5, 0, 'PROVIDER', 1, 0.00006, '2026-11-20 12:00+00', 0, 'GRAPHQL', 'CHAT' FROM generate_series(0, 2999) AS i`,
      [member.organizationId, member.id],
    );
    const calls = await db.query<{ id: string; occurred_at: Date }>('SELECT id, occurred_at FROM llm_usage');
    for (const { id, occurred_at } of calls)
      if (id !== 'call_500' && id !== 'call_2000') scene.record({ id, occurred_at: occurred_at.toISOString() });
    const { edges, summary } = await scene.compare();
    expect(summary).toMatchObject({ comparedCalls: 3_000, differences: 2, ourCost: '0.18', proxyCost: '0.17988' });
    expect(edges.map(({ node }) => [node.kind, node.callId])).toEqual([
      ['MISSING_AT_PROXY', 'call_500'],
      ['MISSING_AT_PROXY', 'call_2000'],
    ]);
  });

  it.each([
    ['calls', { calls: 3, ms: 60_000 }],
    ['time', { calls: 10_000, ms: 0 }],
  ])('a question that has used up its %s says how far it came, and is asked again from there', async (_, limits) => {
    const ids: unknown[] = [];
    // Without time, each question comes a minute further or so.
    const to = new Date(FROM.getTime() + 60 * MINUTE);
    for (let minute = 0; minute < 60; minute += 5)
      ids.push((await scene.call({ occurred_at: new Date(FROM.getTime() + minute * MINUTE + 123).toISOString() })).id);
    const service = scene.serviceWithin(limits);
    const found: unknown[] = [];
    let questions = 0;
    for (let from = FROM; from < to; questions += 1) {
      const { edges, summary } = await service.compare(scene.world.operator.viewer, { from, to, first: 100 });
      found.push(...edges.map(({ node }) => node.callId));
      expect(summary.comparedUpTo.getTime()).toBeGreaterThan(from.getTime());
      from = summary.comparedUpTo;
    }
    expect(found).toEqual(ids);
    expect(questions).toBeGreaterThan(1);
  });

  it('a question whose time is up in the middle of a window asks for no further call, and ends in front of it', async () => {
    const ids: unknown[] = [];
    for (let i = 0; i < 12; i += 1)
      ids.push(
        (
          await scene.call({
            occurred_at: new Date(FROM.getTime() + 10_000 + i * 100 + (i % 3 === 0 ? 100 : 0)).toISOString(),
          })
        ).id,
      );
    // A proxy that remembers the time: each call is asked for by its id.
    scene.proxy.record({ callId: 'theirs', startTime: '2026-11-20T00:00:20Z' });
    const service = scene.serviceWithin({ calls: 10_000, ms: 0 });
    const found: unknown[] = [];
    const to = new Date(FROM.getTime() + 60 * MINUTE);
    for (let from = FROM; from < to;) {
      scene.proxy.requests.length = 0;
      const { edges, summary } = await service.compare(scene.world.operator.viewer, { from, to, first: 100 });
      // Calls of the same millisecond only, so that every question comes further.
      expect(scene.proxy.count('GET /spend/logs')).toBeLessThanOrEqual(2);
      expect(summary.comparedUpTo.getTime()).toBeGreaterThan(from.getTime());
      found.push(...edges.map(({ node }) => node.callId));
      from = summary.comparedUpTo;
    }
    expect([...found].sort()).toEqual([...ids].sort());
  });

  it('pages are stable, and a further one asks the proxy nothing', async () => {
    for (let i = 0; i < 7; i += 1) await scene.call({ occurred_at: '2026-11-20T10:00:00.123456Z' });
    const all = await scene.compare();
    const found: unknown[] = [];
    let after: string | undefined;
    const asked = scene.proxy.requests.length;
    for (let more = true; more;) {
      const page = await scene.compare({ first: 3, after });
      if (after) expect(page.summary).toEqual(all.summary);
      found.push(...page.edges);
      expect(page.hasPreviousPage).toBe(after !== undefined);
      after = page.edges.at(-1)!.cursor;
      more = page.hasNextPage;
    }
    expect(found).toEqual(all.edges);
    // The first page of the three was a new question.
    expect(scene.proxy.requests.length).toBe(asked * 2);
  });

  it("for one organisation's few calls on a busy proxy its list is not read: they are asked for by id", async () => {
    const call = await scene.call();
    scene.record(call);
    for (let i = 0; i < 200; i += 1)
      scene.proxy.record({ callId: `other-${i}`, startTime: '2026-11-20T10:00:00.200Z' });
    scene.proxy.requests.length = 0;
    expect(await differences({}, scene.world.admin.viewer)).toEqual([]);
    expect(scene.proxy.count('GET /spend/logs')).toBe(1);
  });

  it.each([
    ['from', { from: TO, to: FROM }],
    ['from', { from: TO, to: TO }],
    ['to', { from: new Date('2026-10-01T00:00:00Z'), to: TO }],
    ['first', { first: 0 }],
    ['first', { first: 101 }],
    ['after', { after: 'nonsense' }],
  ])('refuses %s: %j', async (argument, args) => {
    await expect(scene.compare(args)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument });
  });

  it('refuses a time whose calls are not kept any more', async () => {
    await scene.database.db.query(`UPDATE usage_retention SET dropped_before = '2026-11-20T12:00:00Z'`);
    await expect(scene.compare()).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'from' });
  });
});

describe('who may ask', () => {
  it('members may not; analysts and administrators see their own organisation, operators all', async () => {
    const ours = await scene.call();
    const theirs = await scene.call({
      organization_id: scene.theirs.organizationId,
      user_id: scene.theirs.member.id,
      occurred_at: '2026-11-20T11:00:00Z',
    });
    await expect(scene.compare({}, scene.world.member.viewer)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const seen = async (viewer: typeof scene.world.admin.viewer): Promise<unknown[]> =>
      (await differences({}, viewer)).map(({ callId }) => callId);
    expect(await seen(scene.world.analyst.viewer)).toEqual([ours.id]);
    expect(await seen(scene.theirs.admin.viewer)).toEqual([theirs.id]);
    expect(await seen(scene.world.operator.viewer)).toEqual([ours.id, theirs.id]);
    // Also on a further page: what is kept of an answer is kept for whoever asked.
    const cursor = (await scene.compare({ first: 1 })).edges[0]!.cursor;
    expect((await scene.compare({ after: cursor }, scene.world.admin.viewer)).edges).toEqual([]);
  });

  it('a proxy that is away is SERVICE_UNAVAILABLE', async () => {
    scene.proxy.away = true;
    await expect(scene.compare()).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });

  it('an id of ours without a row says so', async () => {
    const id = newId('call');
    scene.record({ id, occurred_at: '2026-11-20T10:00:00Z' });
    expect(await differences()).toMatchObject([
      { kind: 'MISSING_HERE', callId: null, resolution: expect.stringContaining('an id of ours') },
    ]);
  });
});

it('without a proxy there is nothing to compare with, and says so to those who may ask', async () => {
  const fixture = await createFixture();
  try {
    const question = (token: string): Promise<any> =>
      fixture.app.graphql(token, operation('reconciliation'), { from: FROM.toISOString(), to: TO.toISOString() });
    expect((await question(fixture.member.token)).errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    expect((await question(fixture.operator.token)).errors).toMatchObject([
      { message: expect.stringContaining('no other records to compare with'), extensions: { code: 'NOT_FOUND' } },
    ]);
  } finally {
    await fixture.close();
  }
});
