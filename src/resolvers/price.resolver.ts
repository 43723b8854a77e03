import { Arg, Ctx, Extensions, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import { underField } from '../errors';
import type { RequestContext } from './context';
import { organizationOf } from './loaders';
import { mustExist, toModelPrice } from './map';
import { OrganizationType } from './types/people.type';
import { ModelPriceInputType } from './types/price.input';
import { ModelPriceType, PriceChangeType, SetModelPricePayloadType } from './types/price.type';
import { DateTime } from './types/scalars';

/**
 * What resolvers of ModelPrice find: the row of `toModelPrice`. An interface, because the class would be built anew for
 * every row.
 */
interface PriceRow {
  organizationId: string | null;
}
interface ChangeRow {
  organizationId: string;
}

@Resolver(() => ModelPriceType)
export class PriceResolver {
  @Query(() => [ModelPriceType], {
    description: "The price book in force at a time: general prices, and those of the caller's organisation.",
  })
  async prices(
    @Arg('model', () => ID, { nullable: true, description: 'Only of this model.' }) model: string | null,
    @Arg('at', () => DateTime, { nullable: true, description: 'In force at this time; default: now.' }) at: Date | null,
    @Arg('asOf', () => DateTime, {
      nullable: true,
      description:
        'By the book as it stood at this time: without what was recorded later. Default: as it is. The future is refused.',
    })
    asOf: Date | null,
    @Ctx() context: RequestContext,
  ): Promise<ModelPriceType[]> {
    return (await context.services.prices.prices(context.viewer, { model, at, asOf })).map(toModelPrice);
  }

  @Extensions({ report: true })
  @Mutation(() => SetModelPricePayloadType, {
    description:
      'Appends a price record. Figures of the past change with it at once, and can still be asked as of before. `dryRun` only says what would change. Operators.',
  })
  async setModelPrice(
    @Arg('input', () => ModelPriceInputType, { description: 'The price.' }) input: ModelPriceInputType,
    @Arg('dryRun', () => Boolean, { defaultValue: false, description: 'Nothing is recorded.' }) dryRun: boolean,
    @Ctx() context: RequestContext,
  ): Promise<SetModelPricePayloadType> {
    const result = await underField('input', context.services.prices.setModelPrice(context.viewer, input, dryRun));
    return { ...result, price: toModelPrice(result.price) };
  }

  @FieldResolver(() => OrganizationType, {
    nullable: true,
    description: 'The organisation whose own price it is; null: everybody.',
  })
  organization(@Root() price: PriceRow, @Ctx() context: RequestContext): Promise<OrganizationType | null> | null {
    return price.organizationId === null ? null : organizationOf(context).load(price.organizationId);
  }
}

@Resolver(() => PriceChangeType)
export class PriceChangeResolver {
  @FieldResolver(() => OrganizationType, { description: 'Whose calls they are.' })
  async organization(@Root() change: ChangeRow, @Ctx() context: RequestContext): Promise<OrganizationType> {
    return mustExist(
      await organizationOf(context).load(change.organizationId),
      `organisation ${change.organizationId}`,
    );
  }
}
