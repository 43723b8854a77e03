import type { CatalogModel, CatalogSnapshot, ModelMode } from '../../domain/model';
import { allows, type Plan } from '../../domain/plan';
import type { Refusal } from '../../domain/refusal';
import type { Candidate } from './2-route';

export interface AuthorizeFacts {
  candidates: readonly Candidate[];
  mode: ModelMode;
  plan: Plan;
  catalog: CatalogSnapshot;
  /** All plans, for what a refusal says. */
  plans: readonly Plan[];
}
export type Authorized = { kind: 'ALLOWED'; model: CatalogModel } | { kind: 'REFUSED'; refusal: Refusal };

/** The first candidate that is served and that the plan allows, by the rule that filters `models`. Pure. */
export function authorize({ candidates, mode, plan, catalog, plans }: AuthorizeFacts): Authorized {
  for (const { served } of candidates) if (served && allows(plan, served)) return { kind: 'ALLOWED', model: served };
  const { model, served } = candidates[0]!;
  return {
    kind: 'REFUSED',
    refusal: {
      kind: 'ModelNotAllowed',
      code: 'MODEL_NOT_ALLOWED',
      message: served ? `The plan ${plan.name} does not include the model ${model}.` : `There is no model ${model}.`,
      retryable: false,
      retryAfterMs: null,
      model,
      allowedModels: catalog.models.filter((one) => one.mode === mode && allows(plan, one)).map((one) => one.id),
      plansThatAllow: served ? plans.filter((one) => allows(one, served)).map((one) => one.id) : [],
    },
  };
}
