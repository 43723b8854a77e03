import { Ctx, Extensions, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql';
import { AppError } from '../errors';
import type { RequestContext } from './context';
import type { Viewer } from '../domain/principal';
import { organizationOf, planOf, userOf } from './loaders';
import { mustExist } from './map';
import { BudgetType } from './types/budget.type';
import { OrganizationType, UserType, ViewerType } from './types/people.type';
import { PlanType } from './types/plan.type';
import { UsageFiguresType } from './types/usage.type';

@Resolver(() => ViewerType)
export class ViewerResolver {
  @Query(() => ViewerType, { description: 'The caller: who, on which plan, with which limits, what is left.' })
  viewer(@Ctx() context: RequestContext): ViewerType {
    return context.viewer;
  }

  @FieldResolver(() => ID, { description: "The user's id, so that a cache keeps one viewer." })
  id(@Root() viewer: Viewer): string {
    return viewer.userId;
  }

  @FieldResolver(() => UserType, { description: 'The user.' })
  async user(@Root() viewer: Viewer, @Ctx() context: RequestContext): Promise<UserType> {
    const user = await userOf(context).load(viewer.userId);
    // Deleted since the credential was checked.
    if (!user) throw new AppError('UNAUTHENTICATED');
    return user;
  }

  @FieldResolver(() => OrganizationType, { description: "The user's organisation." })
  async organization(@Root() viewer: Viewer, @Ctx() context: RequestContext): Promise<OrganizationType> {
    return mustExist(await organizationOf(context).load(viewer.organizationId), 'organisation of the viewer');
  }

  @FieldResolver(() => PlanType, { description: "The user's plan." })
  async plan(@Root() viewer: Viewer, @Ctx() context: RequestContext): Promise<PlanType> {
    return mustExist(await planOf(context).load(viewer.planId), 'plan of the viewer');
  }

  @FieldResolver(() => [BudgetType], {
    description: 'Every budget that applies to the caller: of the organisation, the user and the token used.',
  })
  budgets(@Root() viewer: Viewer, @Ctx() context: RequestContext): Promise<BudgetType[]> {
    return context.services.budgets.list(viewer, {});
  }

  @Extensions({ report: true })
  @FieldResolver(() => UsageFiguresType, { description: "The caller's own calls of today (UTC)." })
  usageToday(@Root() viewer: Viewer, @Ctx() context: RequestContext): Promise<UsageFiguresType> {
    return context.services.usage.today(viewer);
  }
}
