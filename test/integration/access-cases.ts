import { newId } from '../../src/lib/ids';
import { Reconciler } from '../../src/services/reconciliation/reconciler';
import { Reconciliation } from '../../src/services/reconciliation/reconciliation.service';
import { ReconciliationStore } from '../../src/services/reconciliation/reconciliation.store';
import { reportLimiter } from '../../src/services/usage/report-limiter';
import { SECRET_MODEL, type AccessScene } from '../support/access-scene';
import type { TestUser } from '../support/factories';
import { operation } from '../support/operations';
import { ask } from '../support/stream-fixture';

/**
 * An argument with an id: for strangers an object that is there answers like one that is not, and for its owner it does
 * not.
 */
export interface IdCase {
  document: string;
  /** By argument, with the id at the place that the case is about. */
  variables: (
    id: string,
    asker: TestUser,
    scene: AccessScene,
  ) => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** The id of an object of the owner, made for this case. */
  object: (scene: AccessScene) => string | Promise<string>;
  /** An id of the same form that names nothing. */
  missing?: string;
  strangers: (scene: AccessScene) => TestUser[];
  owner?: (scene: AccessScene) => TestUser;
  /** It is written down as it comes, and nothing is looked up. */
  sameForOwner?: boolean;
}
/**
 * An argument with a name that is the same for everybody: both organisations get the same answer, for what is there and
 * for what is not.
 */
export interface PublicCase {
  document: string;
  names: (scene: AccessScene) => string[];
  variables: IdCase['variables'];
}
/**
 * A field that gives objects of ours, under the alias `probe`: whoever asks, however it is reached, sees only what is
 * theirs to see.
 */
export interface ObjectCase {
  documents: string[];
  variables?: (scene: AccessScene, asker: TestUser) => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** Who gets something; default: the owner of everything. */
  owner?: (scene: AccessScene) => TestUser;
}

const everybodyElse = (scene: AccessScene): TestUser[] => scene.everybody.filter((user) => user !== scene.owner);
const foreigners = (scene: AccessScene): TestUser[] => scene.foreigners;
/**
 * Those who may not see a colleague's things: not the analysts and administrators of the organisation, and no operator.
 */
const notInCharge = (scene: AccessScene): TestUser[] => [scene.colleague, ...scene.foreigners];
const notAdmins = (scene: AccessScene): TestUser[] => [scene.colleague, scene.ours.analyst, ...scene.foreigners];
const admin = (scene: AccessScene): TestUser => scene.ours.admin;
const operator = (scene: AccessScene): TestUser => scene.ours.operator;

const USAGE =
  'query ($filter: UsageFilter) { usage(filter: $filter, groupBy: [MODEL]) { totals { calls totalTokens } rows { model figures { calls totalTokens } } } }';
const CALLS =
  'query ($filter: UsageFilter) { calls(filter: $filter) { edges { cursor node { id model } } pageInfo { hasNextPage endCursor } } }';
const CHAT = operation('chat');
const CHAT_STREAM = operation('chat-stream');
const CREATE_USER = 'mutation ($input: CreateUserInput!) { createUser(input: $input) { name role } }';
const input =
  (field: string, more: (scene: AccessScene) => object = () => ({})): IdCase['variables'] =>
  (id, _asker, scene) => ({ input: { ...more(scene), [field]: id } });
const filter = (field: string, list: boolean) => (id: string) => ({ filter: { [field]: list ? [id] : id } });
const question = (): object => ask('Hello');
const ownUserOf = (asker: TestUser, scene: AccessScene): Promise<string> =>
  scene.user(asker.organizationId === scene.ours.organizationId ? scene.ours : scene.theirs);
const budgetTerms = { scope: 'USER', period: 'WEEK', limit: '1000000' };
const priceTerms = { model: 'm', effectiveFrom: '2026-01-01T00:00:00Z', inputPerMillion: '7', outputPerMillion: '9' };
const plans = (scene: AccessScene): string[] => [scene.theirs.planId, scene.ours.planId, newId('plan')];

