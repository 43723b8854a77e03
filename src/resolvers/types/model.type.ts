import { Field, ID, Int, ObjectType } from 'type-graphql';
import type { ListedModel, ModelCapability, ModelMode, ModelSource } from '../../domain/model';
import { ModelCapabilityEnum, ModelModeEnum, ModelSourceEnum, ModelUnavailableReasonEnum } from './enums';
import { DateTime } from './scalars';

@ObjectType('Model', { simpleResolvers: true, description: 'A model as the caller sees it.' })
export class ModelType {
  @Field(() => ID, { description: 'Its public name at the proxy.' })
  id!: string;

  @Field(() => String, { description: 'A name for people.' })
  label!: string;

  @Field(() => String, { nullable: true, description: 'Who makes it run, where that is known.' })
  provider!: string | null;

  @Field(() => ModelModeEnum, { description: 'What it is for.' })
  mode!: ModelMode;

  @Field(() => Int, { nullable: true, description: 'Tokens of prompt and answer together; null: not known.' })
  contextWindow!: number | null;

  @Field(() => Int, { nullable: true, description: 'Tokens that one answer can have; null: not known.' })
  maxOutputTokens!: number | null;

  @Field(() => [ModelCapabilityEnum], { description: 'What it can do beyond text.' })
  capabilities!: ModelCapability[];

  @Field(() => Boolean, { description: 'Whether the caller may use it now.' })
  available!: boolean;

  @Field(() => ModelUnavailableReasonEnum, { nullable: true, description: 'Why not; null where it is available.' })
  unavailableReason!: ListedModel['unavailableReason'];
}

@ObjectType('ModelList', { simpleResolvers: true, description: 'The models of the caller.' })
export class ModelListType {
  @Field(() => [ModelType], { description: 'By id.' })
  items!: ModelType[];

  @Field(() => Boolean, {
    description: 'true when the proxy could not be asked lately and the last known or the safe-mode list is served.',
  })
  stale!: boolean;

  @Field(() => DateTime, { description: 'When the upstream last gave this list.' })
  asOf!: Date;

  @Field(() => ModelSourceEnum, { description: 'Where it comes from.' })
  source!: ModelSource;
}
