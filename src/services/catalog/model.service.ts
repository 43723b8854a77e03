import { type Plan, allows } from '../../domain/plan';
import type { Viewer } from '../../domain/principal';
import type { ModelCatalog } from './model-catalog';
import { modelLabel } from './model-label';
import type { CatalogModel, ListedModel, ModelListing } from '../../domain/model';
import type { PlanService } from '../plans/plan.service';
import type { PriceService } from '../pricing/price.service';

/** The catalogue as one caller may use it: the rule that filters it is the one that refuses calls. */
export class ModelService {
  constructor(
    private readonly deps: {
      catalog: ModelCatalog;
      plans: Pick<PlanService, 'list' | 'byId'>;
      prices: Pick<PriceService, 'current'>;
      /** Whether a budget applies to the viewer, whatever it does. */
      budgets: { applyTo(viewer: Viewer): Promise<boolean> };
    },
  ) {}

  /**
   * With `includeUnavailable` also what the plan does not allow, and what the plan names but the upstream does not
   * serve (GONE).
   */
  async list(viewer: Viewer, includeUnavailable: boolean): Promise<ModelListing> {
    const { models, byId, asOf, stale, source } = this.deps.catalog.snapshot();
    const plan = await this.deps.plans.byId(viewer.planId);
    const items = await this.priced(
      viewer,
      models.map((model) => listed(model, plan)),
    );
    const gone = exactIds(plan)
      .filter((id) => !byId.has(id))
      .map(goneModel);
    return {
      items: includeUnavailable ? [...items, ...gone] : items.filter((model) => model.available),
      asOf,
      stale,
      source,
    };
  }

  async get(viewer: Viewer, id: string): Promise<ListedModel | null> {
    const model = this.deps.catalog.find(id);
    const plan = await this.deps.plans.byId(viewer.planId);
    if (model) return (await this.priced(viewer, [listed(model, plan)]))[0]!;
    return exactIds(plan).includes(id) ? goneModel(id) : null;
  }

  /**
   * Under a budget, what nobody knows the price of cannot be used: unknown is not free. Asks the database only where
   * that makes a difference.
   */
  private async priced(viewer: Viewer, items: ListedModel[]): Promise<ListedModel[]> {
    const isUnpriced = (model: ListedModel): boolean =>
      model.available && this.deps.prices.current(model.id, viewer.organizationId) === null;
    if (!items.some(isUnpriced) || !(await this.deps.budgets.applyTo(viewer))) return items;
    return items.map((model) =>
      isUnpriced(model) ? { ...model, available: false, unavailableReason: 'UNPRICED_UNDER_BUDGET' } : model,
    );
  }

  /** Empty for a model that nobody serves. */
  async plansThatAllow(modelId: string): Promise<Plan[]> {
    const model = this.deps.catalog.find(modelId);
    return model ? (await this.deps.plans.list()).filter((plan) => allows(plan, model)) : [];
  }
}

function listed(model: CatalogModel, plan: Plan | null): ListedModel {
  const available = plan !== null && allows(plan, model);
  return { ...model, available, unavailableReason: available ? null : 'NOT_ON_PLAN' };
}

const exactIds = (plan: Plan | null): string[] =>
  [...new Set(plan?.models ?? [])].filter((entry) => !entry.endsWith('*'));

const goneModel = (id: string): ListedModel => ({
  id,
  label: modelLabel(id),
  provider: null,
  mode: 'OTHER',
  contextWindow: null,
  maxOutputTokens: null,
  capabilities: [],
  fallbacks: [],
  available: false,
  unavailableReason: 'GONE',
});
