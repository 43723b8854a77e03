import { pricedCall } from '../../../src/database/priced-call';
import { priceUsage } from '../../../src/services/pricing/price-usage';
import { setClock } from '../../support/database';
import { PriceScene } from '../../support/price-scene';
import type { Settlement } from '../../../src/domain/call';
import type { TokenBuckets } from '../../../src/domain/money';

let scene: PriceScene;
let count = 0;
/** Nothing of one test reaches the next. */
let model: string;
beforeAll(async () => {
  scene = await PriceScene.open();
});
beforeEach(() => {
  count += 1;
  model = `model-${count}`;
});
afterEach(async () => {
  await setClock(scene.db, null);
  await scene.db.query(`UPDATE usage_retention SET dropped_before = '-infinity'`);
});
afterAll(() => scene.close());

const tokens = (prompt: number, answer = 0): TokenBuckets => ({
  uncachedPrompt: prompt,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWriteOneHour: 0,
  output: answer,
  reasoning: 0,
});
const call = (day: string, prompt: number, more: Partial<Settlement> = {}): Promise<Settlement> =>
  scene.settle({
    model,
    servedModel: model,
    occurredAt: `2026-11-${day} 12:00:00.123456+00`,
    tokens: tokens(prompt),
    ...more,
  });
const on = (day: string): Date => new Date(`2026-11-${day}T00:00:00Z`);
const now = async (): Promise<Date> => (await scene.db.query<{ now: Date }>('SELECT weir.clock() AS now'))[0]!.now;
const organizationsOf = (result: {
  byOrganization: {
    organizationId: string;
    affectedCalls: number;
    costBefore: string | null;
    costAfter: string | null;
  }[];
}): unknown[] =>
  result.byOrganization.map((one) => [one.organizationId, one.affectedCalls, one.costBefore, one.costAfter]);

