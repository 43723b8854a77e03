import { litellmConfig } from '../../../launch/litellm-config';
import { PROVIDERS } from '../../../launch/litellm-providers';
import { dividePlans, type SeedModel } from '../../../launch/seed-plans';
import { allows } from '../../../src/domain/plan';

const model = (id: string, provider: string | null = 'openai', outputPrice: number | null = null): SeedModel => ({
  id,
  provider,
  outputPrice,
  chat: !id.includes('embed'),
});
const counts = (models: SeedModel[]): number[] =>
  Object.values(dividePlans(models)).map((plan) => models.filter((entry) => allows(plan, entry)).length);

const demo = ['demo-small', 'demo-large', 'demo-reasoner', 'demo-vision', 'demo-embedding'].map((id) => model(id));

test.each([
  ['the demonstration provider', demo],
  ...PROVIDERS.map(({ name, models }) => [name, models.map((id) => model(id, name))] as const).filter(
    ([, models]) => models.filter(({ chat }) => chat).length > 2,
  ),
  ['all providers at once', PROVIDERS.flatMap(({ name, models }) => models.map((id) => model(id, name)))],
  ['a server that does not name providers', ['a', 'b', 'c'].map((id) => model(id, null))],
] as [string, SeedModel[]][])('with %s, each plan has more models than the one before', (_, models) => {
  const [free, pro, team] = counts(models) as [number, number, number];
  expect(free).toBeGreaterThan(0);
  expect(pro).toBeGreaterThan(free);
  expect(team).toBeGreaterThan(pro);
  expect(team).toBe(models.length);
});

test('each plan has everything of the one before', () => {
  const plans = dividePlans(demo);
  expect(plans.pro.models).toEqual(expect.arrayContaining(plans.free.models));
});

test('where all prices are known, the smallest plan has the cheapest models', () => {
  const plans = dividePlans([model('x-lite', 'p', 9), model('x-huge', 'p', 1), model('x', 'p', 5)]);
  expect(plans.free.models).toEqual(['x-huge']);
});

test('the smallest plan has a monthly budget where its models have prices: under one, a model without a price is refused', () => {
  const budgets = (models: SeedModel[]) => Object.values(dividePlans(models)).map(({ monthlyBudget }) => monthlyBudget);
  expect(budgets([model('a', 'p', 1), model('b', 'p', 2), model('c', 'p', 3)])).toEqual(['5', null, null]);
  expect(budgets([model('a', 'p', 0), model('b', 'p', 2), model('c', 'p', 3)])).toEqual([null, null, null]);
  expect(budgets([model('a'), model('b'), model('c')])).toEqual([null, null, null]);
});

test('where a price is unknown, names decide', () => {
  expect(dividePlans([model('gpt-9-pro'), model('gpt-9'), model('gpt-9-mini')]).free).toEqual({
    models: ['gpt-9-mini'],
    defaultModel: 'gpt-9-mini',
    monthlyBudget: null,
  });
});

test('every plan has its default model, and it chats', () => {
  for (const plan of Object.values(dividePlans(demo))) {
    expect(plan.defaultModel).not.toContain('embed');
    expect(allows(plan, { id: plan.defaultModel!, provider: 'openai' })).toBe(true);
  }
});

test.each([[['a']], [['a', 'b']], [['a', 'embed-b']]])('with as few models as %j every plan can still chat', (ids) => {
  for (const plan of Object.values(dividePlans(ids.map((id) => model(id)))))
    expect(allows(plan, model('a'))).toBe(true);
});

test('nothing served: the plans are empty but for patterns, and there is no default', () => {
  expect(dividePlans([]).free).toEqual({ models: [], defaultModel: null, monthlyBudget: null });
});

test('the biggest plan takes up every provider that the launcher can configure, also when its key comes later', () => {
  const team = dividePlans(demo).team;
  const everything = litellmConfig({
    env: Object.fromEntries(PROVIDERS.map(({ key }) => [key, 'x'])),
    demo: [],
  }).model_list;
  for (const { model_name: id, model_info } of everything)
    expect(allows(team, { id, provider: model_info.id.split('/')[0]! })).toBe(true);
});