/** The same filter guards the figures and the calls behind them. */
function filterCases(field: string, document: string): Record<string, IdCase> {
  return {
    [`${field}(filter.conversationId)`]: {
      document,
      variables: filter('conversationId', false),
      strangers: notInCharge,
      object: async (scene) => {
        const conversation = await scene.conversation(scene.owner);
        await scene.call(scene.owner, conversation);
        return conversation;
      },
    },
    [`${field}(filter.models)`]: {
      document,
      variables: filter('models', true),
      strangers: notInCharge,
      missing: 'no-such-model',
      object: async (scene) => {
        await scene.call(scene.owner, null, { model: 'used-by-one', served_model: 'used-by-one' });
        return 'used-by-one';
      },
    },
    [`${field}(filter.organizationIds)`]: {
      document,
      variables: filter('organizationIds', true),
      strangers: (scene) => [scene.owner, scene.ours.analyst, scene.ours.admin, ...scene.foreigners],
      owner: operator,
      object: ({ ours }) => ours.organizationId,
    },
    [`${field}(filter.projectIds)`]: {
      document,
      variables: filter('projectIds', true),
      strangers: notInCharge,
      object: async (scene) => {
        const project_id = await scene.project(scene.ours.organizationId);
        await scene.call(scene.owner, null, { project_id });
        return project_id;
      },
    },
    [`${field}(filter.userIds)`]: {
      document,
      variables: filter('userIds', true),
      strangers: notInCharge,
      object: ({ owner }) => owner.id,
    },
  };
}

/** Whole answer and stream take the same input. */
function chatCases(field: string, document: string): Record<string, IdCase | PublicCase> {
  return {
    [`${field}(input.conversationId)`]: {
      document,
      variables: input('conversationId', question),
      object: (scene) => scene.conversation(scene.owner),
      strangers: everybodyElse,
    },
    [`${field}(input.afterMessageId)`]: {
      document,
      // Everybody in a conversation of their own, the owner in the one that has the message.
      variables: async (id, asker, scene) => {
        const [found] = await scene.database.db.query<{ conversation_id: string }>(
          'SELECT conversation_id FROM messages WHERE id = $1',
          [id],
        );
        const conversationId = asker === scene.owner && found ? found.conversation_id : await scene.conversation(asker);
        return { input: { ...question(), conversationId, afterMessageId: id } };
      },
      object: async (scene) => scene.message(scene.owner.organizationId, await scene.conversation(scene.owner)),
      strangers: everybodyElse,
    },
    // Operators see the projects of others, and book on their own only: nothing of theirs is looked at here.
    [`${field}(input.projectId)`]: {
      document,
      variables: input('projectId', question),
      object: (scene) => scene.project(scene.ours.organizationId),
      strangers: (scene) => [...scene.foreigners, scene.theirs.operator],
    },
    [`${field}(input.model)`]: {
      document: document.includes('subscription')
        ? CHAT_STREAM
        : 'mutation ($input: ChatInput!) { chat(input: $input) { __typename ... on ChatReply { answer { content } } ... on ModelNotAllowed { message model allowedModels plansThatAllow { id } } } }',
      variables: input('model', question),
      names: () => ['test-small', 'no-such-model'],
    },
  };
}

