import { notifyAlerts } from '../../database/alert-notice';
import type { Db, Tx } from '../../database/pool';
import { canonicalDecimal } from '../../lib/decimal';
import type { Viewer } from '../../domain/principal';
import { BUDGETS, toBudget, VIEWER, VISIBLE, type BudgetRow } from './budget-row.store';
import type { Budget, BudgetEdit, BudgetScope } from '../../domain/budget';

/** Rows of one list. There are no pages: a plan may have made a budget for each of its users. */
const MAX_LISTED = 1_000;
/** As admission asks them, and then the fullest first. */
const ORDER = `ORDER BY array_position('{ORGANIZATION,PROJECT,USER,API_TOKEN}', b.scope), (coalesce(p.spent, 0) + coalesce(p.held, 0)) / nullif(b.limit_amount, 0) DESC NULLS FIRST, b.created_at, b.id`;

export type NewBudget = Pick<Budget, 'id' | 'organizationId' | 'byOperator'> & Omit<BudgetEdit, 'id'>;

/** What budgets were told of a row: of a reversal, what they had been told before, whatever prices are by now. */
const TOLD = 'sum(coalesce(budget_cost, cost))';

/**
 * Sums of today, by scope: the rows of the budgets' subjects since a moment. $1: subjects, $2: their organisations, $3:
 * the moment.
 */
const SPENT_SINCE: Record<BudgetScope, string> = {
  ORGANIZATION: `SELECT organization_id AS subject, ${TOLD} AS cost FROM llm_usage WHERE organization_id = ANY($1) AND organization_id = ANY($2) AND occurred_at >= $3 GROUP BY 1`,
  PROJECT: `SELECT project_id AS subject, ${TOLD} AS cost FROM llm_usage WHERE project_id = ANY($1) AND organization_id = ANY($2) AND occurred_at >= $3 GROUP BY 1`,
  USER: `SELECT user_id AS subject, ${TOLD} AS cost FROM llm_usage WHERE user_id = ANY($1) AND organization_id = ANY($2) AND occurred_at >= $3 GROUP BY 1`,
  // By the index of users, where the tokens still are: those of a person who was deleted are gone.
  API_TOKEN: `SELECT token_id AS subject, ${TOLD} AS cost FROM llm_usage WHERE token_id = ANY($1) AND user_id = ANY(ARRAY(SELECT user_id FROM api_tokens WHERE organization_id = ANY($2) AND id = ANY($1)))
    AND organization_id = ANY($2) AND occurred_at >= $3 GROUP BY 1`,
};

