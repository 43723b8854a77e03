import { Client } from 'pg';
import { openDatabase, type Db } from '../../../src/database/pool';
import { canonicalDecimal } from '../../../src/lib/decimal';
import { newId } from '../../../src/lib/ids';
import type { BudgetPeriod, BudgetScope } from '../../../src/domain/budget';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import type { Admission, NewCall, Settlement } from '../../../src/domain/call';
import { createTestDatabase, type TestDatabase } from '../database';
import { createOrganization, createPlan, createUser } from '../factories';
import { waitFor } from '../wait';
import { endOf, newCall, type CallFields, type EndFields } from './calls';

export interface BudgetFields {
  scope?: BudgetScope;
  subjectId?: string;
  period?: BudgetPeriod;
  limit: string;
  zone?: string;
  fill?: boolean;
}
export interface PeriodRow {
  startsOn: string;
  startsAt: string;
  spent: string;
  held: string;
  overage: string;
}
/** What an admitted call's settlement needs. */
export interface Admitted {
  call: NewCall;
  occurredAt: string;
  heldOn: readonly { budgetId: string; startsOn: string }[];
}

/** An organisation, a project, a user and a token on a database, with two replicas of the call store. */
export class Scene {
  private readonly closers: (() => Promise<void>)[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly organizationId: string,
    readonly userId: string,
    readonly tokenId: string,
    readonly projectId: string,
    readonly a: LedgerStore,
    readonly b: LedgerStore,
  ) {}

  static async open(): Promise<Scene> {
    const database = await createTestDatabase();
    const other = await openDatabase({ url: database.url, poolSize: 4, applicationName: 'weir-other' }, () => {});
    const scene = new Scene(database, '', '', '', '', new LedgerStore(database.db), new LedgerStore(other));
    scene.closers.push(() => other.close());
    return scene;
  }

  /** The same database with new people: nothing of one test reaches the next. */
  async renew(): Promise<Scene> {
    const organizationId = await createOrganization(this.db);
    const { id, tokenId } = await createUser(this.db, { organizationId, planId: await createPlan(this.db) });
    const next = new Scene(this.database, organizationId, id, tokenId, newId('project'), this.a, this.b);
    return next;
  }

  get db(): Db {
    return this.database.db;
  }

  async close(): Promise<void> {
    for (const closer of this.closers) await closer();
    await this.database.close();
  }

  call(hold: string | null, more: Partial<CallFields> = {}): NewCall {
    return newCall({
      organizationId: this.organizationId,
      userId: this.userId,
      tokenId: this.tokenId,
      projectId: this.projectId,
      hold,
      ...more,
    });
  }

  end({ call, occurredAt, heldOn }: Admitted, cost: string | null, more: Partial<EndFields> = {}): Settlement {
    return endOf(call, { occurredAt, heldOn, cost, ...more });
  }

  /** Admits calls, which have to fit. */
  async admitted(...calls: NewCall[]): Promise<Admitted[]> {
    return (await this.a.admit(calls)).map((admission, i) => {
      if (admission.kind !== 'ADMITTED') throw new Error(`call ${i} is ${admission.kind}`);
      return { call: calls[i]!, occurredAt: admission.occurredAt, heldOn: admission.heldOn };
    });
  }

  async budget({
    scope = 'USER',
    subjectId,
    period = 'MONTH',
    limit,
    zone = 'UTC',
    fill = true,
  }: BudgetFields): Promise<string> {
    const id = newId('budget');
    const subject =
      subjectId ??
      { ORGANIZATION: this.organizationId, PROJECT: this.projectId, USER: this.userId, API_TOKEN: this.tokenId }[scope];
    await this.db.transaction(async (tx) => {
      await tx.query('SELECT weir.lock_budgets($1)', [this.organizationId]);
      await tx.query(
        'INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount, time_zone) VALUES ($1, $2, $3, $4, $5, $6, $7)',
        [id, this.organizationId, scope, subject, period, limit, zone],
      );
      if (fill) await tx.query('SELECT weir.fill_budgets($1, $2)', [this.organizationId, [id]]);
    });
    return id;
  }

  async periods(budgetId: string): Promise<PeriodRow[]> {
    const rows = await this.db.query<PeriodRow>(
      `SELECT starts_on::text AS "startsOn", to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS "startsAt", spent, held, overage FROM budget_periods WHERE budget_id = $1 ORDER BY starts_on`,
      [budgetId],
    );
    return rows.map((row) => ({
      ...row,
      spent: canonicalDecimal(row.spent),
      held: canonicalDecimal(row.held),
      overage: canonicalDecimal(row.overage),
    }));
  }

  /** Spent and held of the budget's only period. */
  async money(budgetId: string): Promise<{ spent: string; held: string }> {
    const [row, ...more] = await this.periods(budgetId);
    if (!row || more.length) throw new Error(`${more.length + (row ? 1 : 0)} periods`);
    return { spent: row.spent, held: row.held };
  }

  /** A connection of its own, for what is done in the middle of somebody else's transaction. Ends with the work. */
  async session<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ connectionString: this.database.url, application_name: 'session' });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  /** How many statements of the product that contain the text wait for a lock now. */
  async waiters(text: string): Promise<number> {
    const [row] = await this.db.query<{ count: string }>(
      `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'`,
      [text],
    );
    return Number(row!.count);
  }

  async waiting(text: string): Promise<void> {
    await waitFor(async () => (await this.waiters(text)) > 0, { what: `a statement with ${text} to wait` });
  }
}

export const kinds = (admissions: readonly Admission[]): string[] => admissions.map(({ kind }) => kind);
