import type { UpstreamError } from '../upstream/errors';
import type { CatalogModel, CatalogSnapshot, ModelMode } from '../../domain/model';
import { type Plan, allows } from '../../domain/plan';
import type { Upstream } from '../../domain/call';
import type { Refusal } from '../../domain/refusal';

export interface RefusalContext {
  model: CatalogModel;
  /** Of the models that can do the same. */
  mode: ModelMode;
  plan: Plan;
  catalog: CatalogSnapshot;
  upstream: Upstream;
  attempts: number;
  callId: string | null;
}

/** Models of the plan for this kind of call that are served now. */
const modelsOf = (plan: Plan, catalog: CatalogSnapshot, mode: ModelMode): CatalogModel[] =>
  catalog.models.filter((model) => model.mode === mode && allows(plan, model));

/** Models of the plan whose context holds more than so many tokens. */
export const modelsWithRoomFor = (plan: Plan, catalog: CatalogSnapshot, mode: ModelMode, tokens: number): string[] =>
  modelsOf(plan, catalog, mode)
    .filter((m) => m.contextWindow !== null && m.contextWindow > tokens)
    .map((m) => m.id);

/** The public word for what went wrong upstream. The provider's own text stays in the log. */
export function mapRefusal(error: UpstreamError, context: RefusalContext): Refusal {
  const { retryable, retryAfterMs } = error;
  const failed = (
    code: 'UPSTREAM_FAILED' | 'UPSTREAM_TIMEOUT' | 'STREAM_INTERRUPTED',
    message: string,
    again = retryable,
  ): Refusal => ({
    kind: 'UpstreamFailed',
    code,
    message,
    retryable: again,
    retryAfterMs: again ? retryAfterMs : null,
    upstream: context.upstream,
    attempts: context.attempts,
    callId: context.callId,
  });
  switch (error.kind) {
    case 'RATE_LIMITED':
      return {
        kind: 'RateLimited',
        code: 'RATE_LIMITED',
        message:
          error.origin === 'PROVIDER'
            ? 'The provider of this model limits requests right now.'
            : 'The proxy limits requests right now.',
        retryable: true,
        retryAfterMs: retryAfterMs ?? 1_000,
        origin: error.origin,
        dimension: error.dimension,
      };
    case 'CONTEXT_TOO_LONG':
      return contextTooLong(
        null,
        context.model.contextWindow,
        modelsWithRoomFor(context.plan, context.catalog, context.mode, context.model.contextWindow ?? 0),
      );
    case 'CONTENT_BLOCKED':
      return {
        kind: 'ContentBlocked',
        code: 'CONTENT_BLOCKED',
        message: 'The provider blocked this content by its policy.',
        retryable: false,
        retryAfterMs: null,
        category: null,
      };
    case 'MODEL_UNAVAILABLE':
    case 'ACCESS_DENIED':
      return {
        kind: 'ModelUnavailable',
        code: 'MODEL_UNAVAILABLE',
        message: `The model ${context.model.id} cannot be reached right now.`,
        retryable: true,
        retryAfterMs: retryAfterMs ?? 5_000,
        model: context.model.id,
        alternatives: modelsOf(context.plan, context.catalog, context.mode)
          .map((m) => m.id)
          .filter((id) => id !== context.model.id),
      };
    case 'TIMEOUT':
      return failed('UPSTREAM_TIMEOUT', 'The model did not answer in time.', true);
    case 'INTERRUPTED':
      return failed('STREAM_INTERRUPTED', 'The answer broke off.', true);
    case 'ABORTED':
      return failed('STREAM_INTERRUPTED', 'The call was stopped.', true);
    case 'INVALID_REQUEST':
      return failed(
        'UPSTREAM_FAILED',
        'The provider does not take this request: a parameter or a message does not suit the model.',
        false,
      );
    case 'PROXY_BUDGET':
      return failed('UPSTREAM_FAILED', 'A budget of the proxy itself is used up; its operator can raise it.', false);
    case 'KEY_REJECTED':
    case 'FAILED':
      return failed(
        'UPSTREAM_FAILED',
        retryable
          ? 'The provider failed.'
          : 'The upstream refused the call; its operator has to look at the configuration.',
      );
  }
}

export const contextTooLong = (
  countedTokens: number | null,
  allowedTokens: number | null,
  modelsThatFit: string[],
): Refusal => ({
  kind: 'ContextTooLong',
  code: 'CONTEXT_TOO_LONG',
  message: 'The messages are longer than the context of the model.',
  retryable: false,
  retryAfterMs: null,
  countedTokens,
  allowedTokens,
  modelsThatFit,
});
