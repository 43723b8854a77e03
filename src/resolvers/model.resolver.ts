import { Arg, Ctx, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql';
import type { RequestContext } from './context';
import type { ListedModel } from '../domain/model';
import { plansThatAllow } from './loaders';
import { toModelPrice } from './map';
import { ModelListType, ModelType } from './types/model.type';
import { PlanType } from './types/plan.type';
import { ModelPriceType } from './types/price.type';

@Resolver(() => ModelType)
export class ModelResolver {
  @Query(() => ModelListType, { description: 'What this caller may use now.' })
  models(
    @Arg('includeUnavailable', () => Boolean, {
      defaultValue: false,
      description: 'Adds the rest with the reason and the plans that allow it.',
    })
    includeUnavailable: boolean,
    @Ctx() context: RequestContext,
  ): Promise<ModelListType> {
    return context.services.models.list(context.viewer, includeUnavailable);
  }

  @Query(() => ModelType, {
    nullable: true,
    description: 'One model, available or not; null where there is none of this id.',
  })
  model(
    @Arg('id', () => ID, { description: 'Its public name at the proxy.' }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<ModelType | null> {
    return context.services.models.get(context.viewer, id);
  }

  @FieldResolver(() => ModelPriceType, {
    nullable: true,
    description: "What the caller's organisation pays now; null: no price known.",
  })
  price(@Root() model: ListedModel, @Ctx() context: RequestContext): ModelPriceType | null {
    const record = context.services.prices.current(model.id, context.viewer.organizationId);
    return record && toModelPrice(record);
  }

  @FieldResolver(() => [PlanType], { description: 'The plans whose users may use it.' })
  availableOnPlans(@Root() model: ListedModel, @Ctx() context: RequestContext): Promise<PlanType[]> {
    return plansThatAllow(context).load(model.id);
  }
}
