import type { Budget } from './budget';
import type { Upstream } from './call';

interface RefusalBase {
  message: string;
  retryable: boolean;
  retryAfterMs: number | null;
}
/** Expected refusals, with what helps. `kind` names it, also where it is stored. */
export type Refusal =
  | (RefusalBase & {
      kind: 'ModelNotAllowed';
      code: 'MODEL_NOT_ALLOWED';
      model: string;
      allowedModels: string[];
      plansThatAllow: string[]; /* plan ids */
    })
  | (RefusalBase & { kind: 'ModelUnavailable'; code: 'MODEL_UNAVAILABLE'; model: string; alternatives: string[] })
  | (RefusalBase & { kind: 'ModelUnpriced'; code: 'MODEL_UNPRICED'; model: string })
  | (RefusalBase & {
      kind: 'BudgetExceeded';
      code: 'BUDGET_EXCEEDED';
      budget: Budget;
      needed: string;
      resetsAt: Date;
      maxTokensThatFit: number | null;
      modelsThatFit: string[];
    })
  | (RefusalBase & { kind: 'IdempotencyConflict'; code: 'IDEMPOTENCY_CONFLICT'; firstUsedAt: Date })
  | (RefusalBase & {
      kind: 'RateLimited';
      code: 'RATE_LIMITED';
      origin: 'PLAN' | 'PROXY' | 'PROVIDER';
      dimension: 'REQUESTS' | 'TOKENS' | 'PARALLEL_CALLS' | 'UNKNOWN';
    })
  | (RefusalBase & {
      kind: 'ContextTooLong';
      code: 'CONTEXT_TOO_LONG';
      countedTokens: number | null;
      allowedTokens: number | null;
      modelsThatFit: string[];
    })
  | (RefusalBase & { kind: 'ContentBlocked'; code: 'CONTENT_BLOCKED'; category: string | null })
  | (RefusalBase & {
      kind: 'UpstreamFailed';
      code: 'UPSTREAM_FAILED' | 'UPSTREAM_TIMEOUT' | 'STREAM_INTERRUPTED';
      upstream: Upstream;
      attempts: number;
      callId: string | null;
    });

/** What each refusal means, for all doors; docs/errors.md is made from it. The type makes the compiler ask for a line when a code is added. */
export const REFUSAL_TABLE: Record<Refusal['code'], { type: Refusal['kind']; when: string; remedy: string }> = {
  MODEL_NOT_ALLOWED: {
    type: 'ModelNotAllowed',
    when: "The caller's plan does not name the model, or there is no such model (then `plansThatAllow` is empty).",
    remedy: 'Use one of `allowedModels`, or ask for one of `plansThatAllow`.',
  },
  MODEL_UNPRICED: {
    type: 'ModelUnpriced',
    when: 'A budget applies, and no price is known for the model: unknown is not free.',
    remedy: 'Use a model that has a price; operators add prices.',
  },
  MODEL_UNAVAILABLE: {
    type: 'ModelUnavailable',
    when: 'The model is cooling down, has no healthy deployment, or the proxy is away.',
    remedy: 'Use one of `alternatives`, or repeat after `retryAfterMs`.',
  },
  BUDGET_EXCEEDED: {
    type: 'BudgetExceeded',
    when: 'The most that the call can cost does not fit a budget: its limit less what is spent and what running calls hold. Nothing was spent.',
    remedy: 'Ask for at most `maxTokensThatFit`, use one of `modelsThatFit`, or wait until `resetsAt`.',
  },
  RATE_LIMITED: {
    type: 'RateLimited',
    when: 'A limit was reached; `origin` says whose, `dimension` of what.',
    remedy: 'Repeat after `retryAfterMs`.',
  },
  CONTEXT_TOO_LONG: {
    type: 'ContextTooLong',
    when: 'The messages do not fit into the context of the model.',
    remedy: 'Send less, or use one of `modelsThatFit`.',
  },
  CONTENT_BLOCKED: {
    type: 'ContentBlocked',
    when: "The provider's or the proxy's content policy refused the input or the answer.",
    remedy: 'Change the messages.',
  },
  UPSTREAM_FAILED: {
    type: 'UpstreamFailed',
    when: 'The provider or the proxy failed. What it said is for operators, in the log under the call id.',
    remedy: 'Repeat where `retryable`; else tell the operator `callId`.',
  },
  UPSTREAM_TIMEOUT: {
    type: 'UpstreamFailed',
    when: 'The provider or the proxy took longer than a deadline allows.',
    remedy: 'Repeat; ask for fewer tokens.',
  },
  STREAM_INTERRUPTED: {
    type: 'UpstreamFailed',
    when: 'The stream broke in the middle. What came before is kept in `partial`.',
    remedy: 'Continue from what came, or repeat.',
  },
  IDEMPOTENCY_CONFLICT: {
    type: 'IdempotencyConflict',
    when: 'The idempotency key was used with other input less than 24 hours ago.',
    remedy: 'Use another key for another question.',
  },
};

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
