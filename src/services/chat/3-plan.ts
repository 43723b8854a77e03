import { badInput } from '../../errors';
import type { CatalogModel, CatalogSnapshot } from '../model/model.types';
import { allows } from '../plan/plan.rule';
import type { Plan } from '../plan/plan.types';
import type { ChatInput, Refusal } from './chat.types';
import type { RouteChoice } from './2-route';

/** Tokens of an answer where neither the caller nor the plan says. */
const DEFAULT_MAX_TOKENS = 4_096;

/** The rule that filters `models` refuses here: a model that the plan does not allow, or that is not there. null: go on. */
export function refuseByPlan(plan: Plan, route: RouteChoice, catalog: CatalogSnapshot, plans: readonly Plan[]): Refusal | null {
  if (route.served && allows(plan, route.served)) return null;
  const { model, served } = route;
  const allowedModels = catalog.models.filter((m) => m.mode === 'CHAT' && allows(plan, m)).map((m) => m.id);
  const plansThatAllow = served ? plans.filter((p) => allows(p, served)).map((p) => p.id) : [];
  const message = served ? `The plan ${plan.name} does not include the model ${model}.` : `There is no model ${model}.`;
  return { kind: 'ModelNotAllowed', code: 'MODEL_NOT_ALLOWED', message, retryable: false, retryAfterMs: null, model, allowedModels, plansThatAllow };
}

/**
 * The `max_tokens` that is sent, always: what was asked for, else the plan's limit, else 4096; never more than the model can.
 * Throws BAD_USER_INPUT for more than the plan's limit.
 */
export function boundMaxTokens(plan: Plan, model: CatalogModel, input: ChatInput): number {
  const limit = plan.limits.maxOutputTokens;
  if (limit !== null && input.maxTokens != null && input.maxTokens > limit) throw badInput('input.maxTokens', `the plan ${plan.name} allows at most ${limit}`);
  const wanted = input.maxTokens ?? limit ?? DEFAULT_MAX_TOKENS;
  return Math.min(wanted, model.maxOutputTokens ?? wanted);
}
