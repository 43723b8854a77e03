export interface PlanLimits {
  requestsPerMinute: number | null;
  tokensPerMinute: number | null;
  parallelCalls: number | null;
  maxOutputTokens: number | null;
  /** Dollars, decimal string. */
  monthlyBudget: string | null;
}
export interface Plan {
  id: string;
  name: string;
  /** Exact model ids and `provider/*` patterns. */
  models: string[];
  defaultModel: string | null;
  limits: PlanLimits;
}

/** What an administrator says of a plan. Without `id`: a new one. */
export interface PlanEdit {
  id?: string | null;
  name: string;
  models: string[];
  defaultModel?: string | null;
  limits?: Partial<PlanLimits> | null;
}

/** The plans there are, from memory. */
export interface Plans {
  /** By name. */
  list(): Promise<Plan[]>;
  byId(id: string): Promise<Plan | null>;
}

/**
 * Whether a plan may use a model: by its exact id, or by `provider/*` with the provider that the upstream reports. The
 * one rule: it filters `models` and refuses calls. A model whose provider is unknown is allowed by its id only.
 */
export const allows = (plan: Pick<Plan, 'models'>, model: { id: string; provider: string | null }): boolean =>
  plan.models.some((entry) =>
    entry.endsWith('/*') ? model.provider !== null && entry.slice(0, -2) === model.provider : entry === model.id,
  );
