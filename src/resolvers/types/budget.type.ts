import { Field, ID, InputType, Int, ObjectType } from 'type-graphql';
import type { BudgetEdit, BudgetPeriod, BudgetScope } from '../../domain/budget';
import { BudgetPeriodEnum, BudgetScopeEnum } from './enums';
import { NodeInterface } from './node.type';
import { DateTime, DecimalScalar } from './scalars';

@ObjectType('Budget', {
  implements: NodeInterface,
  simpleResolvers: true,
  description:
    'What a subject may spend in each period. A call is admitted where the most that it can cost fits into every budget that applies.',
})
export class BudgetType extends NodeInterface {
  @Field(() => BudgetScopeEnum, { description: 'What kind of subject it limits.' })
  scope!: BudgetScope;

  @Field(() => ID, { description: 'The organisation, project, user or token.' })
  subjectId!: string;

  @Field(() => BudgetPeriodEnum, { description: 'How long its amount is for.' })
  period!: BudgetPeriod;

  @Field(() => DecimalScalar, { description: 'Dollars a period.' })
  limit!: string;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars at which there is an alert, and nothing else; null: none.',
  })
  softLimit!: string | null;

  @Field(() => String, { description: 'IANA name: its periods begin at midnight there.' })
  timeZone!: string;

  @Field(() => [Int], { description: 'Percents of the limit at which there is an alert.' })
  alertAtPercent!: number[];

  @Field(() => DecimalScalar, { description: 'Dollars that calls of this period cost, as booked when they ended.' })
  spent!: string;

  @Field(() => DecimalScalar, {
    description: 'Dollars that are kept for calls that run now: the most that they can cost.',
  })
  held!: string;

  @Field(() => DecimalScalar, { description: 'limit - spent - held, at least 0.' })
  remaining!: string;

  @Field(() => DecimalScalar, {
    description:
      'Dollars that were booked above the limit, where a provider produced more than it was allowed. Part of `spent`.',
  })
  overage!: string;

  @Field(() => DateTime, { description: 'When the period of now began.' })
  periodStart!: Date;

  @Field(() => DateTime, { description: 'When the next one begins.' })
  resetsAt!: Date;
}

@ObjectType('BudgetAlert', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'A budget has reached a threshold: once for each budget, period and threshold.',
})
export class BudgetAlertType extends NodeInterface {
  @Field(() => Int, {
    description: 'The threshold, in percent of the limit. A soft limit is one, at its part of the limit.',
  })
  percent!: number;

  @Field(() => DecimalScalar, { description: 'Dollars spent in the period, at that moment.' })
  spent!: string;

  @Field(() => DecimalScalar, { description: 'The limit at that moment.' })
  limit!: string;

  @Field(() => DateTime, {
    description: 'When. Later than that of every alert before: give the last one as `after` to catch up.',
  })
  at!: Date;
}

@InputType('BudgetInput', { description: 'A budget as it shall be, whole: what is left out gets its default.' })
export class BudgetInputType implements BudgetEdit {
  @Field(() => ID, { nullable: true, description: 'Left out: a new budget.' })
  id?: string | null;

  @Field(() => BudgetScopeEnum, { description: 'What kind of subject it limits; of an existing budget: what it is.' })
  scope!: BudgetScope;

  @Field(() => ID, { description: 'The organisation, project, user or token; of an existing budget: what it is.' })
  subjectId!: string;

  @Field(() => BudgetPeriodEnum, {
    description: 'How long its amount is for. Another period begins with what was spent in it already.',
  })
  period!: BudgetPeriod;

  @Field(() => DecimalScalar, {
    description: 'Dollars a period, at least 0; at most 12 digits before and 12 after the point.',
  })
  limit!: string;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Dollars at which there shall be an alert; at most the limit.',
  })
  softLimit?: string | null;

  @Field(() => String, { defaultValue: 'UTC', description: 'IANA name: its periods begin at midnight there.' })
  timeZone!: string;

  @Field(() => [Int], {
    defaultValue: [80, 90],
    description: 'Percents of the limit at which there shall be an alert: at most ten, each once, 1 to 100.',
  })
  alertAtPercent!: number[];
}