export const ID_CASES: Record<string, IdCase | IdCase[] | PublicCase> = {
  ...filterCases('Query.usage', USAGE),
  ...filterCases('Query.calls', CALLS),
  // A link is another one each time; what the file has is in usage/export.test.ts.
  ...Object.fromEntries(
    Object.entries(
      filterCases(
        'Mutation.exportUsage',
        'mutation ($filter: UsageFilter) { exportUsage(filter: $filter) { __typename } }',
      ),
    ).map(([field, one]) => [field, { ...one, sameForOwner: true }]),
  ),
  'Query.conversation(id)': {
    document: operation('conversation'),
    variables: (id) => ({ id }),
    object: (scene) => scene.conversation(scene.owner),
    strangers: everybodyElse,
  },
  'Query.model(id)': {
    document: operation('model'),
    variables: (id) => ({ id }),
    names: () => ['test-chat', 'test-small', 'no-such-model'],
  },
  'Query.prices(model)': {
    document: operation('prices'),
    variables: (model) => ({ model }),
    object: () => SECRET_MODEL,
    missing: 'no-such-model',
    strangers: foreigners,
  },
  'Query.node(id)': [
    { object: (scene: AccessScene) => scene.conversation(scene.owner), strangers: everybodyElse },
    {
      object: async (scene: AccessScene) =>
        scene.message(scene.owner.organizationId, await scene.conversation(scene.owner)),
      strangers: everybodyElse,
    },
    { object: (scene: AccessScene) => scene.call(scene.owner), strangers: notInCharge },
    { object: (scene: AccessScene) => scene.token(scene.owner), strangers: notAdmins },
    { object: ({ owner }: AccessScene) => owner.id, strangers: notInCharge },
    { object: (scene: AccessScene) => scene.project(scene.ours.organizationId), strangers: foreigners },
    { object: ({ ours }: AccessScene) => ours.organizationId, strangers: foreigners },
    { object: async (scene: AccessScene) => (await scene.budget()).budget, strangers: notInCharge },
    { object: async (scene: AccessScene) => (await scene.budget()).alert, strangers: notInCharge },
  ].map((kind) => ({ ...kind, document: operation('node'), variables: (id: string) => ({ id }) })),

  'Query.budgets(subjectId)': {
    document: operation('budgets'),
    variables: (subjectId) => ({ subjectId }),
    strangers: notInCharge,
    object: async (scene) => {
      await scene.budget();
      return scene.owner.id;
    },
  },
  'Mutation.setBudget(input.id)': {
    document: operation('set-budget'),
    variables: input('id', ({ owner }) => ({ ...budgetTerms, subjectId: owner.id })),
    object: async (scene) => (await scene.budget()).budget,
    strangers: notAdmins,
    owner: admin,
  },
  'Mutation.setBudget(input.subjectId)': {
    document: 'mutation ($input: BudgetInput!) { setBudget(input: $input) { scope limit } }',
    variables: input('subjectId', () => budgetTerms),
    object: (scene) => scene.user(),
    strangers: notAdmins,
    owner: admin,
  },
  'Mutation.setModelPrice(input.model)': {
    document: operation('set-model-price'),
    variables: input('model', () => priceTerms),
    names: () => [SECRET_MODEL, 'test-chat', 'no-such-model'],
  },
  'Mutation.setModelPrice(input.organizationId)': {
    document: operation('set-model-price'),
    variables: (id) => ({ dryRun: true, input: { ...priceTerms, organizationId: id } }),
    object: ({ ours }) => ours.organizationId,
    owner: operator,
    strangers: (scene) => [scene.owner, scene.ours.analyst, scene.ours.admin, ...scene.foreigners],
  },
  'Mutation.removeBudget(id)': {
    document: operation('remove-budget'),
    variables: (id) => ({ id }),
    object: async (scene) => (await scene.budget()).budget,
    strangers: notAdmins,
    owner: admin,
  },

  ...chatCases('Mutation.chat', CHAT),
  ...chatCases('Subscription.chatStream', CHAT_STREAM),
  'Mutation.stopStream(streamId)': {
    document: operation('stop-stream'),
    variables: (streamId) => ({ streamId }),
    object: (scene) => scene.stream(scene.owner),
    strangers: notAdmins,
  },
  // Not even for those who may stop it: what a colleague is told is nobody else's.
  'Subscription.resumeStream(streamId)': {
    document: operation('resume-stream'),
    variables: (streamId) => ({ streamId, afterSeq: 0 }),
    object: (scene) => scene.endedStream(scene.owner),
    strangers: everybodyElse,
  },

  'Mutation.createConversation(input.projectId)': {
    document:
      'mutation ($input: CreateConversationInput!) { createConversation(input: $input) { title project { id } } }',
    variables: input('projectId'),
    object: (scene) => scene.project(scene.ours.organizationId),
    strangers: (scene) => [...scene.foreigners, scene.theirs.operator],
  },
  'Mutation.renameConversation(id)': {
    document: operation('rename-conversation'),
    variables: (id) => ({ id, title: 'Mine now' }),
    object: (scene) => scene.conversation(scene.owner),
    strangers: everybodyElse,
  },
  'Mutation.deleteConversation(id)': {
    document: operation('delete-conversation'),
    variables: (id) => ({ id }),
    object: (scene) => scene.conversation(scene.owner),
    strangers: everybodyElse,
  },

  'Mutation.createApiToken(input.userId)': {
    document: 'mutation ($input: ApiTokenInput!) { createApiToken(input: $input) { token { name } } }',
    variables: input('userId', () => ({ name: 'A way in' })),
    object: ({ owner }) => owner.id,
    strangers: notAdmins,
    owner: admin,
  },
  'Mutation.revokeApiToken(id)': {
    document: operation('revoke-api-token'),
    variables: (id) => ({ id }),
    object: (scene) => scene.token(scene.owner),
    strangers: notAdmins,
  },

  'Mutation.createUser(input.organizationId)': {
    document: CREATE_USER,
    variables: input('organizationId', ({ ours }) => ({ name: 'New', planId: ours.planId })),
    object: ({ ours }) => ours.organizationId,
    strangers: foreigners,
    owner: operator,
  },
  'Mutation.createUser(input.planId)': {
    document: CREATE_USER,
    variables: input('planId', () => ({ name: 'New' })),
    names: plans,
  },
  'Mutation.setUserPlan(planId)': {
    document:
      'mutation ($userId: ID!, $planId: ID!) { setUserPlan(userId: $userId, planId: $planId) { plan { name } } }',
    variables: async (planId, asker, scene) => ({ userId: await ownUserOf(asker, scene), planId }),
    names: plans,
  },
  'Mutation.setUserPlan(userId)': {
    document: operation('set-user-plan'),
    variables: (userId, asker) => ({ userId, planId: asker.planId }),
    object: (scene) => scene.user(),
    strangers: notAdmins,
    owner: admin,
  },
  'Mutation.setUserRole(userId)': {
    document: operation('set-user-role'),
    variables: (userId) => ({ userId, role: 'ANALYST' }),
    object: (scene) => scene.user(),
    strangers: notAdmins,
    owner: admin,
  },
  'Mutation.setUserBlocked(userId)': {
    document: operation('set-user-blocked'),
    variables: (userId) => ({ userId, blocked: true }),
    object: (scene) => scene.user(),
    strangers: notAdmins,
    owner: admin,
  },
  'Mutation.deleteUser(id)': {
    document: operation('delete-user'),
    variables: (id) => ({ id }),
    object: (scene) => scene.user(),
    strangers: notAdmins,
    owner: admin,
  },

  'Mutation.upsertPlan(input.id)': {
    document: operation('upsert-plan'),
    variables: input('id', () => ({ name: 'Taken over', models: ['test-chat'] })),
    object: ({ theirs }) => theirs.planId,
    strangers: (scene) => [scene.owner, scene.ours.admin, ...scene.foreigners],
    owner: operator,
  },
  'Mutation.upsertPlan(input.defaultModel)': {
    document: operation('upsert-plan'),
    variables: input('defaultModel', () => ({ name: `plan ${newId('plan')}`, models: ['test-chat'] })),
    object: () => 'test-chat',
    missing: 'no-such-model',
    sameForOwner: true,
    strangers: (scene) => [scene.owner, scene.ours.admin, ...scene.foreigners],
    owner: operator,
  },
};

