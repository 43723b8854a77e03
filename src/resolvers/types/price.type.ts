import { Field, ID, ObjectType } from 'type-graphql';
import type { PriceSource } from '../../services/pricing/pricing.types';
import { PriceSourceEnum } from './enums';
import { DateTime, DecimalScalar } from './scalars';

@ObjectType('ModelPrice', { simpleResolvers: true, description: 'Dollars per million tokens. Buckets that a model does not price apart are null and cost like input or output.' })
export class ModelPriceType {
  @Field(() => ID, { description: 'The model.' })
  model!: string;

  @Field(() => DateTime, { description: 'In force from this time on.' })
  effectiveFrom!: Date;

  @Field(() => DateTime, { nullable: true, description: 'In force before this time; null: until the next record begins.' })
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

  /** For the field `organization`; not in the graph itself. */
  organizationId!: string | null;
}
