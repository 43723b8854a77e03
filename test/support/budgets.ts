import type { Db } from '../../src/database/pool';
import { newId } from '../../src/lib/ids';
import { AlertFeed, type AlertFeedDeps } from '../../src/services/budgets/alert-feed';
import { AlertStore } from '../../src/services/budgets/alert.store';
import { BudgetService } from '../../src/services/budgets/budget.service';
import { BudgetStore } from '../../src/services/budgets/budget.store';
import type { BudgetEdit } from '../../src/domain/budget';
import { LedgerStore } from '../../src/services/ledger/ledger.store';
import type { Admission, NewCall } from '../../src/domain/call';
import { PeopleService } from '../../src/services/accounts/people.service';
import { callEnd, callFacts } from './call-ends';
import type { TestDatabase } from './database';
import type { TestUser } from './factories';
import { memoryLogger } from './log';

/**
 * Budgets on a real database, without doors and without a model: calls are admitted and settled by the functions that
 * the product uses.
 */
export interface BudgetBench {
  budgets: BudgetService;
  feed: AlertFeed;
  logger: ReturnType<typeof memoryLogger>;
}

export function budgetBench(
  database: Pick<TestDatabase, 'db' | 'url'>,
  options: Partial<Pick<AlertFeedDeps, 'pollMs' | 'reconnectMs'>> = {},
): BudgetBench {
  const { db, url } = database;
  const logger = memoryLogger();
  const people = new PeopleService({
    db,
    plans: { byId: async () => null },
    keys: { follow: async () => undefined } as never,
    auth: { forgetUser: () => undefined } as never,
    onAccessEnded: () => undefined,
  });
  const feed = new AlertFeed({ databaseUrl: url, store: new AlertStore(db), logger, ...options });
  return { budgets: new BudgetService({ store: new BudgetStore(db), people, alerts: feed }), feed, logger };
}

export const budgetOf = (fields: Partial<BudgetEdit> & Pick<BudgetEdit, 'scope' | 'subjectId'>): BudgetEdit => ({
  period: 'MONTH',
  limit: '10',
  timeZone: 'UTC',
  alertAtPercent: [80, 90],
  ...fields,
});

/** On whose account a call runs; default: the user with the token that it has. */
export interface Account {
  projectId?: string | null;
  tokenId?: string | null;
}
export type Admitted = Extract<Admission, { kind: 'ADMITTED' }>;

/** Asks for admission of a call, as the product does. `hold`: dollars. */
export async function ask(
  db: Db,
  user: TestUser,
  hold: string | null,
  { projectId = null, tokenId = user.tokenId }: Account = {},
): Promise<Admission> {
  const call: NewCall = {
    ...callFacts({ hold }),
    id: newId('call'),
    organizationId: user.organizationId,
    userId: user.id,
    tokenId,
    projectId,
    agent: null,
    scenario: 'DEFAULT',
    traceId: 'a'.repeat(32),
    model: 'm',
    upstream: 'DIRECT',
    streamed: false,
    owner: 'test',
    deadlineMs: 600_000,
    question: null,
    idempotency: null,
  };
  return (await new LedgerStore(db).admit([call]))[0]!;
}

export async function admit(db: Db, user: TestUser, hold: string | null, account: Account = {}): Promise<Admitted> {
  const admission = await ask(db, user, hold, account);
  if (admission.kind !== 'ADMITTED') throw new Error(`not admitted: ${JSON.stringify(admission)}`);
  return admission;
}

const endOf = (
  user: TestUser,
  call: Pick<Admitted, 'id' | 'occurredAt' | 'heldOn'>,
  cost: string | null,
  { projectId = null, tokenId = user.tokenId }: Account,
) =>
  callEnd({
    id: call.id,
    occurredAt: call.occurredAt,
    heldOn: call.heldOn,
    organizationId: user.organizationId,
    userId: user.id,
    tokenId,
    projectId,
    cost:
      cost === null
        ? null
        : { input: cost, cacheRead: '0', cacheWrite: '0', output: '0', reasoning: '0', request: '0', total: cost },
  });

/** Settles an admitted call at a cost. */
export async function settle(
  db: Db,
  user: TestUser,
  call: Admitted,
  cost: string | null,
  account: Account = {},
): Promise<void> {
  await new LedgerStore(db).settle([endOf(user, call, cost, account)]);
}

/** Later knowledge: it has cost something else. */
export async function correct(
  db: Db,
  user: TestUser,
  call: Admitted,
  cost: string | null,
  account: Account = {},
): Promise<void> {
  await new LedgerStore(db).correct([endOf(user, call, cost, account)], 'test');
}

/** A whole call: held, and settled at the same amount. */
export async function spend(db: Db, user: TestUser, cost: string, account: Account = {}): Promise<Admitted> {
  const call = await admit(db, user, cost, account);
  await settle(db, user, call, cost, account);
  return call;
}

export async function createProject(db: Db, organizationId: string): Promise<string> {
  const id = newId('project');
  await db.query('INSERT INTO projects (id, organization_id, name) VALUES ($1, $2, $3)', [
    id,
    organizationId,
    'Project',
  ]);
  return id;
}
