import { Field, ID, InputType, Int } from 'type-graphql';
import type { ModelPriceEdit, PriceTierEdit } from '../../services/pricing/pricing.types';
import { DateTime, DecimalScalar } from './scalars';

@InputType('PriceTierInput', {
  description: 'Rates for the whole call where the prompt is longer, in dollars per million tokens.',
})
export class PriceTierInputType implements PriceTierEdit {
  @Field(() => Int, {
    description: 'For prompts of more tokens than this. Tiers come in ascending order, each bound once.',
  })
  abovePromptTokens!: number;

  @Field(() => DecimalScalar, { description: 'Prompt tokens that are read anew.' })
  inputPerMillion!: string;

  @Field(() => DecimalScalar, { description: 'Completion tokens.' })
  outputPerMillion!: string;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: "Prompt tokens from the cache; left out: like the tier's input.",
  })
  cacheReadPerMillion?: string | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: "Prompt tokens put into the cache; left out: like the tier's input.",
  })
  cacheWritePerMillion?: string | null;
}

@InputType('ModelPriceInput', {
  description:
    'A price, in dollars per million tokens, at least 0, with at most 9 digits before and 12 after the point. Nothing in the price book is ever changed: a price that was wrong is corrected by another one for the same time.',
})
export class ModelPriceInputType implements ModelPriceEdit {
  @Field(() => ID, { description: 'The model that serves the calls. It need not be known yet.' })
  model!: string;

  @Field(() => DateTime, {
    description: 'In force from this time on: in the past, to correct what calls cost; now; or in the future.',
  })
  effectiveFrom!: Date;

  @Field(() => DateTime, {
    nullable: true,
    description:
      'In force before this time. Left out: until the next record of this model, organisation, source and service tier begins, as the book is now.',
  })
  effectiveTo?: Date | null;

  @Field(() => ID, { nullable: true, description: "An organisation's own price, which goes before the general one." })
  organizationId?: string | null;

  @Field(() => DecimalScalar, { description: 'Prompt tokens that are read anew.' })
  inputPerMillion!: string;

  @Field(() => DecimalScalar, { description: 'Completion tokens.' })
  outputPerMillion!: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'Prompt tokens from the cache; left out: like input.' })
  cacheReadPerMillion?: string | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Prompt tokens put into the cache; left out: like input.',
  })
  cacheWritePerMillion?: string | null;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Prompt tokens put into the cache for an hour; left out: like others that are put there.',
  })
  cacheWriteOneHourPerMillion?: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Reasoning tokens; left out: like output.' })
  reasoningPerMillion?: string | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Dollars for a request as such; left out: none.' })
  perRequest?: string | null;

  @Field(() => String, {
    nullable: true,
    description:
      'Only for calls of this service tier of the provider, as in "priority"; left out: for its usual one, and for tiers that have no price of their own.',
  })
  serviceTier?: string | null;

  @Field(() => [PriceTierInputType], {
    nullable: true,
    description: 'Other rates above a prompt length: at most 20, ascending.',
  })
  tiers?: PriceTierInputType[] | null;

  @Field(() => String, { nullable: true, description: 'Why, for whoever reads the book: at most 1000 characters.' })
  note?: string | null;
}
