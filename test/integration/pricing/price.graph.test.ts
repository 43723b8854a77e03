import { startTestApp, type TestApp } from '../../support/app';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { operation } from '../../support/operations';
import { startProvider, type FakeProvider } from '../../support/provider';
import { settledRow } from '../../support/usage-rows';

let database: TestDatabase;
let provider: FakeProvider;
let app: TestApp;
let world: World;
beforeAll(async () => {
  database = await createTestDatabase();
  provider = await startProvider();
  world = await createWorld(database.db);
  app = await startTestApp({ database, upstream: provider });
});
afterAll(async () => {
  await app?.stop();
  await provider?.close();
  await database?.close();
});

const setPrice = async (input: object, dryRun = false): Promise<any> => {
  const { data, errors } = await app.graphql(world.operator.token, operation('set-model-price'), {
    input: { model: 'test-chat', effectiveFrom: '2026-01-01T00:00:00Z', ...input },
    dryRun,
  });
  expect(errors).toBeNull();
  return data.setModelPrice;
};
const prices = async (variables: object): Promise<any[]> =>
  (await app.graphql(world.member.token, operation('prices'), { model: 'test-chat', ...variables })).data.prices;

describe('setModelPrice', () => {
  it('prices what was made before and what comes, shows it with its tiers, and leaves the book of before to be asked', async () => {
    const first = await app.chat(world.member.token, {
      model: 'test-chat',
      messages: [{ role: 'USER', content: 'Hello' }],
    });
    const { call, cost } = first.data!.chat;
    expect(cost).toBeNull();
    const row = await settledRow(database.db, call.id);
    const before = new Date().toISOString();
    const input = {
      inputPerMillion: '2',
      outputPerMillion: '8.50',
      cacheReadPerMillion: '0',
      tiers: [{ abovePromptTokens: 100000, inputPerMillion: '4', outputPerMillion: '16' }],
    };
    const expected = { costBefore: null, costAfter: expect.stringMatching(/^0\.0/), affectedCalls: 1 };
    const shown = {
      model: 'test-chat',
      source: 'ADMIN',
      effectiveFrom: '2026-01-01T00:00:00.000Z',
      effectiveTo: null,
      serviceTier: null,
      inputPerMillion: '2',
      outputPerMillion: '8.5',
      cacheReadPerMillion: '0',
      cacheWritePerMillion: null,
      cacheWriteOneHourPerMillion: null,
      reasoningPerMillion: null,
      perRequest: null,
      organization: null,
      tiers: [
        {
          abovePromptTokens: 100_000,
          inputPerMillion: '4',
          outputPerMillion: '16',
          cacheReadPerMillion: null,
          cacheWritePerMillion: null,
        },
      ],
    };
    const dry = await setPrice(input, true);
    expect(dry).toEqual({
      dryRun: true,
      ...expected,
      price: shown,
      byOrganization: [{ organization: { id: world.organizationId, name: 'Acme' }, ...expected }],
    });
    expect(await prices({})).toEqual([]);
    expect(await setPrice(input)).toEqual({ ...dry, dryRun: false });
    expect(Number(dry.costAfter)).toBeCloseTo(row.prompt_tokens * 2e-6 + row.completion_tokens * 8.5e-6, 12);
    expect(await prices({})).toEqual([{ ...shown, recordedAt: expect.any(String) }]);
    expect(await prices({ asOf: before })).toEqual([]);
    const second = await app.chat(world.member.token, {
      model: 'test-chat',
      messages: [{ role: 'USER', content: 'Hello' }],
    });
    expect(second.data!.chat.cost.total).toBe(dry.costAfter);
  });

  it('says which argument is wrong', async () => {
    const refused = async (input: object): Promise<unknown> =>
      (
        await app.graphql(world.operator.token, operation('set-model-price'), {
          input: {
            model: 'test-chat',
            effectiveFrom: '2026-01-01T00:00:00Z',
            inputPerMillion: '1',
            outputPerMillion: '1',
            ...input,
          },
        })
      ).errors?.map(({ extensions }) => [extensions.code, extensions.argument]);
    expect(await refused({ inputPerMillion: '-1' })).toEqual([['BAD_USER_INPUT', 'input.inputPerMillion']]);
    expect(
      await refused({
        tiers: [
          { abovePromptTokens: 5, inputPerMillion: '1', outputPerMillion: '1' },
          { abovePromptTokens: 5, inputPerMillion: '1', outputPerMillion: '1' },
        ],
      }),
    ).toEqual([['BAD_USER_INPUT', 'input.tiers[1].abovePromptTokens']]);
    expect(await refused({ organizationId: 'org_00000000000000000000000000' })).toEqual([
      ['NOT_FOUND', 'input.organizationId'],
    ]);
    expect(
      (await app.graphql(world.member.token, operation('prices'), { asOf: '2999-01-01T00:00:00Z' })).errors?.map(
        ({ extensions }) => [extensions.code, extensions.argument],
      ),
    ).toEqual([['BAD_USER_INPUT', 'asOf']]);
  });
});