const P = '{ __typename id }';
const DAY_AGO = new Date(Date.now() - 86_400_000).toISOString();
const TOMORROW = new Date(Date.now() + 86_400_000).toISOString();
const VIA_USERS = (selection: string): string[] => [
  `query ($user: ID!) { node(id: $user) { ... on User { ${selection} } } }`,
  `query { viewer { user { ${selection} } } }`,
  `query { users(first: 100) { edges { node { ${selection} } } } }`,
];
const VIA_CALLS = (selection: string): string[] => [
  `query { calls(first: 100) { edges { node { ${selection} } } } }`,
  `query ($call: ID!) { node(id: $call) { ... on Call { ${selection} } } }`,
];
const VIA_CONVERSATIONS = (selection: string): string[] => [
  `query { conversations(first: 100) { edges { node { ${selection} } } } }`,
  `query ($conversation: ID!) { conversation(id: $conversation) { ${selection} } }`,
  `query ($conversation: ID!) { node(id: $conversation) { ... on Conversation { ${selection} } } }`,
];
const VIA_MESSAGES = (selection: string): string[] => [
  ...VIA_CONVERSATIONS(`messages { edges { node { ${selection} } } }`),
  `query ($message: ID!) { node(id: $message) { ... on Message { ${selection} } } }`,
];
const VIA_USAGE = (dimension: string): string[] => [
  `query { usage(groupBy: [${dimension}]) { rows { probe: ${dimension.toLowerCase()} ${P} } } }`,
];
const VIA_CHAT = (selection: string): string[] => [
  `mutation ($input: ChatInput!) { chat(input: $input) { ... on ChatReply { ${selection} } } }`,
];
const inOwnersConversation = async (scene: AccessScene): Promise<Record<string, unknown>> => ({
  input: { ...ask('Hello'), conversationId: await scene.conversation(scene.owner) },
});
const readers = (documents: string[], owner?: ObjectCase['owner']): ObjectCase => ({ documents, owner });
const onFreshUser = (field: string, rest: string): ObjectCase => ({
  documents: [`mutation ($userId: ID!) { probe: ${field}(userId: $userId, ${rest}) ${P} }`],
  variables: async (scene) => ({ userId: await scene.user() }),
  owner: admin,
});

