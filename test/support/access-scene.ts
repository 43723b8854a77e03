import { insertUsage, usageRow } from '../integration/usage/usage-rows';
import { newId } from '../../src/lib/ids';
import { startTestApp, type TestApp } from './app';
import { createTestDatabase, type TestDatabase } from './database';
import { createToken, createUser, createWorld, type TestUser, type World } from './factories';
import { startProvider, type FakeProvider } from './provider';
import { forever } from './provider-script';
import { ask } from './stream-fixture';
import type { Probe } from './schema-walk';
import { eventually, waitFor } from './wait';
import type { TestWsClient } from './ws-client';
import { appendPrice } from './prices';

export const SECRET_MODEL = 'priced-for-one-organisation';
/** What answers a test looks at: times and generated secrets are left out by the documents. */
export interface Answer {
  data: unknown;
  errors: { message: string; code: string; path: unknown; argument: unknown }[];
}

/**
 * Two organisations with one user of each role, a colleague of the one whose things are protected, and something of
 * everything.
 */
export class AccessScene {
  private readonly sockets = new Map<string, TestWsClient>();

  private constructor(
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
    readonly app: TestApp,
    /** The organisation whose objects are protected; `owner` is its member. */
    readonly ours: World,
    readonly colleague: TestUser,
    readonly theirs: World,
  ) {}

  static async open(): Promise<AccessScene> {
    const database = await createTestDatabase();
    const { db } = database;
    const provider = await startProvider();
    const ours = await createWorld(db, { name: 'Ours', plan: { models: ['test-chat'] } });
    const theirs = await createWorld(db, { name: 'Theirs', plan: { models: ['test-chat'] } });
    const colleague = await createUser(db, {
      organizationId: ours.organizationId,
      planId: ours.planId,
      name: 'Colleague',
    });
    // Read when the server starts.
    const rates = { input: '0.000001', output: '0.000002' };
    await appendPrice(db, { number: 1, model: SECRET_MODEL, organizationId: ours.organizationId, rates });
    await appendPrice(db, { number: 2, model: 'test-chat', rates });
    const app = await startTestApp({ database, upstream: provider });
    const scene = new AccessScene(database, provider, app, ours, colleague, theirs);
    // Everybody has something of everything, so that an answer without a filter would show.
    for (const user of scene.everybody) await scene.call(user, await scene.conversation(user));
    return scene;
  }

  async close(): Promise<void> {
    await this.app.stop();
    await this.provider.close();
    await this.database.close();
  }

  get owner(): TestUser {
    return this.ours.member;
  }
  get everybody(): TestUser[] {
    return [
      this.owner,
      this.colleague,
      this.ours.analyst,
      this.ours.admin,
      this.ours.operator,
      this.theirs.member,
      this.theirs.analyst,
      this.theirs.admin,
    ];
  }
  /** Nobody of the other organisation sees anything of ours. */
  get foreigners(): TestUser[] {
    return [this.theirs.member, this.theirs.analyst, this.theirs.admin];
  }

