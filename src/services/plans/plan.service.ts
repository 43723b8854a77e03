import type { Db } from '../../database/pool';
import { badInput, forbidden, notFound } from '../../errors';
import { logAct } from '../../lib/audit';
import { newId } from '../../lib/ids';
import type { Logger } from '../../lib/logger';
import type { Viewer } from '../../domain/principal';
import { readPlanEdit } from './plan.input';
import { PlanStore } from './plan.store';
import type { Plan, PlanEdit } from '../../domain/plan';

export interface PlanServiceDeps {
  db: Db;
  /**
   * Told of every plan that is new or changed, here or on another replica. `upsert` waits for it; it must not throw.
   */
  onChanged?: (plan: Plan) => void | Promise<void>;
  logger?: Logger;
  /** Milliseconds. */
  refreshMs?: number;
}

/** Plans: who may use which models, within which limits. Read from memory on the hot path. */
export class PlanService {
  private readonly store = new PlanStore();
  private plans: Plan[] = [];
  private byIds = new Map<string, Plan>();
  private loaded = false;
  private loading: Promise<void> | null = null;
  private told: Promise<unknown> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly deps: PlanServiceDeps) {}

  /** Loads the plans and keeps them fresh, so that replicas see each other's edits. */
  async start(): Promise<void> {
    await this.refresh();
    this.timer ??= setInterval(() => {
      // The plans from before go on serving.
      this.refresh().catch((error: unknown) =>
        this.deps.logger?.warn({ err: error }, 'the plans could not be refreshed'),
      );
    }, this.deps.refreshMs ?? 5_000).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** All plans, by name; from memory. */
  async list(): Promise<Plan[]> {
    return this.plans;
  }

  async byId(id: string): Promise<Plan | null> {
    // One that another replica has just made: a look costs no more than any object's.
    if (!this.byIds.has(id)) await this.refresh();
    return this.byIds.get(id) ?? null;
  }

  /** Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  async upsert(viewer: Viewer, input: PlanEdit): Promise<Plan> {
    if (viewer.role !== 'OPERATOR') throw forbidden('OPERATOR');
    const { before, plan } = await this.deps.db.transaction(async (tx) => {
      const id = input.id ?? null;
      const before = id === null || id.includes('\0') ? null : await this.store.lock(tx, id);
      if (id !== null && !before) throw notFound('id');
      const edited: Plan = { id: id ?? newId('plan'), ...readPlanEdit(input, before) };
      if (!(await this.store.write(tx, edited))) throw badInput('name', 'another plan has this name');
      return { before, plan: edited };
    });
    logAct(this.deps.logger, {
      actor: viewer.userId,
      action: before ? 'plan.update' : 'plan.create',
      target: { id: plan.id, organizationId: null },
      before,
      after: plan,
    });
    await this.refresh();
    return plan;
  }

  /** Reads all plans and tells of those that changed. */
  async refresh(): Promise<void> {
    // A read that began before a caller's own write does not show it: such a caller needs the next one.
    if (this.loading) await this.loading.catch(() => {});
    this.loading ??= this.load().finally(() => (this.loading = null));
    await this.loading;
    await this.told;
  }

  private async load(): Promise<void> {
    const plans = await this.store.all(this.deps.db);
    const changed = !this.loaded
      ? []
      : plans.filter((plan) => JSON.stringify(this.byIds.get(plan.id)) !== JSON.stringify(plan));
    this.plans = plans;
    this.byIds = new Map(plans.map((plan) => [plan.id, plan]));
    this.loaded = true;
    if (changed.length) this.told = Promise.all(changed.map((plan) => this.deps.onChanged?.(plan)));
  }
}
