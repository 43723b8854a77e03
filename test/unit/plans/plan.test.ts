import { readPlanEdit } from '../../../src/services/plans/plan.input';
import { type Plan, allows } from '../../../src/domain/plan';

describe('the rule of a plan', () => {
  const plan = { models: ['gpt-4o', 'anthropic/*', 'openai/gpt-4o-mini'] };
  it.each([
    ['a model by its exact id', { id: 'gpt-4o', provider: 'openai' }, true],
    ['a model by its exact id without a known provider', { id: 'gpt-4o', provider: null }, true],
    ['a model by an id with a slash', { id: 'openai/gpt-4o-mini', provider: null }, true],
    ['every model of a provider', { id: 'claude', provider: 'anthropic' }, true],
    ['no model that only begins alike', { id: 'gpt-4o-mini', provider: 'openai' }, false],
    ['no model of which only the id names the provider', { id: 'anthropic/claude', provider: 'bedrock' }, false],
    ['no model whose id is a pattern', { id: 'anthropic/*', provider: null }, false],
    ['no provider that only begins alike', { id: 'x', provider: 'anthropic-eu' }, false],
    ['nothing in other case', { id: 'GPT-4O', provider: 'Anthropic' }, false],
  ])('allows %s', (_, model, expected) => expect(allows(plan, model)).toBe(expected));

  it('allows nothing when it names nothing', () =>
    expect(allows({ models: [] }, { id: 'a', provider: 'b' })).toBe(false));
  it('has no entry that means everything', () =>
    expect(allows({ models: ['*'] }, { id: 'a', provider: 'b' })).toBe(false));
});

describe('an edit of a plan', () => {
  const before: Plan = {
    id: 'pln',
    name: 'pro',
    models: ['a'],
    defaultModel: 'a',
    limits: {
      requestsPerMinute: 5,
      tokensPerMinute: null,
      parallelCalls: 2,
      maxOutputTokens: 100,
      monthlyBudget: '10',
    },
  };
  const edit = { name: 'pro', models: ['a', 'b'] };

  it('keeps what it leaves out', () =>
    expect(readPlanEdit(edit, before)).toEqual({ ...before, id: undefined, models: ['a', 'b'] }));
  it('clears what it sets to null', () => {
    expect(readPlanEdit({ ...edit, defaultModel: null, limits: { parallelCalls: null } }, before)).toMatchObject({
      defaultModel: null,
      limits: { parallelCalls: null, requestsPerMinute: 5 },
    });
    expect(readPlanEdit({ ...edit, limits: null }, before).limits).toEqual({
      requestsPerMinute: null,
      tokensPerMinute: null,
      parallelCalls: null,
      maxOutputTokens: null,
      monthlyBudget: null,
    });
  });
  it('writes money in one form', () =>
    expect(readPlanEdit({ ...edit, limits: { monthlyBudget: '1.50e1' } }, null).limits.monthlyBudget).toBe('15'));
  it('takes a default model that only a provider pattern can cover', () =>
    expect(readPlanEdit({ ...edit, models: ['openai/*'], defaultModel: 'gpt-4o' }, null).defaultModel).toBe('gpt-4o'));

  it.each([
    ['name', { name: '  ' }],
    ['name', { name: 'a\0b' }],
    ['models[1]', { models: ['a', ' b'] }],
    ['models[0]', { models: ['*'] }],
    ['models[0]', { models: ['/*'] }],
    ['models[0]', { models: ['open*/*'] }],
    ['models[0]', { models: ['a\0'] }],
    ['defaultModel', { defaultModel: 'c' }],
    ['limits.requestsPerMinute', { limits: { requestsPerMinute: 0 } }],
    ['limits.maxOutputTokens', { limits: { maxOutputTokens: -1 } }],
    ['limits.monthlyBudget', { limits: { monthlyBudget: '-0.01' } }],
    ['limits.monthlyBudget', { limits: { monthlyBudget: 'much' } }],
  ])('refuses what is not valid and names %s', (argument, fault) => {
    expect(() => readPlanEdit({ ...edit, ...fault }, null)).toThrow(
      expect.objectContaining({ code: 'BAD_USER_INPUT', argument }),
    );
  });
});
