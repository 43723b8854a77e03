import { AppError, forbidden } from '../../errors';
import type { Role } from '../../domain/principal';
import type { Budget, BudgetScope } from '../../domain/budget';

/** Who looks, as far as the rule asks: the row of the user counts, which may have changed since it logged in. */
export interface Looker {
  userId: string;
  organizationId: string;
  role: Role;
}
export interface Owned {
  organizationId: string;
  scope: BudgetScope;
  subjectId: string;
  /** API_TOKEN: the user of the token. */
  ownerId: string | null;
}

/**
 * Members see the budgets that can apply to them: of their organisation, its projects, themselves and their tokens.
 * Analysts and administrators see those of the organisation, operators all. `VISIBLE` of budget-row.store.ts says the
 * same in SQL; a test compares the two.
 */
export function seesBudget(viewer: Looker, budget: Owned): boolean {
  if (viewer.role === 'OPERATOR') return true;
  if (viewer.organizationId !== budget.organizationId) return false;
  if (viewer.role !== 'MEMBER' || budget.scope === 'ORGANIZATION' || budget.scope === 'PROJECT') return true;
  return viewer.userId === (budget.scope === 'USER' ? budget.subjectId : budget.ownerId);
}

/** Of a budget that an editor sees. Throws FORBIDDEN where an operator has set it and the viewer is none. */
export function requireEditable(viewer: Pick<Looker, 'role'>, budget: Pick<Budget, 'byOperator'>): void {
  if (budget.byOperator && viewer.role !== 'OPERATOR')
    throw new AppError('FORBIDDEN', {
      public: 'An operator has set this budget: only an operator can change or remove it.',
    });
}

export function requireEditor(viewer: Pick<Looker, 'role'>): void {
  if (viewer.role !== 'ADMIN' && viewer.role !== 'OPERATOR') throw forbidden('ADMIN');
}
