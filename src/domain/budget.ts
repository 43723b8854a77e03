export type BudgetScope = 'ORGANIZATION' | 'PROJECT' | 'USER' | 'API_TOKEN';
export type BudgetPeriod = 'DAY' | 'WEEK' | 'MONTH';

/** A budget with its period of now. Dollars are decimal strings. */
export interface Budget {
  id: string;
  organizationId: string;
  scope: BudgetScope;
  subjectId: string;
  period: BudgetPeriod;
  limit: string;
  softLimit: string | null;
  /** IANA name. */
  timeZone: string;
  alertAtPercent: number[];
  /** The plan that made it for its user; null: somebody set it. */
  planId: string | null;
  byOperator: boolean;
  spent: string;
  held: string;
  /** limit - spent - held, at least 0. */
  remaining: string;
  overage: string;
  periodStart: Date;
  resetsAt: Date;
}

export interface BudgetAlert {
  id: string;
  budgetId: string;
  organizationId: string;
  scope: BudgetScope;
  subjectId: string;
  percent: number;
  spent: string;
  limit: string;
  at: Date;
}

/** `BudgetInput` of the graph. */
export interface BudgetEdit {
  /** Left out: a new budget. */
  id?: string | null;
  scope: BudgetScope;
  subjectId: string;
  period: BudgetPeriod;
  limit: string;
  softLimit?: string | null;
  timeZone: string;
  alertAtPercent: readonly number[];
}
