import { LedgerStore, type CallGroup } from '../../../src/services/ledger/ledger.store';
import { admit, type AdmitDeps, type PreparedCall } from '../../../src/services/pipeline/5-admit';
import type { ChatInput } from '../../../src/domain/chat';
import { worstCaseCost } from '../../../src/services/ledger/bound';
import type { CatalogModel } from '../../../src/domain/model';
import { worstRates } from '../../../src/services/pricing/worst-rates';
import { ChatOperation, ChatPrompt } from '../../../src/services/pipeline/operations/chat';
import type { ChatReply } from '../../../src/domain/outcome';
import { budgetBench, budgetOf } from '../../support/budgets';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { PromptBound } from '../../../src/services/pipeline/operations/prompt-bound';

// What is reserved for a prompt: its bytes, and its tokens only where so much does not fit.
const MODEL: CatalogModel = {
  id: 'openai/gpt-4o',
  label: 'gpt-4o',
  provider: 'openai',
  mode: 'CHAT',
  contextWindow: null,
  maxOutputTokens: null,
  capabilities: [],
  fallbacks: [],
};
const RATES = { input: '0.001', output: '0.002' };
const MAX_TOKENS = 10;
const TEXT = 'The quick brown fox jumps over the lazy dog, and then it sleeps. '.repeat(10);
const input: ChatInput = { scenario: 'DEFAULT', messages: [{ role: 'USER', content: TEXT }] };
const prompt = new PromptBound(input.messages, input);
const costOf = (tokens: number): string => worstCaseCost(tokens, MAX_TOKENS, worstRates([RATES], tokens)!);
const BY_BYTES = costOf(prompt.bytesFor(MODEL));
const BY_TOKENS = costOf(prompt.tokensFor(MODEL));

let database: TestDatabase;
let world: World;
beforeEach(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db);
});
afterEach(() => database.close());

const deps = (store = new LedgerStore(database.db)): AdmitDeps => ({
  store,
  prices: { worstRates: (_models, _organization, tokens) => worstRates([RATES], tokens) },
  catalog: { snapshot: () => ({ models: [MODEL], byId: new Map([[MODEL.id, MODEL]]) }) as never },
  owner: 'test',
  totalMs: 60_000,
});
const prepared = (): PreparedCall<ChatReply> => ({
  caller: { viewer: world.member.viewer, plan: { id: world.planId } as never },
  operation: new ChatOperation(input, { branch: async () => Promise.reject(new Error('no conversation')) }),
  context: { door: 'GRAPHQL', fieldsAt: 'input', requestId: 'req_1', traceparentId: null },
  model: MODEL,
  upstream: { kind: 'DIRECT' } as never,
  maxTokens: MAX_TOKENS,
  conversation: null,
  prompt: new ChatPrompt(input, []),
  idempotency: null,
  startedAt: performance.now(),
});
const limitTo = async (limit: string): Promise<void> => {
  await budgetBench(database).budgets.set(
    world.admin.viewer,
    budgetOf({ scope: 'USER', subjectId: world.member.id, limit }),
  );
};
const reserved = async (): Promise<string | null> =>
  (
    await database.db.query<{ hold: string }>('SELECT hold::text FROM calls_in_flight WHERE organization_id = $1', [
      world.organizationId,
    ])
  )[0]?.hold ?? null;

it('is the bytes of the prompt where they fit the budget', async () => {
  await limitTo(BY_BYTES);
  expect((await admit(prepared(), deps(), false)).kind).toBe('ADMITTED');
  expect(Number(await reserved())).toBe(Number(BY_BYTES));
});

it('is its tokens where its bytes do not fit, and the tokens do', async () => {
  expect(Number(BY_TOKENS)).toBeLessThan(Number(BY_BYTES));
  await limitTo(BY_TOKENS);
  expect((await admit(prepared(), deps(), false)).kind).toBe('ADMITTED');
  expect(Number(await reserved())).toBe(Number(BY_TOKENS));
});

it('says in a refusal what the tokens would have cost, and reserves nothing', async () => {
  await limitTo('0.01');
  const refused = await admit(prepared(), deps(), false);
  expect(refused).toMatchObject({ kind: 'REFUSED', refusal: { kind: 'BudgetExceeded', needed: BY_TOKENS } });
  expect(await reserved()).toBeNull();
});

it('is told to the operator when its group takes long, with the time for rows that others held', async () => {
  await limitTo('1000');
  await admit(prepared(), deps(), false);
  const slow: CallGroup[] = [];
  const store = new LedgerStore(database.db, null, (group) => slow.push(group));
  const ended = await database.db.transaction(async (tx) => {
    await tx.query('SELECT FROM budget_periods WHERE organization_id = $1 FOR UPDATE', [world.organizationId]);
    const waiting = admit(prepared(), deps(store), false);
    // Until the admission waits for the row, and then for more than the bound of what is reported.
    await tx.query(`DO $$ BEGIN
      FOR tries IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid());
        PERFORM pg_sleep(0.01);
      END LOOP;
      PERFORM pg_sleep(0.05);
    END $$`);
    return { waiting };
  });
  expect((await ended.waiting).kind).toBe('ADMITTED');
  expect(slow).toEqual([
    {
      what: 'admission',
      calls: 1,
      elapsedMs: expect.any(Number),
      statementMs: expect.any(Number),
      waitedMs: expect.any(Number),
    },
  ]);
  expect(slow[0]!.waitedMs!).toBeGreaterThan(40);
  expect(slow[0]!.statementMs).toBeGreaterThanOrEqual(slow[0]!.waitedMs!);
  expect(slow[0]!.elapsedMs).toBeGreaterThanOrEqual(slow[0]!.statementMs);
});
