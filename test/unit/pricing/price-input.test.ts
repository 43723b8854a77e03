import { AppError } from '../../../src/errors';
import { readPriceEdit } from '../../../src/services/pricing/price.input';
import type { ModelPriceEdit } from '../../../src/services/pricing/pricing.types';

const edit = (fields: Partial<ModelPriceEdit> = {}): ModelPriceEdit => ({
  model: 'gpt-x',
  effectiveFrom: new Date('2026-11-01T00:00:00Z'),
  inputPerMillion: '3',
  outputPerMillion: '15',
  ...fields,
});
const refused = (fields: Partial<ModelPriceEdit>): string => {
  try {
    readPriceEdit(edit(fields));
  } catch (error) {
    if (error instanceof AppError && error.code === 'BAD_USER_INPUT') return error.argument!;
    throw error;
  }
  return 'taken';
};
const tier = (abovePromptTokens: number, more: object = {}): NonNullable<ModelPriceEdit['tiers']>[number] => ({
  abovePromptTokens,
  inputPerMillion: '1',
  outputPerMillion: '2',
  ...more,
});

describe("an operator's price", () => {
  it('is kept per token, exactly, without what is not priced apart', () => {
    expect(
      readPriceEdit(
        edit({
          inputPerMillion: '0.000000000001',
          outputPerMillion: '123456789.123456789012',
          cacheReadPerMillion: '0.30',
          reasoningPerMillion: null,
          perRequest: '0.010',
          tiers: [tier(200_000, { cacheReadPerMillion: '0' })],
        }),
      ),
    ).toEqual({
      model: 'gpt-x',
      deployment: null,
      organizationId: null,
      source: 'ADMIN',
      effectiveFrom: new Date('2026-11-01T00:00:00Z'),
      effectiveTo: null,
      serviceTier: null,
      note: null,
      rates: {
        input: '0.000000000000000001',
        output: '123.456789123456789012',
        cacheRead: '0.0000003',
        perRequest: '0.01',
        tiers: [{ abovePromptTokens: 200_000, input: '0.000001', output: '0.000002', cacheRead: '0' }],
      },
    });
  });

  it('may be free: zeros that an operator writes are a price', () => {
    expect(readPriceEdit(edit({ inputPerMillion: '0', outputPerMillion: '0' })).rates).toEqual({
      input: '0',
      output: '0',
    });
  });

  it.each<[string, Partial<ModelPriceEdit>]>([
    ['model', { model: '' }],
    ['model', { model: '  ' }],
    ['model', { model: ' gpt' }],
    ['model', { model: 'a\u0007b' }],
    ['model', { model: 'x'.repeat(201) }],
    ['effectiveFrom', { effectiveFrom: new Date(Number.NaN) }],
    ['effectiveTo', { effectiveTo: new Date('2026-11-01T00:00:00Z') }],
    ['effectiveTo', { effectiveTo: new Date(Number.NaN) }],
    ['effectiveTo', { effectiveTo: new Date('9999-12-31T23:59:59-14:00') }],
    ['effectiveFrom', { effectiveFrom: new Date('0001-01-01T00:00:00+14:00') }],
    ['effectiveFrom', { effectiveFrom: new Date('9999-12-31T23:59:59-00:01') }],
    ['inputPerMillion', { inputPerMillion: '-1' }],
    ['inputPerMillion', { inputPerMillion: 'NaN' }],
    ['outputPerMillion', { outputPerMillion: '1000000000' }],
    ['outputPerMillion', { outputPerMillion: '0.0000000000001' }],
    ['cacheReadPerMillion', { cacheReadPerMillion: '-0.1' }],
    ['cacheWritePerMillion', { cacheWritePerMillion: '-0.1' }],
    ['cacheWriteOneHourPerMillion', { cacheWriteOneHourPerMillion: '1e99' }],
    ['reasoningPerMillion', { reasoningPerMillion: '-2' }],
    ['perRequest', { perRequest: '-0.01' }],
    ['serviceTier', { serviceTier: 'no spaces' }],
    ['serviceTier', { serviceTier: '' }],
    ['serviceTier', { serviceTier: 'Standard' }],
    ['tiers[0].abovePromptTokens', { tiers: [tier(-1)] }],
    ['tiers[1].abovePromptTokens', { tiers: [tier(5), tier(5)] }],
    ['tiers[1].abovePromptTokens', { tiers: [tier(5), tier(4)] }],
    ['tiers[1].cacheWritePerMillion', { tiers: [tier(5), tier(6, { cacheWritePerMillion: '-1' })] }],
    ['tiers', { tiers: Array.from({ length: 21 }, (_, i) => tier(i)) }],
    ['note', { note: 'x'.repeat(1_001) }],
  ])('is refused by the name of %s: %j', (argument, fields) => {
    expect(refused(fields)).toBe(argument);
  });

  it('may hold from the first to the last moment that the calendar has in UTC', () => {
    const [effectiveFrom, effectiveTo] = [new Date('0001-01-01T00:00:00Z'), new Date('9999-12-31T23:59:59.999Z')];
    expect(readPriceEdit(edit({ effectiveFrom, effectiveTo }))).toMatchObject({ effectiveFrom, effectiveTo });
  });

  it('takes a service tier as usage rows have it', () => {
    expect(readPriceEdit(edit({ serviceTier: 'Priority' })).serviceTier).toBe('priority');
  });
});
