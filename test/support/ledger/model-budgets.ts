import { Decimal } from '../../../src/lib/decimal';
import type { BudgetPeriod, BudgetScope } from '../../../src/domain/budget';
import { periodDate } from './calendar';
import type { ModelCall } from './model';

export interface Budget {
  id: string;
  scope: BudgetScope;
  subject: string;
  period: BudgetPeriod;
  limit: Decimal;
  zone: string;
  percents: number[];
}
export interface Period {
  key: string;
  budgetId: string;
  spent: Decimal;
  held: Decimal;
  overage: Decimal;
}

const SCOPES: BudgetScope[] = ['ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN'];
export const rowKey = (budgetId: string, startsOn: string): string => `${budgetId}|${startsOn}`;
const least = (a: Decimal, b: Decimal): Decimal => (a.compare(b) < 0 ? a : b);
const positive = (a: Decimal): Decimal => (a.isNegative ? Decimal.ZERO : a);

/** The model's budgets and their periods. A period that is not here has nothing on it. */
export class ModelBudgets {
  private budgets = new Map<string, Budget>();
  readonly periods = new Map<string, Period>();
  /**
   * `budget|date|kind of period|percent` of every threshold that was reached: a budget whose period is changed has had
   * its alerts.
   */
  readonly alerts = new Set<string>();

  /** Those that apply to a call, in the order in which they are asked. */
  of(call: ModelCall): Budget[] {
    const subjects = [call.organization, call.project, call.user, call.token];
    return [...this.budgets.values()]
      .filter(({ subject }) => subjects.includes(subject))
      .sort((a, b) => SCOPES.indexOf(a.scope) - SCOPES.indexOf(b.scope) || (a.id < b.id ? -1 : 1));
  }

  period(budget: Budget, at: string): Period {
    const key = rowKey(budget.id, periodDate(budget.period, at, budget.zone));
    let period = this.periods.get(key);
    if (!period)
      this.periods.set(
        key,
        (period = { key, budgetId: budget.id, spent: Decimal.ZERO, held: Decimal.ZERO, overage: Decimal.ZERO }),
      );
    return period;
  }

  room(budget: Budget, at: string): Decimal {
    const { spent, held } = this.period(budget, at);
    return budget.limit.minus(spent).minus(held);
  }

  /** The rows that are (still) there. */
  rowsOf(keys: Iterable<string>): Period[] {
    return [...keys].map((key) => this.periods.get(key)).filter((period) => period !== undefined);
  }

  /**
   * Behind a change of spent (by so much) and held: what was used above the hold is overage as far as it exceeds the
   * limit; a refund takes overage back first.
   */
  book(booked: ReadonlyMap<Period, Decimal>, excess: ReadonlyMap<Period, Decimal>): void {
    for (const [period, spent] of booked) {
      const above = period.spent.plus(period.held).minus(this.budgets.get(period.budgetId)!.limit);
      if (spent.isNegative) period.overage = least(least(period.overage, period.spent), positive(above));
      else
        period.overage = period.overage.plus(
          least(excess.get(period) ?? Decimal.ZERO, positive(above.minus(period.overage))),
        );
      if (spent.compare(Decimal.ZERO) > 0) this.alertOf(period);
    }
  }

  /** After an edit: these are the budgets now. Rows of a budget that is gone are gone. */
  replace(budgets: readonly Budget[], calls: readonly ModelCall[]): void {
    this.budgets = new Map(budgets.map((budget) => [budget.id, budget]));
    for (const [key, { budgetId }] of this.periods) {
      if (this.budgets.has(budgetId)) continue;
      this.periods.delete(key);
      for (const call of calls) call.on.delete(key);
      for (const alert of this.alerts) if (alert.startsWith(`${budgetId}|`)) this.alerts.delete(alert);
    }
  }

  /**
   * The rows of a budget made anew from what ran and was settled in the period of a day: those calls are booked there
   * from now on. false: the day is of none of the times.
   */
  fill(
    id: string,
    day: string,
    times: readonly string[],
    running: readonly ModelCall[],
    settled: readonly (ModelCall & { cost: Decimal })[],
  ): boolean {
    const budget = this.budgets.get(id)!;
    const keyAt = (at: string): string => rowKey(id, periodDate(budget.period, at, budget.zone));
    for (const [key, { budgetId }] of this.periods) {
      if (budgetId !== id) continue;
      this.periods.delete(key);
      for (const call of [...running, ...settled]) call.on.delete(key);
    }
    const at = times.find((time) => keyAt(time) === rowKey(id, day));
    if (!at) return false;
    const row = this.period(budget, at);
    const isCurrent = (call: ModelCall): boolean =>
      [call.organization, call.project, call.user, call.token].includes(budget.subject) && keyAt(call.at) === row.key;
    for (const call of settled.filter(isCurrent)) {
      row.spent = row.spent.plus(call.cost);
      call.on.add(row.key);
    }
    for (const call of running.filter(isCurrent)) {
      row.held = row.held.plus(call.hold ?? Decimal.ZERO);
      call.on.add(row.key);
    }
    return true;
  }

  /** Thresholds that are reached on the current rows. */
  alert(at: string): void {
    for (const budget of this.budgets.values()) this.alertOf(this.period(budget, at));
  }

  private alertOf({ key, budgetId, spent }: Period): void {
    const { limit, percents, period } = this.budgets.get(budgetId)!;
    if (spent.compare(Decimal.ZERO) <= 0) return;
    for (const percent of percents)
      if (spent.times(100).compare(limit.times(percent)) >= 0) this.alerts.add(`${key}|${period}|${percent}`);
  }
}
