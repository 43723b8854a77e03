import { canonicalDecimal, Decimal } from '../../lib/decimal';
import type { Viewer } from '../../domain/principal';
import type { Budget, BudgetAlert, BudgetPeriod, BudgetScope } from '../../domain/budget';

export interface BudgetRow {
  id: string;
  organization_id: string;
  scope: BudgetScope;
  subject_id: string;
  period: BudgetPeriod;
  limit_amount: string;
  soft_limit: string | null;
  time_zone: string;
  alert_at_percent: number[];
  plan_id: string | null;
  by_operator: boolean;
  spent: string;
  held: string;
  overage: string;
  starts_at: Date;
  ends_at: Date;
}
export interface AlertRow {
  id: string;
  budget_id: string;
  organization_id: string;
  scope: BudgetScope;
  subject_id: string;
  owner_id: string | null;
  percent: number;
  spent: string;
  limit_amount: string;
  at: Date;
}

/**
 * Budgets with their period of now: the row where there is one, else what the clock says. A condition on `b` and an
 * order follow.
 */
export const BUDGETS = `
  SELECT b.id, b.organization_id, b.scope, b.subject_id, b.period, b.limit_amount, b.soft_limit, b.time_zone, b.alert_at_percent, b.plan_id, b.by_operator,
    coalesce(p.spent, 0) AS spent, coalesce(p.held, 0) AS held, coalesce(p.overage, 0) AS overage,
    coalesce(p.starts_at, weir.local_midnight(d.day, b.time_zone)) AS starts_at,
    coalesce(p.ends_at, weir.local_midnight(weir.period_end(b.period, d.day), b.time_zone)) AS ends_at
  FROM budgets b
  CROSS JOIN LATERAL (SELECT weir.period_start(b.period, weir.now() AT TIME ZONE b.time_zone) AS day) AS d
  LEFT JOIN budget_periods p ON p.organization_id = b.organization_id AND p.budget_id = b.id AND p.starts_on = d.day`;

export const ALERTS = `
  SELECT a.id, a.budget_id, b.organization_id, b.scope, b.subject_id, t.user_id AS owner_id, a.percent, a.spent, a.limit_amount, a.at
  FROM budget_alerts a JOIN budgets b ON b.organization_id = a.organization_id AND b.id = a.budget_id
  LEFT JOIN api_tokens t ON b.scope = 'API_TOKEN' AND t.organization_id = a.organization_id AND t.id = b.subject_id`;

/** `seesBudget` for a budget `b`, with `VIEWER` as the first three parameters. */
export const VISIBLE = `($1 = 'OPERATOR' OR (b.organization_id = $2 AND CASE
    WHEN $1 <> 'MEMBER' OR b.scope IN ('ORGANIZATION', 'PROJECT') THEN true
    WHEN b.scope = 'USER' THEN b.subject_id = $3
    ELSE EXISTS (SELECT FROM api_tokens own WHERE own.organization_id = b.organization_id AND own.id = b.subject_id AND own.user_id = $3) END))`;
export const VIEWER = ({
  role,
  organizationId,
  userId,
}: Pick<Viewer, 'role' | 'organizationId' | 'userId'>): string[] => [role, organizationId, userId];

export function toBudget(row: BudgetRow): Budget {
  return {
    id: row.id,
    organizationId: row.organization_id,
    scope: row.scope,
    subjectId: row.subject_id,
    period: row.period,
    limit: canonicalDecimal(row.limit_amount),
    softLimit: row.soft_limit === null ? null : canonicalDecimal(row.soft_limit),
    timeZone: row.time_zone,
    alertAtPercent: row.alert_at_percent,
    planId: row.plan_id,
    byOperator: row.by_operator,
    spent: canonicalDecimal(row.spent),
    held: canonicalDecimal(row.held),
    remaining: remaining(row),
    overage: canonicalDecimal(row.overage),
    periodStart: row.starts_at,
    resetsAt: row.ends_at,
  };
}

function remaining(row: BudgetRow): string {
  const left = Decimal.parse(row.limit_amount).minus(Decimal.parse(row.spent)).minus(Decimal.parse(row.held));
  return left.isNegative ? '0' : left.toString();
}

/** An alert, with the user whose token it is about: what the rule asks for. */
export interface OwnedAlert extends BudgetAlert {
  ownerId: string | null;
}

export const toAlert = (row: AlertRow): OwnedAlert => ({
  id: row.id,
  budgetId: row.budget_id,
  organizationId: row.organization_id,
  scope: row.scope,
  subjectId: row.subject_id,
  ownerId: row.owner_id,
  percent: row.percent,
  spent: canonicalDecimal(row.spent),
  limit: canonicalDecimal(row.limit_amount),
  at: row.at,
});
