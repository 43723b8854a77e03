import { worstCaseCost } from '../../../src/services/ledger/bound';
import { Decimal } from '../../../src/lib/decimal';
import { priceCall } from '../../../src/services/pricing/price-call';
import { pickRecord, possibleRecords } from '../../../src/services/pricing/price-lookup';
import type { PriceRecord, Rates, RateTier } from '../../../src/services/pricing/pricing.types';
import { worstRates } from '../../../src/services/pricing/worst-rates';
import type { TokenBuckets } from '../../../src/domain/money';

let number = 0;
const record = (fields: Partial<PriceRecord> & { rates: Rates }): PriceRecord => {
  const from = fields.effectiveFrom ?? new Date(1_000);
  number += 1;
  return {
    number,
    model: 'm',
    deployment: null,
    organizationId: null,
    source: 'PROXY',
    effectiveFrom: from,
    effectiveTo: null,
    recordedAt: from,
    serviceTier: null,
    ...fields,
  };
};
const flat = (price: string): Rates => ({ input: price, output: price });
const inputs = (records: PriceRecord[], organization: string | null = 'org_a', ms = 10_000): string[] =>
  possibleRecords(records, organization, ms)
    .map((one) => one.rates.input)
    .sort();

describe('which records may price a call whose deployment and service tier are not known yet', () => {
  it('every deployment that is priced apart, or the alias, whichever began last', () => {
    const book = [
      record({ rates: flat('1') }),
      record({ rates: flat('2'), deployment: 'd1', effectiveFrom: new Date(2_000) }),
      record({ rates: flat('3'), deployment: 'd2', effectiveFrom: new Date(2_000) }),
    ];
    expect(inputs(book)).toEqual(['2', '3']);
    expect(inputs(book, 'org_a', 1_500)).toEqual(['1']);
    expect(inputs([...book, record({ rates: flat('4'), effectiveFrom: new Date(3_000) })])).toEqual(['4']);
    expect(inputs(book, 'org_a', 500)).toEqual([]);
  });

  it("an organisation's own alone where it has one for all deployments, and the general ones of deployments that it leaves out", () => {
    const general = [
      record({ rates: flat('1'), deployment: 'd1' }),
      record({ rates: flat('2'), deployment: 'd2' }),
      record({ rates: flat('9'), source: 'FALLBACK' }),
    ];
    expect(inputs([...general, record({ rates: flat('5'), organizationId: 'org_a', source: 'ADMIN' })])).toEqual(['5']);
    const ownDeployment = [
      ...general,
      record({ rates: flat('5'), organizationId: 'org_a', source: 'ADMIN', deployment: 'd1' }),
    ];
    expect(inputs(ownDeployment)).toEqual(['2', '5', '9']);
    expect(inputs(ownDeployment, 'org_b')).toEqual(['1', '2', '9']);
  });

  it('those and no others that some deployment and service tier is priced by, for hundreds of random books', () => {
    const random = generator(7);
    for (let round = 0; round < 400; round += 1) {
      const book = Array.from({ length: 1 + random(7) }, () =>
        record({
          rates: flat(String(random(50))),
          deployment: [null, 'd1', 'd2', 'd3'][random(4)]!,
          organizationId: random(3) ? null : 'org_a',
          source: (['ADMIN', 'PROXY', 'FALLBACK'] as const)[random(3)]!,
          effectiveFrom: new Date(random(5_000)),
          serviceTier: [null, null, 'flex', 'priority'][random(4)]!,
          effectiveTo: random(4) ? null : new Date(5_000 + random(5_000)),
        }),
      );
      const at = 4_000 + random(4_000);
      const calls = ['d1', 'd2', 'd3', 'unheard-of', null].flatMap((deployment) =>
        ['flex', 'priority', 'other', null].map((serviceTier) => ({ deployment, serviceTier })),
      );
      const picked = new Set(
        calls
          .map(({ deployment, serviceTier }) =>
            pickRecord(book, { deployment, organizationId: 'org_a', serviceTier }, at),
          )
          .filter((one) => one !== null),
      );
      expect(new Set(possibleRecords(book, 'org_a', at))).toEqual(picked);
    }
  });
});

