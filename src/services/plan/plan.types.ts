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