describe('a corrected price', () => {
  it('changes what settled calls cost within its time, at once, and nothing else; and what they had cost can still be asked', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    for (const day of ['02', '09', '10', '11', '17']) await call(day, 10);
    await call('10', 3, { organizationId: scene.theirs.organizationId });
    await call('10', 1_000, { servedModel: 'another' });
    const before = await now();
    expect(await scene.figures(model)).toEqual({ cost: '53', unpriced: 0, priced: 6 });
    const result = await scene.setPrice({
      model,
      inputPerMillion: '3000000',
      effectiveFrom: on('10'),
      effectiveTo: on('17'),
    });
    expect(await scene.figures(model)).toEqual({ cost: '99', unpriced: 0, priced: 6 });
    expect(result).toMatchObject({ dryRun: false, affectedCalls: 3, costBefore: '23', costAfter: '69' });
    expect(organizationsOf(result)).toEqual([
      [scene.ours.organizationId, 2, '20', '60'],
      [scene.theirs.organizationId, 1, '3', '9'],
    ]);
    expect(await scene.figures(model, before)).toEqual({ cost: '53', unpriced: 0, priced: 6 });
    expect(await scene.figures(model, result.price.recordedAt)).toEqual({ cost: '99', unpriced: 0, priced: 6 });
    // And once more, from what the correction made of it; in between it is as it was in between.
    const again = await scene.setPrice({
      model,
      inputPerMillion: '2000000',
      effectiveFrom: on('11'),
      effectiveTo: on('12'),
    });
    expect(again).toMatchObject({ affectedCalls: 1, costBefore: '30', costAfter: '20' });
    expect([
      (await scene.figures(model)).cost,
      (await scene.figures(model, result.price.recordedAt)).cost,
      (await scene.figures(model, before)).cost,
    ]).toEqual(['89', '99', '53']);
  });

  it('says by a dry run what it would do, to the digit, and leaves no trace', async () => {
    await scene.setPrice({ model, inputPerMillion: '1' });
    for (const day of ['02', '10', '11']) await call(day, 7);
    const [state, before] = [await scene.bookState(), await scene.figures(model)];
    const input = { model, inputPerMillion: '0.000000000001', effectiveFrom: on('05') };
    const dry = await scene.setPrice(input, true);
    expect(await scene.bookState()).toBe(state);
    expect(await scene.figures(model)).toEqual(before);
    expect(scene.a.book.forCall(model, null, scene.ours.organizationId, on('10'))!.rates.input).toBe('0.000001');
    const real = await scene.setPrice(input);
    expect(dry).toEqual({
      ...real,
      dryRun: true,
      price: { ...real.price, number: dry.price.number, recordedAt: dry.price.recordedAt },
    });
    expect(dry).toMatchObject({ affectedCalls: 2, costBefore: '0.000014', costAfter: '0.000000000000000014' });
  });

  it('makes cost of calls that had no price', async () => {
    await call('10', 10);
    await call('10', 0, { usageSource: 'NONE', status: 'FAILED' });
    expect(await scene.figures(model)).toEqual({ cost: '0', unpriced: 1, priced: 0 });
    expect(await scene.setPrice({ model, inputPerMillion: '500000', perRequest: '0.25' })).toMatchObject({
      affectedCalls: 2,
      costBefore: null,
      costAfter: '5.25',
    });
    expect(await scene.figures(model)).toEqual({ cost: '5.25', unpriced: 0, priced: 2 });
    expect(await scene.setPrice({ model, inputPerMillion: '1000000', perRequest: '0.25' })).toMatchObject({
      affectedCalls: 1,
      costBefore: '5.25',
      costAfter: '10.25',
    });
  });

  it("of an answer from the proxy's cache stays nothing, whatever a request costs: with a price, without one, and in parts", async () => {
    await call('10', 0, { usageSource: 'CACHE', cacheUse: 'HIT' });
    expect(await scene.figures(model)).toEqual({ cost: '0', unpriced: 0, priced: 1 });
    await call('10', 10);
    await scene.setPrice({ model, inputPerMillion: '500000', perRequest: '0.25' });
    expect(await scene.figures(model)).toEqual({ cost: '5.25', unpriced: 0, priced: 2 });
    await call('10', 0, { usageSource: 'CACHE', cacheUse: 'HIT' });
    expect(await scene.setPrice({ model, inputPerMillion: '500000', perRequest: '2' })).toMatchObject({
      costBefore: '5.25',
      costAfter: '7',
    });
    expect(await scene.figures(model)).toEqual({ cost: '7', unpriced: 0, priced: 3 });
    const rows = await scene.db.query(
      `SELECT c.cost::text, c.cost_request::text FROM llm_usage AS u CROSS JOIN LATERAL weir.cost_as_of(${pricedCall('u')}, NULL) AS c WHERE u.served_model = $1 AND u.usage_source = 'CACHE'`,
      [model],
    );
    expect(rows).toEqual([
      { cost: '0', cost_request: '0' },
      { cost: '0', cost_request: '0' },
    ]);
  });

  it('that says what is known already, or that others go before, affects no call', async () => {
    await scene.setPrice({ model, inputPerMillion: '1' });
    await call('10', 10);
    expect(await scene.setPrice({ model, inputPerMillion: '1' })).toMatchObject({
      affectedCalls: 0,
      costBefore: '0',
      costAfter: '0',
      byOrganization: [],
    });
    await scene.setPrice({ model, inputPerMillion: '2', organizationId: scene.ours.organizationId });
    expect(await scene.setPrice({ model, inputPerMillion: '9' })).toMatchObject({
      affectedCalls: 0,
      costBefore: '0',
      costAfter: '0',
      byOrganization: [],
    });
    expect((await scene.figures(model)).cost).toBe('0.00002');
  });

  it("of an organisation's own, or of a service tier, concerns their calls alone", async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    await call('10', 1);
    await call('10', 10, { serviceTier: 'flex' });
    await call('10', 100, { organizationId: scene.theirs.organizationId, deployment: 'd1' });
    await call('10', 1_000, { organizationId: scene.theirs.organizationId, serviceTier: 'flex' });
    expect(
      await scene.setPrice({ model, inputPerMillion: '2000000', organizationId: scene.theirs.organizationId }),
    ).toMatchObject({ affectedCalls: 2, costBefore: '1100', costAfter: '2200' });
    // Theirs has a price of its own, which goes before.
    expect(await scene.setPrice({ model, inputPerMillion: '500000', serviceTier: 'flex' })).toMatchObject({
      affectedCalls: 1,
      costBefore: '10',
      costAfter: '5',
      price: { serviceTier: 'flex' },
    });
    expect(
      await scene.setPrice({
        model,
        inputPerMillion: '500000',
        serviceTier: 'flex',
        organizationId: scene.theirs.organizationId,
      }),
    ).toMatchObject({ affectedCalls: 1, costBefore: '2000', costAfter: '500' });
    expect((await scene.figures(model)).cost).toBe('706');
  });

  it('counts a call that was itself corrected once, as it stands', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    const end = await call('10', 10);
    await scene.a.calls.correct(
      [{ ...end, tokens: tokens(4), ...priceUsage({ ...end, tokens: tokens(4) }, scene.a.book) }],
      'TEST',
    );
    expect(await scene.figures(model)).toEqual({ cost: '4', unpriced: 0, priced: 1 });
    expect(await scene.setPrice({ model, inputPerMillion: '2000000' })).toMatchObject({
      affectedCalls: 1,
      costBefore: '4',
      costAfter: '8',
    });
    // And a correction after the change takes back what the change had made of it.
    const later = { ...end, tokens: tokens(5) };
    await scene.a.calls.correct([{ ...later, ...priceUsage(later, scene.a.book) }], 'TEST');
    expect(await scene.figures(model)).toEqual({ cost: '10', unpriced: 0, priced: 1 });
    expect(await scene.setPrice({ model, inputPerMillion: '3000000' })).toMatchObject({
      affectedCalls: 1,
      costBefore: '10',
      costAfter: '15',
    });
    expect((await scene.figures(model)).cost).toBe('15');
  });

  it('for the future prices calls from then on, and touches none that has been settled', async () => {
    await scene.setPrice({ model, inputPerMillion: '1000000' });
    await call('10', 1);
    const tomorrow = new Date(Date.now() + 86_400_000);
    const { price, ...rest } = await scene.setPrice({ model, inputPerMillion: '5000000', effectiveFrom: tomorrow });
    expect(rest).toMatchObject({ affectedCalls: 0, costBefore: '0', costAfter: '0', byOrganization: [] });
    expect(await scene.db.query('SELECT FROM price_changes WHERE book = $1', [price.number])).toEqual([]);
    const at = (ms: number): string =>
      scene.a.book.forCall(model, null, scene.ours.organizationId, new Date(tomorrow.getTime() + ms))!.rates.input;
    expect([at(-1), at(0)]).toEqual(['1', '5']);
    // Without an end it would have ended there: what begins later is not overridden by what is said of earlier times.
    expect(
      (await scene.setPrice({ model, inputPerMillion: '2000000', effectiveFrom: on('01') })).price.effectiveTo,
    ).toEqual(tomorrow);
    expect([at(-1), at(0)]).toEqual(['2', '5']);
  });

  it('of a model that nobody has used is recorded, and prices its first call', async () => {
    expect(await scene.setPrice({ model, inputPerMillion: '4000000' })).toMatchObject({
      affectedCalls: 0,
      costBefore: '0',
      costAfter: '0',
    });
    expect((await call('20', 2)).cost!.total).toBe('8');
  });
});

