import { Field, ID, InputType, Int, ObjectType } from 'type-graphql';
import { NodeInterface } from './node.type';
import { DecimalScalar } from './scalars';

@ObjectType('PlanLimits', { simpleResolvers: true, description: 'Limits of each user of a plan. null: unlimited.' })
export class PlanLimitsType {
  @Field(() => Int, { nullable: true, description: 'Calls per minute.' })
  requestsPerMinute!: number | null;

  @Field(() => Int, { nullable: true, description: 'Tokens per minute.' })
  tokensPerMinute!: number | null;

  @Field(() => Int, { nullable: true, description: 'Calls at the same time.' })
  parallelCalls!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Tokens that one answer may have; also what a call that gives no `maxTokens` gets.',
  })
  maxOutputTokens!: number | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars a calendar month (UTC): a budget of each of its users.',
  })
  monthlyBudget!: string | null;
}

@ObjectType('Plan', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'What its users may use. A plan names models by exact id or by `provider/*` patterns.',
})
export class PlanType extends NodeInterface {
  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => [String], { description: 'Exact model ids and `provider/*` patterns.' })
  models!: string[];

  @Field(() => ID, {
    nullable: true,
    description: 'The model of a call that names none, where the configuration names none either.',
  })
  defaultModel!: string | null;

  @Field(() => PlanLimitsType, { description: 'Limits of each of its users.' })
  limits!: PlanLimitsType;
}

@InputType('PlanLimitsInput', {
  description: 'Limits of each user of a plan. null: unlimited; left out: stays as it was, for a new plan unlimited.',
})
export class PlanLimitsInputType {
  @Field(() => Int, { nullable: true, description: 'Calls per minute, at least 1.' })
  requestsPerMinute?: number | null;

  @Field(() => Int, { nullable: true, description: 'Tokens per minute, at least 1.' })
  tokensPerMinute?: number | null;

  @Field(() => Int, { nullable: true, description: 'Calls at the same time, at least 1.' })
  parallelCalls?: number | null;

  @Field(() => Int, { nullable: true, description: 'Tokens that one answer may have, at least 1.' })
  maxOutputTokens?: number | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars a calendar month (UTC), at least 0: a budget of each of its users.',
  })
  monthlyBudget?: string | null;
}

@InputType('PlanInput', {
  description: 'A plan as it shall be. Of an existing plan, what is left out stays as it was, and null clears it.',
})
export class PlanInputType {
  @Field(() => ID, { nullable: true, description: 'Left out: a new plan.' })
  id?: string | null;

  @Field(() => String, { description: 'Its name, used by no other plan; at most 100 characters.' })
  name!: string;

  @Field(() => [String], { description: 'Exact model ids and `provider/*` patterns.' })
  models!: string[];

  @Field(() => ID, { nullable: true, description: 'The model of a call that names none.' })
  defaultModel?: string | null;

  @Field(() => PlanLimitsInputType, {
    nullable: true,
    description: 'Limits of each of its users; left out: as they were, for a new plan none; null: none.',
  })
  limits?: PlanLimitsInputType | null;
}