export const OBJECT_CASES: Record<string, ObjectCase> = {
  'Query.viewer': readers([`query { probe: viewer ${P} }`]),
  'Query.node': readers(
    ['user', 'organization', 'project', 'token', 'conversation', 'message', 'call', 'budget', 'alert'].map(
      (kind) => `query ($${kind}: ID!) { probe: node(id: $${kind}) ${P} }`,
    ),
  ),
  'Query.conversation': readers([`query ($conversation: ID!) { probe: conversation(id: $conversation) ${P} }`]),
  'Query.plans': readers([`query { probe: plans ${P} }`]),
  'Viewer.user': readers([`query { viewer { probe: user ${P} } }`]),
  'Viewer.organization': readers([`query { viewer { probe: organization ${P} } }`]),
  'Viewer.plan': readers([`query { viewer { probe: plan ${P} } }`]),
  'UserEdge.node': readers([`query { users(first: 100) { edges { probe: node ${P} } } }`], admin),
  'User.organization': readers(VIA_USERS(`probe: organization ${P}`)),
  'User.plan': readers(VIA_USERS(`probe: plan ${P}`)),
  'User.apiTokens': readers(VIA_USERS(`probe: apiTokens ${P}`)),
  'ProjectEdge.node': readers([`query { projects(first: 100) { edges { probe: node ${P} } } }`]),
  'ConversationEdge.node': readers([`query { conversations(first: 100) { edges { probe: node ${P} } } }`]),
  'Conversation.project': readers(VIA_CONVERSATIONS(`probe: project ${P}`)),
  'MessageEdge.node': readers(VIA_CONVERSATIONS(`messages { edges { probe: node ${P} } }`)),
  'Message.conversation': readers(VIA_MESSAGES(`probe: conversation ${P}`)),
  'Message.call': readers(VIA_MESSAGES(`probe: call ${P}`)),
  'CallEdge.node': readers([`query { calls(first: 100) { edges { probe: node ${P} } } }`]),
  'Call.user': readers(VIA_CALLS(`probe: user ${P}`)),
  'Call.project': readers(VIA_CALLS(`probe: project ${P}`)),
  'Call.conversation': readers(VIA_CALLS(`probe: conversation ${P}`)),
  'Query.budgets': readers(
    ['', '(scope: ORGANIZATION)', '(scope: PROJECT)', '(scope: USER)', '(scope: API_TOKEN)'].map(
      (which) => `query { probe: budgets${which} ${P} }`,
    ),
  ),
  'Viewer.budgets': readers([`query { viewer { probe: budgets ${P} } }`]),
  'BudgetAlert.budget': readers([
    `query ($alert: ID!) { node(id: $alert) { ... on BudgetAlert { probe: budget ${P} } } }`,
    `subscription { budgetAlerts(after: "2020-01-01T00:00:00Z") { id probe: budget ${P} } }`,
  ]),
  'Subscription.budgetAlerts': readers([`subscription { probe: budgetAlerts(after: "2020-01-01T00:00:00Z") ${P} }`]),
  'BudgetExceeded.budget': {
    documents: [
      `mutation ($input: ChatInput!) { chat(input: $input) { ... on BudgetExceeded { probe: budget ${P} } } }`,
    ],
    variables: async (scene) => {
      const projectId = await scene.project(scene.ours.organizationId);
      await scene.app.services.budgets.set(scene.ours.admin.viewer, {
        scope: 'PROJECT',
        subjectId: projectId,
        period: 'DAY',
        limit: '0',
        timeZone: 'UTC',
        alertAtPercent: [],
      });
      return { input: { ...ask('Hello'), projectId } };
    },
  },
  'Mutation.setBudget': {
    documents: [`mutation ($input: BudgetInput!) { probe: setBudget(input: $input) ${P} }`],
    variables: async (scene) => ({ input: { ...budgetTerms, subjectId: await scene.user() } }),
    owner: admin,
  },
  'UsageRow.user': readers(VIA_USAGE('USER')),
  'UsageRow.project': readers(VIA_USAGE('PROJECT')),
  'UsageRow.organization': readers(VIA_USAGE('ORGANIZATION'), operator),
  'ReconciliationDifference.call': {
    documents: [
      `query { reconciliation(from: "${DAY_AGO}", to: "${TOMORROW}") { edges { node { probe: call ${P} } } } }`,
    ],
    // A proxy without records: every call through it is a difference.
    variables: async (scene) => {
      for (const user of [scene.owner, scene.theirs.member]) await scene.call(user, null, { upstream: 'LITELLM' });
      const store = new ReconciliationStore(scene.database.db);
      const reconciler = new Reconciler({
        store,
        records: { spendPage: async () => ({ records: [], length: 0, total: 0 }), recordsOf: async () => [] },
        plausible: () => true,
        modelOf: () => null,
        settledForMs: 0,
      });
      scene.app.services.reconciliation = new Reconciliation({
        reconciler,
        store,
        isNightly: false,
        limiter: reportLimiter(),
        settledForMs: 0,
      });
      return {};
    },
    owner: (scene) => scene.ours.analyst,
  },
  'Model.availableOnPlans': readers([
    `query { models(includeUnavailable: true) { items { probe: availableOnPlans ${P} } } }`,
  ]),
  'ModelPrice.organization': readers([
    `query { prices { probe: organization ${P} } }`,
    `query { model(id: "${SECRET_MODEL}") { price { probe: organization ${P} } } }`,
  ]),
  'PriceChange.organization': {
    documents: [
      `mutation ($input: ModelPriceInput!) { setModelPrice(input: $input, dryRun: true) { byOrganization { probe: organization ${P} } } }`,
    ],
    variables: () => ({ input: priceTerms }),
    owner: operator,
  },
  'ModelNotAllowed.plansThatAllow': {
    documents: [
      `mutation ($input: ChatInput!) { chat(input: $input) { ... on ModelNotAllowed { probe: plansThatAllow ${P} } } }`,
    ],
    variables: async (scene) => {
      await scene.app.services.plans.upsert(scene.ours.operator.viewer, {
        name: `plan ${newId('plan')}`,
        models: ['test-small'],
      });
      return { input: { ...ask('Hello'), model: 'test-small' } };
    },
  },
  'ChatReply.answer': { documents: VIA_CHAT(`probe: answer ${P}`), variables: inOwnersConversation },
  'ChatReply.call': { documents: VIA_CHAT(`probe: call ${P}`), variables: inOwnersConversation },
  'ChatReply.conversation': { documents: VIA_CHAT(`probe: conversation ${P}`), variables: inOwnersConversation },
  'StreamStarted.conversation': {
    documents: [
      `subscription ($input: ChatInput!) { chatStream(input: $input) { ... on StreamStarted { probe: conversation ${P} } } }`,
    ],
    variables: inOwnersConversation,
  },
  'ActiveStream.call': {
    documents: [`query { activeStreams { probe: call ${P} } }`],
    variables: async (scene) => {
      await scene.stream(scene.owner);
      return {};
    },
  },
  'Mutation.createConversation': {
    documents: [`mutation ($input: CreateConversationInput!) { probe: createConversation(input: $input) ${P} }`],
    variables: async (scene) => ({ input: { projectId: await scene.project(scene.ours.organizationId) } }),
  },
  'Mutation.renameConversation': {
    documents: [`mutation ($id: ID!) { probe: renameConversation(id: $id, title: "New") ${P} }`],
    variables: async (scene) => ({ id: await scene.conversation(scene.owner) }),
  },
  'Mutation.createOrganization': readers([`mutation { probe: createOrganization(name: "New") ${P} }`], operator),
  'Mutation.createProject': readers([`mutation { probe: createProject(name: "New") ${P} }`], admin),
  'Mutation.createUser': {
    documents: [`mutation ($input: CreateUserInput!) { probe: createUser(input: $input) ${P} }`],
    variables: ({ ours }) => ({ input: { name: 'New', planId: ours.planId, organizationId: ours.organizationId } }),
    owner: admin,
  },
  'Mutation.setUserPlan': {
    documents: [`mutation ($userId: ID!, $planId: ID!) { probe: setUserPlan(userId: $userId, planId: $planId) ${P} }`],
    variables: async (scene) => ({ userId: await scene.user(), planId: scene.ours.planId }),
    owner: admin,
  },
  'Mutation.setUserRole': onFreshUser('setUserRole', 'role: MEMBER'),
  'Mutation.setUserBlocked': onFreshUser('setUserBlocked', 'blocked: true'),
  'Mutation.revokeApiToken': {
    documents: [`mutation ($id: ID!) { probe: revokeApiToken(id: $id) ${P} }`],
    variables: async (scene) => ({ id: await scene.token(scene.owner) }),
  },
  'CreatedApiToken.token': {
    documents: [`mutation ($input: ApiTokenInput!) { createApiToken(input: $input) { probe: token ${P} } }`],
    variables: ({ owner }) => ({ input: { name: 'New', userId: owner.id } }),
  },
  'Mutation.upsertPlan': {
    documents: [`mutation ($input: PlanInput!) { probe: upsertPlan(input: $input) ${P} }`],
    variables: () => ({ input: { name: `plan ${newId('plan')}`, models: ['test-chat'] } }),
    owner: operator,
  },
};