describe('the dearest rates', () => {
  it('are the dearest bucket of each side, a bucket without a price being no dearer than input or output', () => {
    expect(
      worstRates([{ input: '3', output: '15', cacheRead: '0.3', cacheWrite: '3.75', cacheWriteOneHour: '6' }], 10),
    ).toEqual({ promptPerToken: '6', outputPerToken: '15', perRequest: '0' });
    expect(worstRates([{ input: '3', output: '15', cacheWrite: '1', reasoning: '20' }], 10)).toEqual({
      promptPerToken: '3',
      outputPerToken: '20',
      perRequest: '0',
    });
  });

  it('are taken component by component over all records', () => {
    expect(
      worstRates(
        [
          { input: '1', output: '9' },
          { input: '5', output: '2', perRequest: '0.01' },
        ],
        10,
      ),
    ).toEqual({ promptPerToken: '5', outputPerToken: '9', perRequest: '0.01' });
  });

  it('count every tier that a prompt of that length or a shorter one can be in, and none above', () => {
    const rates: Rates = {
      input: '1',
      output: '2',
      reasoning: '3',
      tiers: [
        { abovePromptTokens: 100, input: '0.5', output: '4', cacheWriteOneHour: '7' },
        { abovePromptTokens: 200, input: '50', output: '60' },
      ],
    };
    expect(worstRates([rates], 0)).toEqual({ promptPerToken: '1', outputPerToken: '3', perRequest: '0' });
    expect(worstRates([rates], 100)).toEqual({ promptPerToken: '1', outputPerToken: '3', perRequest: '0' });
    expect(worstRates([rates], 101)).toEqual({ promptPerToken: '7', outputPerToken: '4', perRequest: '0' });
    expect(worstRates([rates], 200)).toMatchObject({ promptPerToken: '7', outputPerToken: '4' });
    expect(worstRates([rates], 201)).toMatchObject({ promptPerToken: '50', outputPerToken: '60' });
  });

  it('are none without a record: unknown is not free', () => {
    expect(worstRates([], 10)).toBeNull();
    expect(worstRates([flat('0')], 10)).toEqual({ promptPerToken: '0', outputPerToken: '0', perRequest: '0' });
  });

  it('no call within its bounds costs more, whichever record prices it, for thousands of random prices and usages', () => {
    const random = generator(11);
    const rate = (): string => (random(1_000_000) / 1e9).toFixed(9);
    const maybe = (): string | undefined => (random(2) ? rate() : undefined);
    let reached = 0;
    for (let round = 0; round < 4_000; round += 1) {
      const promptBound = random(3_000);
      const maxTokens = random(2_000);
      const tier = (): RateTier => ({
        abovePromptTokens: random(4_000) - 1,
        input: rate(),
        output: rate(),
        cacheRead: maybe(),
        cacheWrite: maybe(),
        cacheWriteOneHour: maybe(),
        reasoning: maybe(),
      });
      const records = Array.from({ length: 1 + random(3) }, (): Rates => ({
        input: rate(),
        output: rate(),
        cacheRead: maybe(),
        cacheWrite: maybe(),
        cacheWriteOneHour: maybe(),
        reasoning: maybe(),
        perRequest: maybe(),
        tiers: Array.from({ length: random(3) }, tier).sort((a, b) => a.abovePromptTokens - b.abovePromptTokens),
      }));
      const worst = worstCaseCost(promptBound, maxTokens, worstRates(records, promptBound)!);
      for (const rates of records) {
        for (const tokens of [
          usage(random, promptBound, maxTokens),
          usage(random, random(promptBound + 1), random(maxTokens + 1)),
        ]) {
          const cost = priceCall(tokens, rates).total;
          if (Decimal.parse(cost).compare(Decimal.parse(worst)) > 0)
            throw new Error(`${cost} > ${worst}: ${JSON.stringify({ rates, tokens, promptBound, maxTokens })}`);
          if (cost === worst) reached += 1;
        }
      }
    }
    // Not only an upper bound: simple prices reach it.
    const simple = flat('0.000001');
    expect(worstCaseCost(100, 50, worstRates([simple], 100)!)).toBe(
      priceCall(
        { uncachedPrompt: 100, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 50, reasoning: 0 },
        simple,
      ).total,
    );
    expect(reached).toBeGreaterThan(0);
  });
});

/** Some division of a prompt and an answer into buckets. */
function usage(random: (below: number) => number, prompt: number, answer: number): TokenBuckets {
  const cacheRead = random(3) ? random(prompt + 1) : 0;
  const cacheWrite = random(3) ? random(prompt - cacheRead + 1) : 0;
  const reasoning = random(2) ? random(answer + 1) : 0;
  return {
    uncachedPrompt: prompt - cacheRead - cacheWrite,
    cacheRead,
    cacheWrite,
    cacheWriteOneHour: random(cacheWrite + 1),
    output: answer - reasoning,
    reasoning,
  };
}

/** Whole numbers below a bound, the same in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
