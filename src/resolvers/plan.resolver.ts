import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { badInput, underField } from '../errors';
import type { RequestContext } from './context';
import { PlanInputType, PlanType } from './types/plan.type';
import { checkAtLeastOne, checkName, checkNotNegative } from './validate';

@Resolver()
export class PlanResolver {
  @Query(() => [PlanType], { description: 'All plans, by name.' })
  plans(@Ctx() context: RequestContext): Promise<PlanType[]> {
    return context.services.plans.list();
  }

  @Mutation(() => PlanType, { description: 'Makes or replaces a plan. Operators.' })
  upsertPlan(
    @Arg('input', () => PlanInputType, { description: 'The plan as it shall be.' }) input: PlanInputType,
    @Ctx() context: RequestContext,
  ): Promise<PlanType> {
    checkName('input.name', input.name);
    if (input.models.length > 1000) throw badInput('input.models', 'must have at most 1000 entries');
    input.models.forEach((model, index) => checkName(`input.models[${index}]`, model));
    for (const limit of ['requestsPerMinute', 'tokensPerMinute', 'parallelCalls', 'maxOutputTokens'] as const) {
      checkAtLeastOne(`input.limits.${limit}`, input.limits?.[limit]);
    }
    checkNotNegative('input.limits.monthlyBudget', input.limits?.monthlyBudget);
    return underField('input', context.services.plans.upsert(context.viewer, input));
  }
}
