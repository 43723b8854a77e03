import type { Plan } from './plan.types';

/**
 * Whether a plan may use a model: by its exact id, or by `provider/*` with the provider that the upstream reports. The one rule: it filters
 * `models` and refuses `chat`. A model whose provider is unknown is allowed by its id only.
 */
export function allows(plan: Pick<Plan, 'models'>, model: { id: string; provider: string | null }): boolean {
  return plan.models.some((entry) => (entry.endsWith('/*') ? model.provider !== null && entry.slice(0, -2) === model.provider : entry === model.id));
}
