import { execute, parse, subscribe, type ExecutionResult, type GraphQLSchema } from 'graphql';
import { compileQuery, isCompiledQuery } from 'graphql-jit';
import { newId } from '../../../src/lib/ids';
import { buildGraphSchema } from '../../../src/resolvers/schema';
import type { RequestContext } from '../../../src/resolvers/context';
import {
  ALERT,
  budget,
  call,
  conversation,
  FIGURES,
  message,
  NOW,
  ORGANIZATION_ID,
  PLAN_ID,
  reply,
  stubContext,
  user,
  USER_ID,
} from './stub-context';
import type { StreamEvent } from '../../../src/domain/stream-events';

const schema: GraphQLSchema = buildGraphSchema();
const PLAN = {
  id: PLAN_ID,
  name: 'Free',
  models: ['*'],
  defaultModel: null,
  limits: {
    requestsPerMinute: null,
    tokensPerMinute: null,
    parallelCalls: null,
    maxOutputTokens: 100,
    monthlyBudget: '5.00',
  },
};

type Executor = (
  source: string,
  context: RequestContext,
  variables?: Record<string, unknown>,
) => Promise<ExecutionResult>;
const graphqlJs: Executor = async (source, contextValue, variableValues) =>
  execute({ schema, document: parse(source), contextValue, variableValues });
const jit: Executor = async (source, context, variables) => {
  const compiled = compileQuery(schema, parse(source));
  if (!isCompiledQuery(compiled)) throw new Error('the document was not compiled');
  return compiled.query(undefined, context, variables ?? {});
};
const plain = (result: ExecutionResult): unknown => JSON.parse(JSON.stringify(result));

