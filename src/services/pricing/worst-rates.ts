import { Decimal } from '../../lib/decimal';
import type { Rates, RateTier } from './pricing.types';

/**
 * Dollars, decimal strings: no call that these stand for costs more per token of its prompt, per token of its answer,
 * and for being made.
 */
export interface WorstRates {
  promptPerToken: string;
  outputPerToken: string;
  perRequest: string;
}

/**
 * The dearest of each component over all rates that may price a call with a prompt of up to `promptTokens`: nobody
 * knows before the call which part of it a provider's cache will read or write, how much of the answer is reasoning,
 * and, the bound being a bound, which tier below it the prompt will reach. So every bucket of every tier within reach
 * counts. null for no rates.
 */
export function worstRates(rates: readonly Rates[], promptTokens: number): WorstRates | null {
  if (rates.length === 0) return null;
  let prompt = Decimal.ZERO;
  let output = Decimal.ZERO;
  let request = Decimal.ZERO;
  for (const one of rates) {
    const { steps, perRequest } = stepsOf(one);
    request = dearer(request, perRequest);
    for (const step of steps) {
      // A prompt of exactly the bound stays below the tier, as in `priceCall`.
      if (promptTokens <= step.above) continue;
      prompt = dearer(prompt, step.prompt);
      output = dearer(output, step.output);
    }
  }
  return { promptPerToken: prompt.toString(), outputPerToken: output.toString(), perRequest: request.toString() };
}

interface Step {
  above: number;
  prompt: Decimal;
  output: Decimal;
}
interface Steps {
  steps: Step[];
  perRequest: Decimal;
}

// Records never change, and every admission asks: read once, a price costs a few comparisons.
const read = new WeakMap<Rates, Steps>();

function stepsOf(rates: Rates): Steps {
  const known = read.get(rates);
  if (known) return known;
  const steps = [stepOf(rates, -1), ...(rates.tiers ?? []).map((tier) => stepOf(tier, tier.abovePromptTokens))];
  const made = { steps, perRequest: Decimal.parse(rates.perRequest ?? '0') };
  read.set(rates, made);
  return made;
}

/**
 * A bucket that is not there costs like input or output, which are counted anyway; what a tier takes over from its
 * record is counted there, since every prompt may be short enough for it.
 */
const stepOf = (rates: Rates | RateTier, above: number): Step => ({
  above,
  prompt: dearest(rates.input, rates.cacheRead, rates.cacheWrite, rates.cacheWriteOneHour),
  output: dearest(rates.output, rates.reasoning),
});

const dearer = (a: Decimal, b: Decimal): Decimal => (b.compare(a) > 0 ? b : a);
const dearest = (...rates: (string | undefined)[]): Decimal =>
  rates.reduce((found, rate) => (rate === undefined ? found : dearer(found, Decimal.parse(rate))), Decimal.ZERO);
