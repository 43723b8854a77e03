import type { CallContext } from '../../../src/domain/call';
import {
  EmbeddingOperation,
  type EmbeddingInput,
  type EmbeddingReply,
} from '../../../src/services/pipeline/operations/embeddings';
import { startTestApp, type TestApp } from '../../support/app';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { startProvider, type FakeProvider } from '../../support/provider';

// A second kind of call goes the same way as the first: admission, upstream, settlement.
const MODEL = 'text-embedding-3-small';

let database: TestDatabase;
let world: World;
let provider: FakeProvider;
let app: TestApp;
beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db);
  await database.db.query(`UPDATE plans SET models = '{${MODEL},test-chat}'`);
  provider = await startProvider({ models: [{ id: MODEL }, { id: 'test-chat' }] });
  app = await startTestApp({ database, upstream: provider });
});
afterAll(async () => {
  await app.stop();
  await provider.close();
  await database.close();
});

const context: CallContext = { door: 'GRAPHQL', fieldsAt: '', requestId: 'req_1', traceparentId: null };
const embed = (input: Partial<EmbeddingInput> = {}) =>
  app.pipeline.call(
    world.member.viewer,
    () => new EmbeddingOperation({ model: MODEL, scenario: 'DEFAULT', texts: ['one', 'two'], ...input }),
    context,
  );
const rows = (): Promise<Record<string, unknown>[]> =>
  database.db.query(
    `SELECT operation, status, usage_source, uncached_prompt_tokens::int AS prompt, output_tokens::int AS output,
       max_tokens, cost IS NOT NULL AS priced, hold IS NOT NULL AS reserved
     FROM llm_usage WHERE organization_id = $1 ORDER BY id`,
    [world.organizationId],
  );

describe('embeddings', () => {
  beforeEach(() => database.db.query('DELETE FROM llm_usage'));

  it('are admitted, asked for and settled as any other call: one usage row, without written tokens', async () => {
    const reply = (await embed()) as EmbeddingReply;
    expect(reply).toMatchObject({
      kind: 'EmbeddingReply',
      call: { status: 'COMPLETED', model: MODEL },
      replayed: false,
    });
    expect(reply.vectors).toHaveLength(2);
    expect(reply.vectors[0]!.every((part) => typeof part === 'number')).toBe(true);
    const sent = provider.requests.filter(({ path }) => path === '/v1/embeddings').at(-1)!;
    expect(sent.body).toMatchObject({ model: MODEL, input: ['one', 'two'] });
    expect(await rows()).toEqual([
      {
        operation: 'EMBEDDING',
        status: 'COMPLETED',
        usage_source: 'PROVIDER',
        prompt: reply.usage.uncachedPrompt,
        output: 0,
        max_tokens: 0,
        priced: true,
        reserved: true,
      },
    ]);
    expect(await database.db.query('SELECT FROM calls_in_flight')).toEqual([]);
  });

  it('with a key are paid once: a repetition gets the same vectors', async () => {
    const first = (await embed({ idempotencyKey: 'k' })) as EmbeddingReply;
    const again = (await embed({ idempotencyKey: 'k' })) as EmbeddingReply;
    expect(again).toMatchObject({ replayed: true, vectors: first.vectors, call: { id: first.call.id } });
    expect(again.call.occurredAt).toEqual(first.call.occurredAt);
    expect(await rows()).toHaveLength(1);
    expect(await embed({ idempotencyKey: 'k', texts: ['other'] })).toMatchObject({ kind: 'IdempotencyConflict' });
  });

  it('are refused for a model that does something else, and for a plan that has not the model, with nothing spent', async () => {
    await expect(embed({ model: 'test-chat' })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument: 'model',
      message: 'model: test-chat is not an embedding model',
    });
    expect(await embed({ model: 'no-such' })).toMatchObject({ kind: 'ModelNotAllowed', allowedModels: [MODEL] });
    await expect(embed({ texts: [] })).rejects.toMatchObject({ argument: 'input' });
    expect(await rows()).toEqual([]);
  });

  it('that the upstream answers with too few vectors fail, and what was used is booked', async () => {
    const body = { object: 'list', data: [{ index: 0, embedding: [1] }], usage: { prompt_tokens: 2, total_tokens: 2 } };
    provider.script(MODEL, { status: 200, body });
    expect(await embed()).toMatchObject({ kind: 'UpstreamFailed' });
    expect(await rows()).toMatchObject([
      { operation: 'EMBEDDING', status: 'FAILED', usage_source: 'PROVIDER', prompt: 2 },
    ]);
  });
});
