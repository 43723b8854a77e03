import { Field, ID, InputType } from 'type-graphql';
import type { UsageFilter } from '../../services/usage/usage.types';
import { CallStatusEnum, ScenarioEnum } from './enums';
import { DateTime } from './scalars';
import type { CallStatus, Scenario } from '../../domain/call';

@InputType('UsageFilter', { description: 'Which calls. Fields narrow it together; the values of one list widen it.' })
export class UsageFilterInputType implements UsageFilter {
  @Field(() => DateTime, { nullable: true, description: 'Admitted at this time or later.' })
  from?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Admitted before this time.' })
  to?: Date | null;

  @Field(() => [ID], { nullable: true, description: 'Of these organisations; operators only.' })
  organizationIds?: string[] | null;

  @Field(() => [ID], { nullable: true, description: 'Of these users.' })
  userIds?: string[] | null;

  @Field(() => [ID], { nullable: true, description: 'Booked on these projects.' })
  projectIds?: string[] | null;

  @Field(() => [ID], {
    nullable: true,
    description: 'Calls that asked for one of these models; after a fallback another one may have answered.',
  })
  models?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'Answered by models of these providers.' })
  providers?: string[] | null;

  @Field(() => [ScenarioEnum], { nullable: true, description: 'Of these scenarios.' })
  scenarios?: Scenario[] | null;

  @Field(() => [String], { nullable: true, description: 'Of these agents.' })
  agents?: string[] | null;

  @Field(() => [CallStatusEnum], { nullable: true, description: 'That stand like this.' })
  statuses?: CallStatus[] | null;

  @Field(() => ID, { nullable: true, description: 'Of this conversation.' })
  conversationId?: string | null;

  @Field(() => String, { nullable: true, description: 'With this trace id.' })
  traceId?: string | null;
}
