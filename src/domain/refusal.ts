import type { Budget } from './budget';
import type { Upstream } from './call';

interface RefusalBase { message: string; retryable: boolean; retryAfterMs: number | null }
/** Expected refusals, with what helps. `kind` names it, also where it is stored. */
export type Refusal =
  | (RefusalBase & { kind: 'ModelNotAllowed'; code: 'MODEL_NOT_ALLOWED'; model: string; allowedModels: string[]; plansThatAllow: string[] /* plan ids */ })
  | (RefusalBase & { kind: 'ModelUnavailable'; code: 'MODEL_UNAVAILABLE'; model: string; alternatives: string[] })
  | (RefusalBase & { kind: 'ModelUnpriced'; code: 'MODEL_UNPRICED'; model: string })
  | (RefusalBase & { kind: 'BudgetExceeded'; code: 'BUDGET_EXCEEDED'; budget: Budget; needed: string; resetsAt: Date; maxTokensThatFit: number | null; modelsThatFit: string[] })
  | (RefusalBase & { kind: 'IdempotencyConflict'; code: 'IDEMPOTENCY_CONFLICT'; firstUsedAt: Date })
  | (RefusalBase & { kind: 'RateLimited'; code: 'RATE_LIMITED'; origin: 'PLAN' | 'PROXY' | 'PROVIDER'; dimension: 'REQUESTS' | 'TOKENS' | 'PARALLEL_CALLS' | 'UNKNOWN' })
  | (RefusalBase & { kind: 'ContextTooLong'; code: 'CONTEXT_TOO_LONG'; countedTokens: number | null; allowedTokens: number | null; modelsThatFit: string[] })
  | (RefusalBase & { kind: 'ContentBlocked'; code: 'CONTENT_BLOCKED'; category: string | null })
  | (RefusalBase & { kind: 'UpstreamFailed'; code: 'UPSTREAM_FAILED' | 'UPSTREAM_TIMEOUT' | 'STREAM_INTERRUPTED'; upstream: Upstream; attempts: number; callId: string | null });

/** Dates are text in JSON. */
export function reviveRefusal(refusal: Refusal): Refusal {
  if (refusal.kind === 'IdempotencyConflict') return { ...refusal, firstUsedAt: new Date(refusal.firstUsedAt) };
  if (refusal.kind !== 'BudgetExceeded') return refusal;
  const { budget, resetsAt } = refusal;
  return {
    ...refusal,
    resetsAt: new Date(resetsAt),
    budget: { ...budget, periodStart: new Date(budget.periodStart), resetsAt: new Date(budget.resetsAt) },
  };
}
