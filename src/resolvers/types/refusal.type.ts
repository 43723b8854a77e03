import { Field, ID, Int, InterfaceType, ObjectType } from 'type-graphql';
import { BudgetType } from './budget.type';
import { LimitDimensionEnum, LimitOriginEnum, RefusalCodeEnum, UpstreamEnum } from './enums';
import { DateTime, DecimalScalar } from './scalars';
import type { Refusal } from '../../domain/refusal';
import type { Upstream } from '../../domain/call';

type RateLimit = Extract<Refusal, { kind: 'RateLimited' }>;

@InterfaceType('Refusal', { description: 'An expected refusal, with what helps.' })
export abstract class RefusalInterface {
  @Field(() => RefusalCodeEnum, { description: 'Which one.' })
  code!: Refusal['code'];

  @Field(() => String, { description: 'For people; programs read `code` and the fields of the type.' })
  message!: string;

  @Field(() => Boolean, { description: 'Whether the same call may succeed later.' })
  retryable!: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'Milliseconds after which to try again; null: not known, or no use.',
  })
  retryAfterMs!: number | null;
}

@ObjectType('ModelNotAllowed', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: 'The plan does not name the model. Also for a model that does not exist: then plansThatAllow is empty.',
})
export class ModelNotAllowedType extends RefusalInterface {
  @Field(() => ID, { description: 'What was asked for.' })
  model!: string;

  @Field(() => [ID], { description: 'What the caller may use instead.' })
  allowedModels!: string[];
}

@ObjectType('ModelUnpriced', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: 'A budget applies and the model has no price: unknown is not free.',
})
export class ModelUnpricedType extends RefusalInterface {
  @Field(() => ID, { description: 'What was asked for.' })
  model!: string;
}

@ObjectType('ModelUnavailable', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: 'Cooling down, no healthy deployment, proxy away.',
})
export class ModelUnavailableType extends RefusalInterface {
  @Field(() => ID, { description: 'What was asked for.' })
  model!: string;

  @Field(() => [ID], { description: 'Other models of the plan that can be tried.' })
  alternatives!: string[];
}

@ObjectType('BudgetExceeded', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description:
    'The worst case of the call does not fit. Of several budgets the first that it does not fit, in the order organisation, project, user, token.',
})
export class BudgetExceededType extends RefusalInterface {
  @Field(() => BudgetType, { description: 'The budget, as it was in that moment.' })
  budget!: BudgetType;

  @Field(() => DecimalScalar, { description: 'Dollars: the most that the call can cost.' })
  needed!: string;

  @Field(() => DateTime, { description: "When the budget's next period begins." })
  resetsAt!: Date;

  @Field(() => Int, { nullable: true, description: 'The largest `maxTokens` that would fit now; null: none.' })
  maxTokensThatFit!: number | null;

  @Field(() => [ID], { description: 'Models of the plan with which the same call would fit now.' })
  modelsThatFit!: string[];
}

@ObjectType('RateLimited', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: 'Too many requests, tokens or parallel calls.',
})
export class RateLimitedType extends RefusalInterface {
  @Field(() => LimitOriginEnum, { description: 'Whose limit it is.' })
  origin!: RateLimit['origin'];

  @Field(() => LimitDimensionEnum, { description: 'What there was too much of.' })
  dimension!: RateLimit['dimension'];
}

@ObjectType('ContextTooLong', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: "The messages are longer than the model's context.",
})
export class ContextTooLongType extends RefusalInterface {
  @Field(() => Int, { nullable: true, description: 'Tokens of the messages, where they were counted.' })
  countedTokens!: number | null;

  @Field(() => Int, { nullable: true, description: 'Tokens that fit, where that is known.' })
  allowedTokens!: number | null;

  @Field(() => [ID], { description: 'Models of the plan whose context is long enough.' })
  modelsThatFit!: string[];
}

@ObjectType('ContentBlocked', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: "The provider's filter refused the messages.",
})
export class ContentBlockedType extends RefusalInterface {
  @Field(() => String, { nullable: true, description: 'What it objected to, where the provider says that.' })
  category!: string | null;
}

@ObjectType('UpstreamFailed', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description:
    "`code` is UPSTREAM_FAILED, UPSTREAM_TIMEOUT or STREAM_INTERRUPTED; the provider's own text is for operators, not here.",
})
export class UpstreamFailedType extends RefusalInterface {
  @Field(() => UpstreamEnum, { description: 'What failed.' })
  upstream!: Upstream;

  @Field(() => Int, { description: 'How many deployments were tried.' })
  attempts!: number;

  @Field(() => ID, { nullable: true, description: 'The call, for operators to look up; null where none was admitted.' })
  callId!: string | null;
}

@ObjectType('IdempotencyConflict', {
  implements: RefusalInterface,
  simpleResolvers: true,
  description: 'The idempotency key was used with other input.',
})
export class IdempotencyConflictType extends RefusalInterface {
  @Field(() => DateTime, { description: 'When it was first used.' })
  firstUsedAt!: Date;
}

export const REFUSAL_TYPES = [
  ModelNotAllowedType,
  ModelUnpricedType,
  ModelUnavailableType,
  BudgetExceededType,
  RateLimitedType,
  ContextTooLongType,
  ContentBlockedType,
  UpstreamFailedType,
  IdempotencyConflictType,
] as const;