  /** A query or mutation by HTTP, a subscription by WebSocket. */
  async answer(user: TestUser, document: string, variables: object): Promise<Answer> {
    if (/^\s*(#.*\n\s*)*subscription/.test(document)) return this.subscribe(user, document, variables);
    const { data, errors } = await this.app.graphql(user.token, document, variables as Record<string, unknown>);
    return {
      data,
      errors: (errors ?? []).map(({ message, path, extensions: { code, argument } }) => ({
        message,
        code,
        path,
        argument,
      })),
    };
  }

  private async subscribe(user: TestUser, document: string, variables: object): Promise<Answer> {
    let socket = this.sockets.get(user.id);
    if (!socket) this.sockets.set(user.id, (socket = this.app.connect(user.token)));
    const isEndless = document.includes('budgetAlerts');
    const marker = isEndless ? (await this.budget(user)).alert : null;
    const stream = socket.subscribe<any>(document, variables as Record<string, unknown>);
    if (marker) {
      // Who has the newest alert has all of them.
      await stream.waitFor((event) => event?.id === marker);
      stream.unsubscribe();
    } else await eventually(stream.ended, 'the end of a subscription');
    const errors = stream.errors as {
      message: string;
      path?: unknown;
      extensions?: { code: string; argument?: unknown };
    }[];
    return {
      data: document.includes('probe: budgetAlerts') ? stream.events.map((probe) => ({ probe })) : stream.events,
      errors: errors.map(({ message, path, extensions }) => ({
        message,
        code: extensions!.code,
        path,
        argument: extensions!.argument,
      })),
    };
  }

  /** A running stream; gives its id. */
  async stream(user: TestUser): Promise<string> {
    this.provider.script('test-chat', { pieces: ['one '], hold: { after: 1, until: forever } });
    const stream = this.app.connect(user.token).chatStream(ask('Go on'));
    const { streamId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await waitFor(() => this.provider.running > 0, { what: 'the upstream request' });
    return streamId;
  }

  /** A stream that has ended; gives its id. */
  async endedStream(user: TestUser): Promise<string> {
    const stream = this.app.connect(user.token).chatStream(ask('Be short'));
    await eventually(stream.ended, 'the end of a stream');
    return stream.events[0]!.streamId;
  }

  async project(organizationId: string): Promise<string> {
    const id = newId('project');
    await this.database.db.query('INSERT INTO projects (id, organization_id, name) VALUES ($1, $2, $3)', [
      id,
      organizationId,
      'Secret project',
    ]);
    return id;
  }

  /** A conversation with a project, a question and an answer. */
  async conversation(user: TestUser): Promise<string> {
    const { db } = this.database;
    const id = newId('conversation');
    await db.query(
      'INSERT INTO conversations (id, organization_id, user_id, project_id, title) VALUES ($1, $2, $3, $4, $5)',
      [id, user.organizationId, user.id, await this.project(user.organizationId), 'Secret title'],
    );
    await this.message(user.organizationId, id);
    return id;
  }

  async message(organizationId: string, conversationId: string, callId: string | null = null): Promise<string> {
    const id = newId('message');
    await this.database.db.query(
      `INSERT INTO messages (organization_id, id, conversation_id, position, role, content, call_id)
       SELECT $1, $2, $3, coalesce(max(position), 0) + 1, 'ASSISTANT', 'Secret answer', $4 FROM messages WHERE organization_id = $1 AND conversation_id = $3`,
      [organizationId, id, conversationId, callId],
    );
    return id;
  }

  /** A settled call in a conversation, with the answer that it gave. */
  async call(user: TestUser, conversationId: string | null = null, fields: object = {}): Promise<string> {
    const row = usageRow({
      organization_id: user.organizationId,
      user_id: user.id,
      occurred_at: new Date(Date.now() - 1_000).toISOString(),
      conversation_id: conversationId,
      project_id: await this.project(user.organizationId),
      ...fields,
    });
    await insertUsage(this.database.db, [row]);
    if (conversationId) await this.message(user.organizationId, conversationId, row.id);
    return row.id;
  }

  async token(user: TestUser): Promise<string> {
    return (await createToken(this.database.db, user)).tokenId;
  }

  /** A budget of a user, wide enough for everything, with an alert that is newer than all others. */
  async budget(user: TestUser = this.owner): Promise<{ budget: string; alert: string }> {
    const { db } = this.database;
    const [budget, alert] = [newId('budget'), newId('budgetAlert')];
    await db.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, 'USER', $3, 'DAY', 1000000)`,
      [budget, user.organizationId, user.id],
    );
    await db.query(
      `INSERT INTO budget_alerts (organization_id, id, budget_id, period, starts_on, percent, spent, limit_amount, at) SELECT $3, $1, $2, 'MONTH', '2026-01-01', 80, 1, 1, coalesce(max(at), date_trunc('milliseconds', weir.now())) + interval '1 millisecond' FROM budget_alerts`,
      [alert, budget, user.organizationId],
    );
    return { budget, alert };
  }

  async user(world: World = this.ours): Promise<string> {
    return (
      await createUser(this.database.db, {
        organizationId: world.organizationId,
        planId: world.planId,
        name: 'Somebody',
      })
    ).id;
  }

  /** The contract's rule about who may see what, written down a second time, on the rows themselves. */
  async maySee(user: TestUser, { __typename: type, id }: Probe): Promise<boolean> {
    const { role, organizationId, id: self } = user;
    const row = async (sql: string): Promise<{ organization_id: string; user_id: string } | undefined> =>
      (await this.database.db.query<{ organization_id: string; user_id: string }>(sql, [id]))[0];
    const inReach = (organization?: string): boolean => role === 'OPERATOR' || organization === organizationId;
    switch (type) {
      case 'Plan':
        return true;
      case 'Viewer':
        return id === self;
      case 'Organization':
        return inReach(id);
      case 'Project':
        return inReach(
          (await row('SELECT organization_id, NULL AS user_id FROM projects WHERE id = $1'))?.organization_id,
        );
      case 'User':
        return (
          id === self ||
          (role !== 'MEMBER' &&
            inReach((await row('SELECT organization_id, id AS user_id FROM users WHERE id = $1'))?.organization_id))
        );
      case 'ApiToken': {
        const token = await row(
          'SELECT u.organization_id, u.id AS user_id FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE t.id = $1',
        );
        return (
          token?.user_id === self || ((role === 'ADMIN' || role === 'OPERATOR') && inReach(token?.organization_id))
        );
      }
      case 'Call': {
        const call = await row(
          'SELECT organization_id, user_id FROM llm_usage WHERE id = $1 UNION ALL SELECT organization_id, user_id FROM calls_in_flight WHERE id = $1',
        );
        return call?.user_id === self || (role !== 'MEMBER' && inReach(call?.organization_id));
      }
      case 'Conversation':
        return (await row('SELECT organization_id, user_id FROM conversations WHERE id = $1'))?.user_id === self;
      case 'Message':
        return (
          (
            await row(
              'SELECT c.organization_id, c.user_id FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = $1',
            )
          )?.user_id === self
        );
      case 'Budget':
      case 'BudgetAlert': {
        const [budget] = await this.database.db.query<{
          organization_id: string;
          scope: string;
          subject_id: string;
          owner: string | null;
        }>(
          `SELECT b.organization_id, b.scope, b.subject_id, t.user_id AS owner FROM budgets b LEFT JOIN api_tokens t ON t.id = b.subject_id
           WHERE b.id = $1 OR b.id = (SELECT budget_id FROM budget_alerts WHERE id = $1)`,
          [id],
        );
        if (role !== 'MEMBER') return inReach(budget?.organization_id);
        return (
          budget?.organization_id === organizationId &&
          (['ORGANIZATION', 'PROJECT'].includes(budget.scope) || budget.subject_id === self || budget.owner === self)
        );
      }
      default:
        throw new Error(`no rule for ${type}`);
    }
  }

  /** Everything that a refused operation could have changed, as one text. */
  async state(): Promise<string> {
    const tables = [
      'organizations',
      'plans',
      'projects',
      'users',
      'conversations',
      'messages',
      'llm_usage',
      'calls_in_flight',
      'budgets',
      'budget_alerts',
      'model_prices',
      '(SELECT book, model FROM price_changes)',
      '(SELECT id, user_id, name, revoked_at FROM api_tokens)',
    ];
    const sums = tables.map(
      (table) => `(SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM ${table} AS t)`,
    );
    const [row] = await this.database.db.query<{ state: string }>(`SELECT concat_ws(' ', ${sums.join(', ')}) AS state`);
    return row!.state;
  }
}
