import { Field, ID, Int, ObjectType } from 'type-graphql';
import type { PriceSource } from '../../services/pricing/pricing.types';
import { PriceSourceEnum } from './enums';
import { DateTime, DecimalScalar, SafeInt } from './scalars';

@ObjectType('PriceTier', {
  simpleResolvers: true,
  description:
    'Rates for the whole call where the prompt is longer, in dollars per million tokens. Cache buckets that are null cost like its own input; other rates stay those of the price.',
})
export class PriceTierType {
  @Field(() => Int, { description: 'For prompts of more tokens than this, up to the next tier.' })
  abovePromptTokens!: number;

  @Field(() => DecimalScalar, { description: 'Prompt tokens that are read anew.' })
  inputPerMillion!: string;

  @Field(() => DecimalScalar, { description: 'Completion tokens.' })
  outputPerMillion!: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'Prompt tokens from the cache.' })
  cacheReadPerMillion!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Prompt tokens put into the cache.' })
  cacheWritePerMillion!: string | null;
}

@ObjectType('ModelPrice', {
  simpleResolvers: true,
  description:
    'Dollars per million tokens. Buckets that a model does not price apart are null and cost like input or output.',
})
export class ModelPriceType {
  @Field(() => ID, { description: 'The model.' })
  model!: string;

  @Field(() => DateTime, { description: 'In force from this time on.' })
  effectiveFrom!: Date;

  @Field(() => DateTime, {
    nullable: true,
    description: 'In force before this time; null: until the next record begins.',
  })
  effectiveTo!: Date | null;

  @Field(() => DateTime, { description: 'When it was written into the price book.' })
  recordedAt!: Date;

  @Field(() => PriceSourceEnum, { description: 'Who says so.' })
  source!: PriceSource;

  @Field(() => DecimalScalar, { description: 'Prompt tokens that are read anew.' })
  inputPerMillion!: string;

  @Field(() => DecimalScalar, { description: 'Completion tokens.' })
  outputPerMillion!: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'Prompt tokens from the cache.' })
  cacheReadPerMillion!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Prompt tokens put into the cache.' })
  cacheWritePerMillion!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Prompt tokens put into the cache for an hour.' })
  cacheWriteOneHourPerMillion!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Reasoning tokens.' })
  reasoningPerMillion!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Dollars for a request as such.' })
  perRequest!: string | null;

  @Field(() => String, { nullable: true, description: "The provider's service tier; null: its usual one." })
  serviceTier!: string | null;

  @Field(() => [PriceTierType], { description: 'Other rates above a prompt length, ascending.' })
  tiers!: PriceTierType[];

  /** For the field `organization`; not in the graph itself. */
  organizationId!: string | null;
}

@ObjectType('PriceChange', {
  simpleResolvers: true,
  description: 'What a price changes for calls of one organisation.',
})
export class PriceChangeType {
  @Field(() => SafeInt, { description: 'Calls whose cost becomes another, or known.' })
  affectedCalls!: number;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'What those calls cost until now; null: none of them had a price.',
  })
  costBefore!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'What they cost with it.' })
  costAfter!: string | null;

  /** For the field `organization`; not in the graph itself. */
  organizationId!: string;
}

@ObjectType('SetModelPricePayload', {
  simpleResolvers: true,
  description:
    'A price, and what it changes in the figures of calls that have been settled. What budgets were charged stays.',
})
export class SetModelPricePayloadType {
  @Field(() => ModelPriceType, { description: 'As it was recorded, or would be.' })
  price!: ModelPriceType;

  @Field(() => Boolean, { description: 'true: nothing was recorded.' })
  dryRun!: boolean;

  @Field(() => SafeInt, { description: 'Calls whose cost becomes another, or known.' })
  affectedCalls!: number;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'What those calls cost until now; null: none of them had a price. "0" where no call is affected.',
  })
  costBefore!: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'What they cost with it.' })
  costAfter!: string | null;

  @Field(() => [PriceChangeType], { description: 'The same by organisation, the largest differences first.' })
  byOrganization!: PriceChangeType[];
}
