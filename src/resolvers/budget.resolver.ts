import { Arg, Ctx, Extensions, FieldResolver, ID, Mutation, Query, Resolver, Root, Subscription } from 'type-graphql';
import { AppError, underField } from '../errors';
import type { RequestContext } from './context';
import type { Budget, BudgetAlert, BudgetScope } from '../domain/budget';
import { budgetOf, spentTodayOf } from './loaders';
import { BudgetAlertType, BudgetInputType, BudgetType } from './types/budget.type';
import { BudgetScopeEnum } from './types/enums';
import { DeletePayloadType } from './types/people.type';
import { DateTime, DecimalScalar } from './types/scalars';

interface Subscribed {
  args: { after?: Date | null };
  context: RequestContext;
}

@Resolver(() => BudgetType)
export class BudgetResolver {
  @Query(() => [BudgetType], {
    description:
      'Without arguments: every budget that applies to the caller. Members see the budgets of their organisation, its projects, themselves and their tokens; analysts and administrators all of the organisation. The fullest first, at most 1000.',
  })
  budgets(
    @Arg('scope', () => BudgetScopeEnum, { nullable: true, description: 'All of this scope that the caller may see.' })
    scope: BudgetScope | null,
    @Arg('subjectId', () => ID, {
      nullable: true,
      description: 'Of this organisation, project, user or token; none where the caller may not see it.',
    })
    subjectId: string | null,
    @Ctx() context: RequestContext,
  ): Promise<BudgetType[]> {
    return context.services.budgets.list(context.viewer, { scope, subjectId });
  }

  @Mutation(() => BudgetType, {
    description:
      "Makes or replaces a budget. Administrators; those that an operator has set: operators. A plan's are changed with the plan.",
  })
  setBudget(
    @Arg('input', () => BudgetInputType, { description: 'The budget as it shall be.' }) input: BudgetInputType,
    @Ctx() context: RequestContext,
  ): Promise<BudgetType> {
    return underField('input', context.services.budgets.set(context.viewer, input));
  }

  @Mutation(() => DeletePayloadType, {
    description: 'Removes a budget, with its alerts. Who may: as with `setBudget`.',
  })
  async removeBudget(
    @Arg('id', () => ID, { description: 'The budget.' }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<DeletePayloadType> {
    return { deletedId: await context.services.budgets.remove(context.viewer, id) };
  }

  @Subscription(() => BudgetAlertType, {
    description: 'For every budget that the caller may see; `after` catches up on those missed.',
    subscribe: ({ args, context }: Subscribed) => context.services.budgets.alerts(context.viewer, args.after ?? null),
  })
  budgetAlerts(
    @Root() alert: BudgetAlert,
    @Arg('after', () => DateTime, { nullable: true, description: 'The `at` of the last alert that the client has.' })
    _after: Date | null,
  ): BudgetAlertType {
    return alert;
  }

  @Extensions({ report: true })
  @FieldResolver(() => DecimalScalar, { description: "Dollars booked since midnight in the budget's time zone." })
  spentToday(@Root() budget: Budget, @Ctx() context: RequestContext): Promise<string> {
    return spentTodayOf(context).load(budget);
  }
}

@Resolver(() => BudgetAlertType)
export class BudgetAlertResolver {
  @FieldResolver(() => BudgetType, { description: 'The budget, as it is now.' })
  async budget(@Root() alert: BudgetAlert, @Ctx() context: RequestContext): Promise<BudgetType> {
    const budget = await budgetOf(context).load(alert.budgetId);
    // Removed since, and its alerts with it.
    if (!budget) throw new AppError('NOT_FOUND', { public: 'The budget of this alert has been removed.' });
    return budget;
  }
}
