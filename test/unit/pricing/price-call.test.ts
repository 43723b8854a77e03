import { priceCall } from '../../../src/services/pricing/price-call';
import type { Rates } from '../../../src/services/pricing/pricing.types';
import type { TokenBuckets } from '../../../src/domain/money';

const NO_TOKENS: TokenBuckets = {
  uncachedPrompt: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWriteOneHour: 0,
  output: 0,
  reasoning: 0,
};
const tokens = (some: Partial<TokenBuckets>): TokenBuckets => ({ ...NO_TOKENS, ...some });

// Money as whole 10^-12 dollars: an arithmetic of its own beside the Decimal under test.
const PICO = 12;
const pico = (text: string): bigint => {
  const [whole, fraction = ''] = text.split('.');
  if (fraction.length > PICO) throw new Error(`more than ${PICO} decimals: ${text}`);
  return BigInt(whole + fraction.padEnd(PICO, '0'));
};

describe('priceCall', () => {
  it('prices each bucket by its own rate', () => {
    const rates: Rates = {
      input: '0.000003',
      output: '0.000015',
      cacheRead: '0.0000003',
      cacheWrite: '0.00000375',
      cacheWriteOneHour: '0.000006',
    };
    expect(
      priceCall(
        { uncachedPrompt: 1000, cacheRead: 200, cacheWrite: 300, cacheWriteOneHour: 100, output: 50, reasoning: 25 },
        rates,
      ),
    ).toEqual({
      input: '0.003',
      cacheRead: '0.00006',
      cacheWrite: '0.00135',
      output: '0.001125',
      reasoning: '0',
      request: '0',
      total: '0.005535',
    });
  });

  it('a bucket that is not priced apart costs like input or output', () => {
    expect(
      priceCall(
        tokens({ uncachedPrompt: 1, cacheRead: 1, cacheWrite: 2, cacheWriteOneHour: 1, output: 1, reasoning: 1 }),
        { input: '2', output: '10' },
      ),
    ).toEqual({
      input: '2',
      cacheRead: '2',
      cacheWrite: '4',
      output: '20',
      reasoning: '0',
      request: '0',
      total: '28',
    });
  });

  it('reasoning is a part of its own only where it is priced apart', () => {
    const call = tokens({ output: 3, reasoning: 4 });
    expect(priceCall(call, { input: '1', output: '10', reasoning: '7' })).toMatchObject({
      output: '30',
      reasoning: '28',
      total: '58',
    });
    expect(priceCall(call, { input: '1', output: '10' })).toMatchObject({ output: '70', reasoning: '0', total: '70' });
  });

  it('one-hour cache writes without a rate cost like other cache writes', () => {
    expect(
      priceCall(tokens({ cacheWrite: 5, cacheWriteOneHour: 5 }), { input: '1', output: '1', cacheWrite: '3' }),
    ).toMatchObject({ cacheWrite: '15' });
  });

  it('the whole prompt chooses the tier, and a prompt of exactly the bound stays below it', () => {
    const rates: Rates = {
      input: '1',
      output: '2',
      cacheRead: '0.5',
      tiers: [
        { abovePromptTokens: 100, input: '10', output: '20', cacheRead: '5' },
        { abovePromptTokens: 200, input: '100', output: '200' },
      ],
    };
    expect(priceCall(tokens({ uncachedPrompt: 60, cacheRead: 40, output: 1 }), rates)).toMatchObject({
      input: '60',
      cacheRead: '20',
      output: '2',
    });
    expect(priceCall(tokens({ uncachedPrompt: 60, cacheRead: 41, output: 1 }), rates)).toMatchObject({
      input: '600',
      cacheRead: '205',
      output: '20',
    });
    expect(priceCall(tokens({ uncachedPrompt: 1, cacheRead: 200, output: 1 }), rates)).toMatchObject({
      input: '100',
      cacheRead: '20000',
      output: '200',
    });
  });

  it('adds the fee of the request', () => {
    expect(priceCall(tokens({ uncachedPrompt: 1 }), { input: '0.1', output: '0', perRequest: '0.005' })).toMatchObject({
      request: '0.005',
      total: '0.105',
    });
  });

  it('the parts add up to the total to the last digit, and equal an independent sum, for thousands of random calls', () => {
    const random = generator(42);
    const rate = (): string => (random(1_000_000) / 1e6 / 1e3).toFixed(9);
    for (let round = 0; round < 3_000; round += 1) {
      const maybe = (): string | undefined => (random(2) ? rate() : undefined);
      const rates: Rates = {
        input: rate(),
        output: rate(),
        cacheRead: maybe(),
        cacheWrite: maybe(),
        cacheWriteOneHour: maybe(),
        reasoning: maybe(),
        perRequest: maybe(),
      };
      const bound = random(2_000_000);
      if (random(2))
        rates.tiers = [
          { abovePromptTokens: bound, input: rate(), output: rate(), cacheRead: maybe(), cacheWrite: maybe() },
        ];
      const cacheWrite = random(500_000);
      const call: TokenBuckets = {
        uncachedPrompt: random(1_000_000),
        cacheRead: random(500_000),
        cacheWrite,
        cacheWriteOneHour: random(cacheWrite + 1),
        output: random(100_000),
        reasoning: random(100_000),
      };

      const parts = priceCall(call, rates);
      const tier = rates.tiers?.find(() => call.uncachedPrompt + call.cacheRead + call.cacheWrite > bound);
      const at = tier ?? rates;
      const total =
        BigInt(call.uncachedPrompt) * pico(at.input) +
        BigInt(call.cacheRead) * pico(at.cacheRead ?? at.input) +
        BigInt(call.cacheWrite - call.cacheWriteOneHour) * pico(at.cacheWrite ?? at.input) +
        BigInt(call.cacheWriteOneHour) * pico(rates.cacheWriteOneHour ?? at.cacheWrite ?? at.input) +
        BigInt(call.output) * pico(at.output) +
        BigInt(call.reasoning) * pico(rates.reasoning ?? at.output) +
        pico(rates.perRequest ?? '0');
      expect(pico(parts.total)).toBe(total);
      const { total: _total, ...rest } = parts;
      expect(Object.values(rest).reduce((sum, part) => sum + pico(part), 0n)).toBe(total);
      for (const part of Object.values(parts)) expect(part).toMatch(/^\d+(\.\d*[1-9])?$/);
    }
  });
});

/** Whole numbers below a bound, the same ones in every run (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below);
  };
}
