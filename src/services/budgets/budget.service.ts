import { badInput, notFound } from '../../errors';
import { logAct } from '../../lib/audit';
import { newId } from '../../lib/ids';
import type { Logger } from '../../lib/logger';
import type { Viewer } from '../../domain/principal';
import type { AlertFeed } from './alert-feed';
import { readBudgetEdit, ZONE_PROBLEM } from './budget.input';
import { requireEditable, requireEditor } from './budget.rule';
import type { BudgetStore } from './budget.store';
import type { Budget, BudgetAlert, BudgetEdit, BudgetScope } from '../../domain/budget';
import type { PeopleService } from '../accounts/people.service';

/** Budgets of one subject: a call has to be held against each. */
const MAX_BUDGETS = 20;

export interface BudgetServiceDeps {
  store: BudgetStore;
  people: Pick<PeopleService, 'visibleOrganization' | 'visibleProject' | 'visibleUser' | 'visibleApiToken'>;
  alerts: Pick<AlertFeed, 'find' | 'subscribe'>;
  /** Sums over many rows run in it: a few at a time. */
  limiter?: { run<T>(key: string, work: () => Promise<T>): Promise<T> };
  logger?: Logger;
}

/** Limits of money: who may see and set which. What they hold and book is done by admission and settlement, in SQL. */
export class BudgetService {
  constructor(private readonly deps: BudgetServiceDeps) {}

  /** In the order organisation, project, user, token, and then the fullest first; at most a thousand. */
  list(
    viewer: Viewer,
    { scope, subjectId }: { scope?: BudgetScope | null; subjectId?: string | null },
  ): Promise<Budget[]> {
    const subjectIds = subjectId != null ? [subjectId] : scope != null ? null : subjectsOf(viewer);
    return this.deps.store.list(viewer, scope ?? null, subjectIds);
  }

  /** null for what the viewer may not see. */
  get(viewer: Viewer, id: string): Promise<Budget | null> {
    return this.deps.store.find(viewer, id);
  }

  alert(viewer: Viewer, id: string): Promise<BudgetAlert | null> {
    return this.deps.alerts.find(viewer, id);
  }

  /**
   * Alerts of budgets that the caller may see: those after `after`, then what comes, from every replica. Ends by
   * `return()`.
   */
  alerts(viewer: Viewer, after: Date | null): AsyncIterableIterator<BudgetAlert> {
    return this.deps.alerts.subscribe(viewer.userId, after);
  }

  /** Whether a call of this viewer outside any project would have to fit a budget. */
  applyTo(viewer: Viewer): Promise<boolean> {
    return this.deps.store.anyOf(viewer.organizationId, subjectsOf(viewer));
  }

  /**
   * In the order of the budgets. Who may see them is the caller's to know. Throws RATE_LIMITED where too many sums are
   * asked for at once.
   */
  async spentToday(budgets: readonly Budget[]): Promise<string[]> {
    // A day that is the budget's period has been summed up already.
    const others = budgets.filter(({ period }) => period !== 'DAY');
    const sum = (): Promise<Map<string, string>> => this.deps.store.spentToday(others);
    const spent =
      others.length === 0
        ? new Map<string, string>()
        : await (this.deps.limiter ? this.deps.limiter.run('', sum) : sum());
    return budgets.map((budget) => (budget.period === 'DAY' ? budget.spent : (spent.get(budget.id) ?? '0')));
  }

