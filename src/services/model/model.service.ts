import { allows } from '../plan/plan.rule';
import type { Plan } from '../plan/plan.types';
import type { ModelServiceApi, PlanServiceApi } from '../services';
import type { Viewer } from '../viewer/viewer.types';
import type { ModelCatalog } from './model-catalog';
import { modelLabel } from './model-label';
import type { CatalogModel, ListedModel, ModelListing } from './model.types';

/** The catalogue as one caller may use it: the rule that filters it is the one that refuses calls. */
export class ModelService implements ModelServiceApi {
  constructor(private readonly deps: { catalog: ModelCatalog; plans: Pick<PlanServiceApi, 'list' | 'byId'> }) {}

  /** With `includeUnavailable` also what the plan does not allow, and what the plan names but the upstream does not serve (GONE). */
  async list(viewer: Viewer, includeUnavailable: boolean): Promise<ModelListing> {
    const { models, byId, asOf, stale, source } = this.deps.catalog.snapshot();
    const plan = await this.deps.plans.byId(viewer.planId);
    const items = models.map((model) => listed(model, plan));
    const gone = exactIds(plan).filter((id) => !byId.has(id)).map(goneModel);
    return { items: includeUnavailable ? [...items, ...gone] : items.filter((model) => model.available), asOf, stale, source };
  }

  async get(viewer: Viewer, id: string): Promise<ListedModel | null> {
    const model = this.deps.catalog.find(id);
    const plan = await this.deps.plans.byId(viewer.planId);
    if (model) return listed(model, plan);
    return exactIds(plan).includes(id) ? goneModel(id) : null;
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

const exactIds = (plan: Plan | null): string[] => [...new Set(plan?.models ?? [])].filter((entry) => !entry.endsWith('*'));

const goneModel = (id: string): ListedModel => ({
  id,
  label: modelLabel(id),
  provider: null,
  mode: 'OTHER',
  contextWindow: null,
  maxOutputTokens: null,
  capabilities: [],
  available: false,
  unavailableReason: 'GONE',
});