describe('what is refused', () => {
  const refusal = (input: object, as = scene.ours.operator.viewer): Promise<unknown> =>
    scene.a.prices
      .setModelPrice(
        as,
        { model, effectiveFrom: on('10'), inputPerMillion: '1', outputPerMillion: '1', ...input },
        false,
      )
      .then(
        () => 'taken',
        (error: { code: string; argument?: string }) => [error.code, error.argument],
      );

  it('everybody but operators, unknown organisations, and input that makes no sense, each by name; and nothing is recorded', async () => {
    const state = await scene.bookState();
    for (const user of [scene.ours.member, scene.ours.analyst, scene.ours.admin])
      expect(await refusal({}, user.viewer)).toEqual(['FORBIDDEN', undefined]);
    expect(await refusal({ organizationId: 'org_nobody' })).toEqual(['NOT_FOUND', 'organizationId']);
    expect(await refusal({ effectiveTo: on('10') })).toEqual(['BAD_USER_INPUT', 'effectiveTo']);
    expect(await refusal({ model: '' })).toEqual(['BAD_USER_INPUT', 'model']);
    expect(await scene.bookState()).toBe(state);
  });

  it('a change of times whose calls were removed, with what is possible', async () => {
    await scene.db.query('UPDATE usage_retention SET dropped_before = $1', [on('05')]);
    const state = await scene.bookState();
    expect(await refusal({ effectiveFrom: new Date(on('05').getTime() - 1) })).toEqual([
      'BAD_USER_INPUT',
      'effectiveFrom',
    ]);
    await expect(scene.setPrice({ model }, true)).rejects.toMatchObject({
      message: expect.stringContaining('2026-11-05T00:00:00.000Z or later'),
    });
    expect(await scene.bookState()).toBe(state);
    expect(await refusal({ effectiveFrom: on('05') })).toBe('taken');
  });
});
