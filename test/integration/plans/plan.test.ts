import { PlanService } from '../../../src/services/plans/plan.service';
import type { Plan } from '../../../src/domain/plan';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { waitFor } from '../../support/wait';

let database: TestDatabase;
let world: World;
let changed: Plan[];
let plans: PlanService;
const started: PlanService[] = [];
const start = async (fields: { onChanged?: (plan: Plan) => void; refreshMs?: number } = {}): Promise<PlanService> => {
  const service = new PlanService({ db: database.db, refreshMs: 60_000, ...fields });
  started.push(service);
  await service.start();
  return service;
};

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db, { plan: { name: 'basic', models: ['a'] } });
});
afterAll(() => database.close());
beforeEach(async () => {
  changed = [];
  plans = await start({ onChanged: (plan) => void changed.push(plan) });
});
afterEach(() => {
  for (const service of started.splice(0)) service.stop();
});

it('plans are made and edited by operators alone', async () => {
  for (const { viewer } of [world.member, world.analyst, world.admin])
    await expect(plans.upsert(viewer, { name: 'x', models: [] })).rejects.toMatchObject({ code: 'FORBIDDEN' });
});

it('a new plan can be used at once, and is told of once', async () => {
  const plan = await plans.upsert(world.operator.viewer, {
    name: 'pro',
    models: ['a', 'openai/*', 'a'],
    defaultModel: 'a',
    limits: { maxOutputTokens: 100, monthlyBudget: '10.50' },
  });
  expect(plan).toEqual({
    id: expect.stringMatching(/^pln_/),
    name: 'pro',
    models: ['a', 'openai/*'],
    defaultModel: 'a',
    limits: {
      requestsPerMinute: null,
      tokensPerMinute: null,
      parallelCalls: null,
      maxOutputTokens: 100,
      monthlyBudget: '10.5',
    },
  });
  expect(await plans.byId(plan.id)).toEqual(plan);
  expect((await plans.list()).map(({ name }) => name)).toEqual(['basic', 'pro']);
  expect(changed).toEqual([plan]);
});

it('an edit changes what it names, and tells of that plan alone', async () => {
  const plan = await plans.upsert(world.operator.viewer, {
    name: 'edited',
    models: ['a'],
    limits: { parallelCalls: 3 },
  });
  changed = [];
  const edited = await plans.upsert(world.operator.viewer, { id: plan.id, name: 'renamed', models: ['b'] });
  expect(edited).toEqual({ ...plan, name: 'renamed', models: ['b'] });
  expect(changed).toEqual([edited]);
});

it('a name is given once, an unknown id is not found, and what is wrong is named', async () => {
  await expect(plans.upsert(world.operator.viewer, { name: 'basic', models: [] })).rejects.toMatchObject({
    code: 'BAD_USER_INPUT',
    argument: 'name',
  });
  for (const id of ['pln_00000000000000000000000000', '\0', ''])
    await expect(plans.upsert(world.operator.viewer, { id, name: 'x', models: [] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      argument: 'id',
    });
  await expect(plans.upsert(world.operator.viewer, { name: 'x', models: ['*'] })).rejects.toMatchObject({
    code: 'BAD_USER_INPUT',
    argument: 'models[0]',
  });
  expect(changed).toEqual([]);
});

it('another replica sees an edit by itself, and is told of it', async () => {
  const told: Plan[] = [];
  const replica = await start({ refreshMs: 20, onChanged: (plan) => void told.push(plan) });
  const plan = await plans.upsert(world.operator.viewer, { name: 'shared', models: ['a'] });
  await waitFor(async () => (await replica.list()).some(({ id }) => id === plan.id));
  expect(told).toEqual([plan]);
});

it('a plan that another replica has just made is found by its id', async () => {
  const replica = await start();
  const plan = await plans.upsert(world.operator.viewer, { name: 'fresh', models: ['a'] });
  await waitFor(() => replica.byId(plan.id));
});
