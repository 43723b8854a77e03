import { badInput } from '../../errors';
import { Decimal } from '../../lib/decimal';
import { canonicalRates } from './canonical-rates';
import type { ModelPriceEdit, PriceTierEdit, Rates, RateTier, RecordToAdd } from './pricing.types';

/** Milliseconds since 1970: the first moment of year 1 and that after year 9999, in UTC. */
const FIRST_MS = Date.parse('0001-01-01T00:00:00Z');
const END_MS = Date.parse('9999-12-31T23:59:59.999Z') + 1;
/** Digits: a rate times all tokens of a year stays far within `numeric`, and is a price. */
const AMOUNT = /^\d{1,9}(\.\d{1,12})?$/;
const PER_TOKEN = Decimal.parse('0.000001');
const MAX_TIERS = 20;
/** Characters. */
const MAX_MODEL = 200;
const MAX_NOTE = 1_000;
const CONTROL = /[\u0000-\u001f\u007f]/;
/** As usage rows have them: see usage-shape.ts of the upstream. */
const SERVICE_TIER = /^[\w-]{1,50}$/;
const USUAL_TIERS = ['default', 'auto', 'standard', 'standard_only'];

/**
 * An operator's price as a record of the book, without the end that it may get from the next one. Rates are entered per
 * million tokens and kept per token, exactly. Throws BAD_USER_INPUT.
 */
export function readPriceEdit(input: ModelPriceEdit): RecordToAdd {
  if (input.model.trim() === '') throw badInput('model', 'must name a model');
  if (input.model !== input.model.trim() || input.model.length > MAX_MODEL || CONTROL.test(input.model))
    throw badInput('model', `at most ${MAX_MODEL} characters, none of them control characters, without space around`);
  const { effectiveFrom, effectiveTo = null } = input;
  requireTime(effectiveFrom, 'effectiveFrom');
  if (effectiveTo) requireTime(effectiveTo, 'effectiveTo');
  if (effectiveTo && !(effectiveTo > effectiveFrom)) throw badInput('effectiveTo', 'must be after effectiveFrom');
  const note = input.note?.trim() || null;
  if (note !== null && note.length > MAX_NOTE) throw badInput('note', `must have at most ${MAX_NOTE} characters`);
  return {
    model: input.model,
    deployment: null,
    organizationId: input.organizationId ?? null,
    source: 'ADMIN',
    effectiveFrom,
    effectiveTo,
    serviceTier: readServiceTier(input.serviceTier),
    rates: readRates(input),
    note,
  };
}

function requireTime(time: Date, argument: string): void {
  if (Number.isNaN(time.getTime())) throw badInput(argument, 'must be a time');
  if (time.getTime() < FIRST_MS || time.getTime() >= END_MS)
    throw badInput(argument, 'must be in the years 1 to 9999, in UTC');
}

function readRates(input: ModelPriceEdit): Rates {
  return canonicalRates({
    input: perToken(input.inputPerMillion, 'inputPerMillion'),
    output: perToken(input.outputPerMillion, 'outputPerMillion'),
    ...given({
      cacheRead: maybePerToken(input.cacheReadPerMillion, 'cacheReadPerMillion'),
      cacheWrite: maybePerToken(input.cacheWritePerMillion, 'cacheWritePerMillion'),
      cacheWriteOneHour: maybePerToken(input.cacheWriteOneHourPerMillion, 'cacheWriteOneHourPerMillion'),
      reasoning: maybePerToken(input.reasoningPerMillion, 'reasoningPerMillion'),
      perRequest: input.perRequest == null ? undefined : readAmount(input.perRequest, 'perRequest').toString(),
    }),
    tiers: readTiers(input.tiers ?? []),
  });
}

function readTiers(tiers: readonly PriceTierEdit[]): RateTier[] {
  if (tiers.length > MAX_TIERS) throw badInput('tiers', `at most ${MAX_TIERS} tiers`);
  return tiers.map((tier, index) => {
    const at = `tiers[${index}]`;
    if (!Number.isInteger(tier.abovePromptTokens) || tier.abovePromptTokens < 0)
      throw badInput(`${at}.abovePromptTokens`, 'a whole number, at least 0');
    if (index > 0 && tier.abovePromptTokens <= tiers[index - 1]!.abovePromptTokens)
      throw badInput(`${at}.abovePromptTokens`, 'must be above that of the tier before it');
    return {
      abovePromptTokens: tier.abovePromptTokens,
      input: perToken(tier.inputPerMillion, `${at}.inputPerMillion`),
      output: perToken(tier.outputPerMillion, `${at}.outputPerMillion`),
      ...given({
        cacheRead: maybePerToken(tier.cacheReadPerMillion, `${at}.cacheReadPerMillion`),
        cacheWrite: maybePerToken(tier.cacheWritePerMillion, `${at}.cacheWritePerMillion`),
      }),
    };
  });
}

function readServiceTier(text: string | null | undefined): string | null {
  if (text == null) return null;
  if (!SERVICE_TIER.test(text)) throw badInput('serviceTier', 'letters, digits, - and _, as in "priority"');
  const tier = text.toLowerCase();
  if (USUAL_TIERS.includes(tier)) throw badInput('serviceTier', "is the provider's usual one: leave it out");
  return tier;
}

const perToken = (text: string, argument: string): string => readAmount(text, argument).times(PER_TOKEN).toString();
const maybePerToken = (text: string | null | undefined, argument: string): string | undefined =>
  text == null ? undefined : perToken(text, argument);

function readAmount(text: string, argument: string): Decimal {
  let amount: Decimal;
  try {
    amount = Decimal.parse(text);
  } catch {
    throw badInput(argument, 'not a decimal number');
  }
  if (amount.isNegative) throw badInput(argument, 'must not be negative');
  if (!AMOUNT.test(amount.toString())) throw badInput(argument, 'has at most 9 digits before and 12 after the point');
  return amount;
}

/** Without what is undefined: a bucket that is not priced apart has no field. */
const given = <T extends Record<string, string | undefined>>(fields: T): { [K in keyof T]?: string } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: string };