  /** Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  async set(viewer: Viewer, input: BudgetEdit): Promise<Budget> {
    requireEditor(viewer);
    const edit = readBudgetEdit(input);
    if (!(await this.deps.store.knowsZone(edit.timeZone))) throw badInput('timeZone', ZONE_PROBLEM);
    const { before, after } =
      edit.id == null
        ? { before: null, after: await this.create(viewer, edit) }
        : await this.change(viewer, edit.id, edit);
    this.log(viewer, before ? 'budget.update' : 'budget.create', before, after);
    return after;
  }

  /** Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  async remove(viewer: Viewer, id: string): Promise<string> {
    requireEditor(viewer);
    const { organizationId } = await this.editable(viewer, id, 'id');
    const { store } = this.deps;
    const removed = await store.transaction(async (tx) => {
      await store.lock(tx, organizationId);
      const budget = await this.editable(viewer, id, 'id', tx);
      await store.remove(tx, organizationId, id);
      return budget;
    });
    this.log(viewer, 'budget.delete', removed, null);
    return id;
  }

  private log(
    viewer: Viewer,
    action: 'budget.create' | 'budget.update' | 'budget.delete',
    before: Budget | null,
    after: Budget | null,
  ): void {
    const { id, organizationId } = (after ?? before)!;
    const shown = (budget: Budget | null): object | null =>
      budget && {
        scope: budget.scope,
        subjectId: budget.subjectId,
        period: budget.period,
        limit: budget.limit,
        softLimit: budget.softLimit,
        timeZone: budget.timeZone,
        alertAtPercent: budget.alertAtPercent,
      };
    logAct(this.deps.logger, {
      actor: viewer.userId,
      action,
      target: { id, organizationId },
      before: shown(before),
      after: shown(after),
    });
  }

  private async create(viewer: Viewer, edit: BudgetEdit): Promise<Budget> {
    const { store } = this.deps;
    const organizationId = await this.organizationOf(viewer, edit.scope, edit.subjectId);
    if (organizationId === null) throw notFound('subjectId');
    const id = newId('budget');
    return store.transaction(async (tx) => {
      await store.lock(tx, organizationId);
      if ((await store.countOf(tx, organizationId, edit.subjectId)) >= MAX_BUDGETS)
        throw badInput('subjectId', `has ${MAX_BUDGETS} budgets already: change or remove one`);
      await store.insert(tx, { ...edit, id, organizationId, byOperator: viewer.role === 'OPERATOR' });
      await store.fill(tx, organizationId, id);
      return (await store.find(viewer, id, tx))!;
    });
  }

  private async change(viewer: Viewer, id: string, edit: BudgetEdit): Promise<{ before: Budget; after: Budget }> {
    const { store } = this.deps;
    const { organizationId, scope, subjectId } = await this.editable(viewer, id, 'id');
    if (edit.scope !== scope) throw badInput('scope', `cannot change: this budget is of scope ${scope}`);
    if (edit.subjectId !== subjectId) throw badInput('subjectId', 'cannot change: make another budget');
    return store.transaction(async (tx) => {
      await store.lock(tx, organizationId);
      const before = await this.editable(viewer, id, 'id', tx);
      await store.update(tx, organizationId, id, edit, viewer.role === 'OPERATOR');
      if (edit.period !== before.period || edit.timeZone !== before.timeZone) await store.fill(tx, organizationId, id);
      else await store.checkAlerts(tx, organizationId, id);
      return { before, after: (await store.find(viewer, id, tx))! };
    });
  }

  private async editable(
    viewer: Viewer,
    id: string,
    argument: string,
    tx?: Parameters<BudgetStore['find']>[2],
  ): Promise<Budget> {
    const { store } = this.deps;
    const budget = await store.find(viewer, id, tx);
    if (!budget) throw notFound(argument);
    if (budget.planId !== null)
      throw badInput(
        argument,
        `made by the plan ${await store.planName(budget.planId)}: change the plan's monthlyBudget with upsertPlan`,
      );
    requireEditable(viewer, budget);
    return budget;
  }

  /** Of a subject that the viewer may see; null for one that is not there, or not of that kind. */
  private async organizationOf(viewer: Viewer, scope: BudgetScope, id: string): Promise<string | null> {
    const { people } = this.deps;
    switch (scope) {
      case 'ORGANIZATION':
        return (await people.visibleOrganization(viewer, id))?.id ?? null;
      case 'PROJECT':
        return (await people.visibleProject(viewer, id))?.organizationId ?? null;
      case 'USER':
        return (await people.visibleUser(viewer, id))?.organizationId ?? null;
      case 'API_TOKEN': {
        const token = await people.visibleApiToken(viewer, id);
        return token && ((await people.visibleUser(viewer, token.userId))?.organizationId ?? null);
      }
    }
  }
}

/** What budgets can apply to whatever the viewer does. */
const subjectsOf = (viewer: Viewer): string[] => [
  viewer.organizationId,
  viewer.userId,
  ...(viewer.tokenId === null ? [] : [viewer.tokenId]),
];
