import { Arg, Ctx, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql';
import type { RequestContext } from '../server/context';
import { organizationOf } from './loaders';
import { toModelPrice } from './map';
import { OrganizationType } from './types/people.type';
import { ModelPriceType } from './types/price.type';
import { DateTime } from './types/scalars';

/** What resolvers of ModelPrice find: the row of `toModelPrice`. An interface, because the class would be built anew for every row. */
interface PriceRow { organizationId: string | null }

@Resolver(() => ModelPriceType)
export class PriceResolver {
  @Query(() => [ModelPriceType], { description: "The price book in force at a time: general prices, and those of the caller's organisation." })
  async prices(
    @Arg('model', () => ID, { nullable: true, description: 'Only of this model.' }) model: string | null,
    @Arg('at', () => DateTime, { nullable: true, description: 'In force at this time; default: now.' }) at: Date | null,
    @Ctx() context: RequestContext,
  ): Promise<ModelPriceType[]> {
    return (await context.services.prices.prices(context.viewer, { model, at })).map(toModelPrice);
  }

  @FieldResolver(() => OrganizationType, { nullable: true, description: 'The organisation whose own price it is; null: everybody.' })
  organization(@Root() price: PriceRow, @Ctx() context: RequestContext): Promise<OrganizationType | null> | null {
    return price.organizationId === null ? null : organizationOf(context).load(price.organizationId);
  }
}