describe.each([
  ['graphql-js', graphqlJs],
  ['graphql-jit', jit],
])('resolvers under %s', (_name, run) => {
  it('show a reply with its token parts, exact costs and the relations that it already holds', async () => {
    const talk = conversation();
    const row = call({ conversationId: talk.id });
    const answer = reply({
      call: row,
      conversation: talk,
      answer: message({ callId: row.id, conversationId: talk.id }),
    });
    const context = stubContext({ chat: { chat: async () => answer } });
    const document = `mutation { chat(input: { messages: [{ role: USER, content: "Hi" }] }) { __typename ... on ChatReply {
      answer { role content call { id at } conversation { id } } usage { promptTokens uncachedPromptTokens cacheReadTokens cacheWriteTokens completionTokens reasoningTokens totalTokens source }
      cost { input total currency reportedByProxy } } } }`;
    expect(plain(await run(document, context))).toEqual({
      data: {
        chat: {
          __typename: 'ChatReply',
          answer: {
            role: 'ASSISTANT',
            content: 'Hello',
            call: { id: row.id, at: '2026-03-01T12:00:00.000Z' },
            conversation: { id: talk.id },
          },
          usage: {
            promptTokens: 60,
            uncachedPromptTokens: 10,
            cacheReadTokens: 20,
            cacheWriteTokens: 30,
            completionTokens: 90,
            reasoningTokens: 50,
            totalTokens: 150,
            source: 'PROVIDER',
          },
          cost: { input: '0.001', total: '0.003', currency: 'USD', reportedByProxy: null },
        },
      },
    });
  });

  it('show a refusal over its interface and over its own type, with the plans that help', async () => {
    const refusal = {
      kind: 'ModelNotAllowed',
      code: 'MODEL_NOT_ALLOWED',
      message: 'no',
      retryable: false,
      retryAfterMs: null,
      model: 'big',
      allowedModels: ['small'],
      plansThatAllow: [PLAN_ID, newId('plan')],
    } as const;
    const context = stubContext({
      chat: {
        chat: async () => ({ ...refusal, plansThatAllow: [...refusal.plansThatAllow], allowedModels: ['small'] }),
      },
      plans: { byId: async (id) => (id === PLAN_ID ? PLAN : null) },
    });
    const document = `mutation { chat(input: { messages: [] }) { __typename ... on Refusal { code retryable retryAfterMs } ... on ModelNotAllowed { model allowedModels plansThatAllow { name } } } }`;
    expect(plain(await run(document, context))).toEqual({
      data: {
        chat: {
          __typename: 'ModelNotAllowed',
          code: 'MODEL_NOT_ALLOWED',
          retryable: false,
          retryAfterMs: null,
          model: 'big',
          allowedModels: ['small'],
          plansThatAllow: [{ name: 'Free' }],
        },
      },
    });
  });

  it.each([
    ['User', USER_ID, { people: { visibleUser: async () => user() } }],
    [
      'Organization',
      ORGANIZATION_ID,
      { people: { visibleOrganization: async () => ({ id: ORGANIZATION_ID, name: 'Acme' }) } },
    ],
    ['Plan', PLAN_ID, { plans: { byId: async () => PLAN } }],
    [
      'Conversation',
      newId('conversation'),
      { conversations: { get: async (_viewer: unknown, id: string) => conversation({ id }) } },
    ],
    [
      'Message',
      newId('message'),
      { conversations: { message: async (_viewer: unknown, id: string) => message({ id }) } },
    ],
    ['Call', newId('call'), { usage: { call: async (_viewer: unknown, id: string) => call({ id }) } }],
    [
      'Project',
      newId('project'),
      {
        people: {
          visibleProject: async (_viewer: unknown, id: string) => ({ id, organizationId: ORGANIZATION_ID, name: 'P' }),
        },
      },
    ],
    ['Budget', newId('budget'), { budgets: { get: async (_viewer: unknown, id: string) => budget({ id }) } }],
    [
      'BudgetAlert',
      newId('budgetAlert'),
      { budgets: { alert: async (_viewer: unknown, id: string) => ({ ...ALERT, id }) } },
    ],
    [
      'ApiToken',
      newId('apiToken'),
      {
        people: {
          visibleApiToken: async (_viewer: unknown, id: string) => ({
            id,
            organizationId: ORGANIZATION_ID,
            userId: USER_ID,
            name: 'T',
            hint: 'abcd',
            createdAt: NOW,
            lastUsedAt: null,
            expiresAt: null,
            revokedAt: null,
          }),
        },
      },
    ],
  ])('find a %s by its id', async (kind, id, stubs) => {
    expect(
      plain(await run('query ($id: ID!) { node(id: $id) { __typename id } }', stubContext(stubs), { id })),
    ).toEqual({ data: { node: { __typename: kind, id } } });
  });

  it.each(['', 'small', newId('stream'), 'usr_1', `${newId('user')}x`])(
    'answer null for an id of nothing (%j) without asking any service',
    async (id) => {
      expect(plain(await run('query ($id: ID!) { node(id: $id) { id } }', stubContext({}), { id }))).toEqual({
        data: { node: null },
      });
    },
  );

  it('load the relations of a page once for all its rows, and a conversation only for its owner', async () => {
    const others = newId('user');
    const shared = conversation();
    const rows = [
      call({ conversationId: shared.id }),
      call({ userId: others, conversationId: newId('conversation') }),
      call({ conversationId: shared.id }),
    ];
    const asked: unknown[] = [];
    const context = stubContext({
      usage: {
        calls: async () => ({
          edges: rows.map((node, index) => ({ node, cursor: `c${index}` })),
          hasNextPage: true,
          hasPreviousPage: false,
        }),
      },
      people: {
        usersById: async (ids) => (asked.push([...ids]), ids.map((id) => (id === others ? null : user({ id })))),
      },
      conversations: { get: async (_viewer, id) => (asked.push(id), shared) },
    });
    const result = plain(
      await run(
        '{ calls(first: 3) { edges { cursor node { user { name } conversation { id } } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }',
        context,
      ),
    );
    expect(result).toEqual({
      data: {
        calls: {
          edges: [
            { cursor: 'c0', node: { user: { name: 'Ada' }, conversation: { id: shared.id } } },
            { cursor: 'c1', node: { user: null, conversation: null } },
            { cursor: 'c2', node: { user: { name: 'Ada' }, conversation: { id: shared.id } } },
          ],
          pageInfo: { hasNextPage: true, hasPreviousPage: false, startCursor: 'c0', endCursor: 'c2' },
        },
      },
    });
    expect(asked).toEqual(expect.arrayContaining([[USER_ID, others], shared.id]));
    expect(asked).toHaveLength(2);
  });

  it('show what a mutation has changed, also where an earlier one of the same document had shown it', async () => {
    const talk = conversation({ title: 'before' });
    const asked: string[] = [];
    const answer = (): ReturnType<typeof reply> => reply({ answer: message({ conversationId: talk.id }) });
    const context = stubContext({
      chat: { chat: async () => answer() },
      conversations: {
        get: async (_viewer, id) => (asked.push(id), { ...talk }),
        rename: async (_viewer, _id, title) => Object.assign(talk, { title }),
      },
    });
    const show = 'chat(input: { messages: [] }) { ... on ChatReply { answer { conversation { title } } } }';
    const shown = (title: string): object => ({ answer: { conversation: { title } } });
    expect(
      plain(
        await run(`mutation { a: ${show} renameConversation(id: "x", title: "after") { title } b: ${show} }`, context),
      ),
    ).toEqual({
      data: { a: shown('before'), renameConversation: { title: 'after' }, b: shown('after') },
    });
    expect(asked).toHaveLength(2);
  });

  it("fail the one field whose relation cannot be had, not its neighbours'", async () => {
    const broken = call({ conversationId: newId('conversation') });
    const whole = call({ conversationId: newId('conversation') });
    const context = stubContext({
      usage: {
        calls: async () => ({
          edges: [broken, whole].map((node) => ({ node, cursor: node.id })),
          hasNextPage: false,
          hasPreviousPage: false,
        }),
      },
      conversations: {
        get: async (_viewer, id) =>
          id === broken.conversationId ? Promise.reject(new Error('away')) : conversation({ id }),
      },
    });
    const result = plain(await run('{ calls { edges { node { conversation { id } } } } }', context)) as {
      data: unknown;
      errors: unknown[];
    };
    expect(result.data).toEqual({
      calls: { edges: [{ node: { conversation: null } }, { node: { conversation: { id: whole.conversationId } } }] },
    });
    expect(result.errors).toHaveLength(1);
  });

  it('show prices per million tokens to the last digit', async () => {
    const record = {
      number: 1,
      model: 'small',
      deployment: null,
      organizationId: null,
      source: 'PROXY' as const,
      effectiveFrom: NOW,
      effectiveTo: null,
      recordedAt: NOW,
      serviceTier: null,
      rates: { input: '0.00000015', output: '1.5e-7', cacheRead: '0.0000000000000000001', perRequest: '0.010' },
    };
    const context = stubContext({ prices: { prices: async () => [record] } });
    expect(
      plain(
        await run(
          '{ prices { inputPerMillion outputPerMillion cacheReadPerMillion cacheWritePerMillion perRequest organization { id } } }',
          context,
        ),
      ),
    ).toEqual({
      data: {
        prices: [
          {
            inputPerMillion: '0.15',
            outputPerMillion: '0.15',
            cacheReadPerMillion: '0.0000000000001',
            cacheWritePerMillion: null,
            perRequest: '0.01',
            organization: null,
          },
        ],
      },
    });
  });

  it('hand a report the question with its defaults, each dimension once', async () => {
    const questions: unknown[] = [];
    const context = stubContext({
      usage: {
        report: async (_viewer, query) => (
          questions.push(query),
          { from: NOW, to: NOW, totals: FIGURES, rows: [], truncated: false, pricesAsOf: NOW, priceBook: 7 }
        ),
      },
    });
    const result = await run(
      '{ usage(groupBy: [MODEL, MODEL], filter: { from: "2026-01-01T01:00:00+01:00" }) { totals { calls cost averageLatencyMs } } }',
      context,
    );
    expect(plain(result)).toEqual({
      data: { usage: { totals: { calls: 2 ** 40, cost: '1.5', averageLatencyMs: 1.5 } } },
    });
    expect(questions).toEqual([
      {
        filter: { from: new Date('2026-01-01T00:00:00Z') },
        groupBy: ['MODEL'],
        interval: null,
        timeZone: 'UTC',
        orderBy: 'COST_DESC',
        limit: 100,
        pricesAsOf: null,
        figures: ['calls', 'cost', 'averageLatencyMs'],
      },
    ]);
  });

  it('show the budgets of the caller, and add up what they have spent today in one go', async () => {
    const rows = [budget(), budget({ limit: '7.0', softLimit: '3' })];
    const asked: unknown[] = [];
    const context = stubContext({
      budgets: {
        list: async (_viewer, args) => (asked.push(args), rows),
        spentToday: async (all) => (asked.push(all.map(({ id }) => id)), all.map((_, i) => `0.${i}0`)),
      },
    });
    expect(plain(await run('{ viewer { budgets { id limit softLimit spentToday } } }', context))).toEqual({
      data: {
        viewer: {
          budgets: [
            { id: rows[0]!.id, limit: '10', softLimit: null, spentToday: '0' },
            { id: rows[1]!.id, limit: '7', softLimit: '3', spentToday: '0.1' },
          ],
        },
      },
    });
    expect(asked).toEqual([{}, rows.map(({ id }) => id)]);
    // Not added up where nobody asks for it.
    await run('{ budgets(scope: USER, subjectId: "x") { id spent remaining resetsAt } }', context);
    expect(asked.slice(2)).toEqual([{ scope: 'USER', subjectId: 'x' }]);
  });

  it('take a budget whole: what is left out has its default', async () => {
    const inputs: unknown[] = [];
    const context = stubContext({
      budgets: {
        set: async (_viewer, input) => (inputs.push({ ...input }), budget()),
        remove: async (_viewer, id) => id,
      },
    });
    await run(
      'mutation { setBudget(input: { scope: USER, subjectId: "x", period: DAY, limit: "010.50" }) { id } }',
      context,
    );
    expect(inputs).toEqual([
      expect.objectContaining({
        scope: 'USER',
        subjectId: 'x',
        period: 'DAY',
        limit: '10.5',
        timeZone: 'UTC',
        alertAtPercent: [80, 90],
      }),
    ]);
    expect(plain(await run('mutation { removeBudget(id: "bud") { deletedId } }', context))).toEqual({
      data: { removeBudget: { deletedId: 'bud' } },
    });
  });

  it('show a call that does not fit a budget, with the budget and what would fit', async () => {
    const refused = budget({ remaining: '0.5' });
    const context = stubContext({
      chat: {
        chat: async () => ({
          kind: 'BudgetExceeded' as const,
          code: 'BUDGET_EXCEEDED' as const,
          message: 'no',
          retryable: false,
          retryAfterMs: null,
          budget: refused,
          needed: '1.250',
          resetsAt: NOW,
          maxTokensThatFit: null,
          modelsThatFit: ['small'],
        }),
      },
    });
    expect(
      plain(
        await run(
          'mutation { chat(input: { messages: [] }) { __typename ... on BudgetExceeded { needed resetsAt maxTokensThatFit modelsThatFit budget { id remaining } } } }',
          context,
        ),
      ),
    ).toEqual({
      data: {
        chat: {
          __typename: 'BudgetExceeded',
          needed: '1.25',
          resetsAt: NOW.toISOString(),
          maxTokensThatFit: null,
          modelsThatFit: ['small'],
          budget: { id: refused.id, remaining: '0.5' },
        },
      },
    });
  });

  it('show the viewer under the id of its user', async () => {
    const context = stubContext({
      people: {
        usersById: async () => [user()],
        organizationsById: async () => [{ id: ORGANIZATION_ID, name: 'Acme' }],
      },
      plans: { byId: async () => PLAN },
      usage: { today: async () => FIGURES },
    });
    expect(
      plain(
        await run(
          '{ viewer { id role user { id } organization { name } plan { limits { monthlyBudget } } usageToday { totalTokens } } }',
          context,
        ),
      ),
    ).toEqual({
      data: {
        viewer: {
          id: USER_ID,
          role: 'MEMBER',
          user: { id: USER_ID },
          organization: { name: 'Acme' },
          plan: { limits: { monthlyBudget: '5' } },
          usageToday: { totalTokens: 2 },
        },
      },
    });
  });
});