export class BudgetStore {
  constructor(private readonly db: Db) {}

  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.db.transaction(work);
  }

  /** Those that the viewer may see; null: no condition. At most a thousand. */
  async list(viewer: Viewer, scope: BudgetScope | null, subjectIds: readonly string[] | null): Promise<Budget[]> {
    const rows = await this.db.query<BudgetRow>(
      `${BUDGETS} WHERE ${VISIBLE} AND ($4::text IS NULL OR b.scope = $4) AND ($5::text[] IS NULL OR b.subject_id = ANY($5)) ${ORDER} LIMIT ${MAX_LISTED}`,
      [...VIEWER(viewer), scope, subjectIds],
    );
    return rows.map(toBudget);
  }

  async find(viewer: Viewer, id: string, tx: Tx = this.db): Promise<Budget | null> {
    const [row] = await tx.query<BudgetRow>(`${BUDGETS} WHERE ${VISIBLE} AND b.id = $4`, [...VIEWER(viewer), id]);
    return row ? toBudget(row) : null;
  }

  /** Whether any of the subjects has a budget. */
  async anyOf(organizationId: string, subjectIds: readonly string[]): Promise<boolean> {
    const [row] = await this.db.query<{ found: boolean }>(
      'SELECT EXISTS (SELECT FROM budgets WHERE organization_id = $1 AND subject_id = ANY($2)) AS found',
      [organizationId, subjectIds],
    );
    return row!.found;
  }

  /**
   * Until the transaction ends nothing of the organisation is admitted or settled, and nobody else edits its budgets.
   * To be called first.
   */
  async lock(tx: Tx, organizationId: string): Promise<void> {
    await tx.query('SELECT weir.lock_budgets($1)', [organizationId]);
  }

  async countOf(tx: Tx, organizationId: string, subjectId: string): Promise<number> {
    const [row] = await tx.query<{ count: string }>(
      'SELECT count(*) FROM budgets WHERE organization_id = $1 AND subject_id = $2',
      [organizationId, subjectId],
    );
    return Number(row!.count);
  }

  async insert(tx: Tx, budget: NewBudget): Promise<void> {
    await tx.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, by_operator, period, limit_amount, soft_limit, time_zone, alert_at_percent) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
      [budget.id, budget.organizationId, budget.scope, budget.subjectId, budget.byOperator, ...termsOf(budget)],
    );
  }

  async update(tx: Tx, organizationId: string, id: string, edit: BudgetEdit, byOperator: boolean): Promise<void> {
    await tx.query(
      `UPDATE budgets SET by_operator = $2, period = $3, limit_amount = $4, soft_limit = $5, time_zone = $6, alert_at_percent = $7, updated_at = weir.now() WHERE id = $1 AND organization_id = $8`,
      [id, byOperator, ...termsOf(edit), organizationId],
    );
  }

  /** With its periods and alerts. */
  async remove(tx: Tx, organizationId: string, id: string): Promise<void> {
    await tx.query('DELETE FROM budgets WHERE organization_id = $1 AND id = $2', [organizationId, id]);
  }

  /**
   * The period of now is made anew: with what was spent in it and is held. Alerts that are due are written. Behind
   * `lock`.
   */
  async fill(tx: Tx, organizationId: string, id: string): Promise<void> {
    await tx.query(`SELECT ${notifyAlerts('weir.fill_budgets($1, $2)')}`, [organizationId, [id]]);
  }

  /** Alerts that are due under the new limit and thresholds are written. Behind `lock`. */
  async checkAlerts(tx: Tx, organizationId: string, id: string): Promise<void> {
    await tx.query(`SELECT ${notifyAlerts('weir.check_alerts($1, $2)')}`, [organizationId, [id]]);
  }

  async planName(id: string): Promise<string> {
    const [row] = await this.db.query<{ name: string }>('SELECT name FROM plans WHERE id = $1', [id]);
    return row?.name ?? id;
  }

  /** Whether Postgres knows a time zone of this name. */
  async knowsZone(name: string): Promise<boolean> {
    try {
      await this.db.query('SELECT weir.now() AT TIME ZONE $1', [name]);
      return true;
    } catch (error) {
      // invalid_parameter_value
      if ((error as { code?: string }).code === '22023') return false;
      throw error;
    }
  }

  /** Dollars that were booked since midnight in each budget's zone, by budget. */
  async spentToday(
    budgets: readonly Pick<Budget, 'id' | 'scope' | 'subjectId' | 'organizationId' | 'timeZone'>[],
  ): Promise<Map<string, string>> {
    const zones = [...new Set(budgets.map(({ timeZone }) => timeZone))];
    const midnights = await this.db.query<{ zone: string; since: string }>(
      'SELECT zone, weir.local_midnight((weir.now() AT TIME ZONE zone)::date, zone)::text AS since FROM unnest($1::text[]) AS zone',
      [zones],
    );
    const sinceOf = new Map(midnights.map(({ zone, since }) => [zone, since]));
    const groups = new Map<string, { scope: BudgetScope; since: string; budgets: (typeof budgets)[number][] }>();
    for (const budget of budgets) {
      const since = sinceOf.get(budget.timeZone)!;
      const key = `${budget.scope} ${since}`;
      const group = groups.get(key) ?? { scope: budget.scope, since, budgets: [] };
      group.budgets.push(budget);
      groups.set(key, group);
    }
    const spent = new Map<string, string>();
    for (const { scope, since, budgets: members } of groups.values()) {
      const subjects = [...new Set(members.map(({ subjectId }) => subjectId))];
      const organizations = [...new Set(members.map(({ organizationId }) => organizationId))];
      const rows = await this.db.query<{ subject: string; cost: string | null }>(SPENT_SINCE[scope], [
        subjects,
        organizations,
        since,
      ]);
      const bySubject = new Map(rows.map(({ subject, cost }) => [subject, canonicalDecimal(cost ?? '0')]));
      for (const { id, subjectId } of members) spent.set(id, bySubject.get(subjectId) ?? '0');
    }
    return spent;
  }
}

const termsOf = (edit: Omit<BudgetEdit, 'id'>): unknown[] => [
  edit.period,
  edit.limit,
  edit.softLimit ?? null,
  edit.timeZone,
  edit.alertAtPercent,
];