describe('chatStream', () => {
  const EVENTS: StreamEvent[] = [
    {
      kind: 'StreamStarted',
      fromSeq: 1,
      seq: 1,
      streamId: newId('stream'),
      callId: newId('call'),
      model: 'small',
      conversation: null,
    },
    { kind: 'TextDelta', fromSeq: 2, seq: 3, text: 'Hel' },
    {
      kind: 'StreamFailed',
      fromSeq: 4,
      seq: 4,
      partial: reply(),
      refusal: {
        kind: 'UpstreamFailed',
        code: 'UPSTREAM_TIMEOUT',
        message: 'late',
        retryable: true,
        retryAfterMs: null,
        upstream: 'LITELLM',
        attempts: 1,
        callId: null,
      },
    },
  ];
  const DOCUMENT = `subscription ($input: ChatInput!) { chatStream(input: $input) { __typename ... on StreamEvent { fromSeq seq } ... on StreamStarted { model conversation { id } } ... on TextDelta { text }
    ... on StreamFailed { refusal { __typename code ... on UpstreamFailed { upstream } } partial { usage { totalTokens } cost { total } } } } }`;

  it('gives the service plain input with defaults, and shows its events as they come', async () => {
    const inputs: unknown[] = [];
    const context = stubContext({
      chat: {
        stream: async (_viewer, input) => (
          inputs.push(input),
          (async function* () {
            yield* EVENTS;
          })()
        ),
      },
    });
    const input = {
      messages: [{ role: 'USER', content: 'Hi' }],
      toolChoice: 'AUTO',
      tools: [{ name: 'f', parameters: { type: 'object' } }],
    };
    const stream = (await subscribe({
      schema,
      document: parse(DOCUMENT),
      contextValue: context,
      variableValues: { input },
    })) as AsyncIterable<ExecutionResult>;
    const shown: unknown[] = [];
    for await (const event of stream) shown.push((plain(event) as { data: { chatStream: unknown } }).data.chatStream);
    expect(inputs).toEqual([{ ...input, scenario: 'DEFAULT', onDisconnect: 'GRACE', progress: false }]);
    expect(shown).toEqual([
      { __typename: 'StreamStarted', fromSeq: 1, seq: 1, model: 'small', conversation: null },
      { __typename: 'TextDelta', fromSeq: 2, seq: 3, text: 'Hel' },
      {
        __typename: 'StreamFailed',
        fromSeq: 4,
        seq: 4,
        refusal: { __typename: 'UpstreamFailed', code: 'UPSTREAM_TIMEOUT', upstream: 'LITELLM' },
        partial: { usage: { totalTokens: 150 }, cost: { total: '0.003' } },
      },
    ]);
  });

  it('takes an event as the root of an execution, as the WebSocket door gives it', async () => {
    const result = await execute({
      schema,
      document: parse(DOCUMENT),
      contextValue: stubContext({}),
      rootValue: EVENTS[1],
      variableValues: { input: { messages: [] } },
    });
    expect(plain(result)).toEqual({
      data: { chatStream: { __typename: 'TextDelta', fromSeq: 2, seq: 3, text: 'Hel' } },
    });
  });

  it('refuses input that cannot be stored before it asks for a stream', async () => {
    const result = (await subscribe({
      schema,
      document: parse(DOCUMENT),
      contextValue: stubContext({}),
      variableValues: { input: { messages: [{ role: 'USER', content: 'a\0b' }] } },
    })) as ExecutionResult;
    expect(result.errors?.[0]?.originalError).toMatchObject({
      code: 'BAD_USER_INPUT',
      argument: 'input.messages[0].content',
    });
  });
});
