import type { GraphQLResolveInfo } from 'graphql';
import { Arg, Ctx, Extensions, FieldResolver, Info, Int, Query, Resolver, Root } from 'type-graphql';
import type { RequestContext } from './context';
import type {
  UsageDimension,
  UsageFigures,
  UsageGroupRow,
  UsageInterval,
  UsageOrder,
} from '../services/usage/usage.types';
import { namesBelow } from './selection';
import { conversationOf, organizationOf, projectOf, userOf } from './loaders';
import { toCost, toTokenUsage } from './map';
import { CallConnection, CallType, CostType, TokenUsageType } from './types/call.type';
import { ConversationType } from './types/conversation.type';
import { UsageDimensionEnum, UsageIntervalEnum, UsageOrderEnum } from './types/enums';
import { toConnection, type ConnectionOf } from './types/node.type';
import { OrganizationType, ProjectType, UserType } from './types/people.type';
import { DateTime } from './types/scalars';
import { UsageFilterInputType } from './types/usage.input';
import { UsageReportType, UsageRowType } from './types/usage.type';
import { checkLimit, checkRange, checkTimeZone } from './validate';
import type { CallRecord } from '../domain/call';
import { checkPage } from '../domain/page';

const FIGURES: readonly (keyof UsageFigures)[] = [
  'calls',
  'failedCalls',
  'promptTokens',
  'cacheReadTokens',
  'cacheWriteTokens',
  'completionTokens',
  'reasoningTokens',
  'totalTokens',
  'cost',
  'unpricedCalls',
  'averageLatencyMs',
  'p50LatencyMs',
  'p95LatencyMs',
  'averageTimeToFirstTokenMs',
  'p95TimeToFirstTokenMs',
];

@Resolver(() => UsageRowType)
export class UsageResolver {
  @Extensions({ report: true })
  @Query(() => UsageReportType, {
    description:
      'What was used and what it cost. Members see themselves; analysts and administrators the organisation, and narrow it with the filter. `from` is inclusive (default: start of the month in `timeZone`), `to` exclusive (default: now). Without `interval` one row per group.',
  })
  usage(
    @Arg('filter', () => UsageFilterInputType, {
      nullable: true,
      description: 'Which calls; left out: all that the caller may see.',
    })
    filter: UsageFilterInputType | null,
    @Arg('groupBy', () => [UsageDimensionEnum], {
      defaultValue: [],
      description: 'One group for each combination that occurs.',
    })
    groupBy: UsageDimension[],
    @Arg('interval', () => UsageIntervalEnum, { nullable: true, description: 'Gives each group as a time series.' })
    interval: UsageInterval | null,
    @Arg('timeZone', () => String, {
      defaultValue: 'UTC',
      description: 'IANA name: where days, weeks and months begin.',
    })
    timeZone: string,
    @Arg('pricesAsOf', () => DateTime, {
      nullable: true,
      description:
        'The figures as they stood at this time: with the prices, corrections and calls that were known then. The future is refused. `to` is then by default this time.',
    })
    pricesAsOf: Date | null | undefined,
    @Arg('orderBy', () => UsageOrderEnum, {
      defaultValue: 'COST_DESC',
      description:
        'Of the groups; with `interval` each group has all its intervals, in time order, also those without calls.',
    })
    orderBy: UsageOrder,
    @Arg('limit', () => Int, { defaultValue: 100, description: 'Groups, 1 to 1000.' }) limit: number,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<UsageReportType> {
    checkRange('filter', filter ?? {});
    checkTimeZone('timeZone', timeZone);
    checkLimit(limit);
    const query = {
      filter: filter ?? {},
      groupBy: [...new Set(groupBy)],
      interval: interval ?? null,
      timeZone,
      orderBy,
      limit,
      pricesAsOf: pricesAsOf ?? null,
    };
    // A summed up figure takes time, percentiles most of it: only those that are shown.
    const shown = namesBelow(info);
    return context.services.usage.report(context.viewer, {
      ...query,
      figures: FIGURES.filter((name) => shown.has(name)),
    });
  }

  @Query(() => CallConnection, { description: 'Single calls, newest first: the rows behind the figures.' })
  async calls(
    @Arg('filter', () => UsageFilterInputType, {
      nullable: true,
      description: 'Which calls; left out: all that the caller may see.',
    })
    filter: UsageFilterInputType | null,
    @Arg('first', () => Int, { defaultValue: 50, description: 'How many, 1 to 100.' }) first: number,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last edge of the page before.' })
    after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ConnectionOf<CallType>> {
    checkRange('filter', filter ?? {});
    return toConnection(await context.services.usage.calls(context.viewer, filter ?? {}, checkPage({ first, after })));
  }

  // A report and a call that the viewer was given may name whose they are: the service has chosen the rows.
  @FieldResolver(() => OrganizationType, { nullable: true, description: 'Dimension ORGANIZATION.' })
  organization(@Root() row: UsageGroupRow, @Ctx() context: RequestContext): Promise<OrganizationType | null> | null {
    return row.organizationId === null ? null : organizationOf(context).load(row.organizationId);
  }

  @FieldResolver(() => UserType, {
    nullable: true,
    description: 'Dimension USER; also null for users that were deleted.',
  })
  user(@Root() row: UsageGroupRow, @Ctx() context: RequestContext): Promise<UserType | null> | null {
    return row.userId === null ? null : userOf(context).load(row.userId);
  }

  @FieldResolver(() => ProjectType, {
    nullable: true,
    description: 'Dimension PROJECT; also null for calls without one.',
  })
  project(@Root() row: UsageGroupRow, @Ctx() context: RequestContext): Promise<ProjectType | null> | null {
    return row.projectId === null ? null : projectOf(context).load(row.projectId);
  }
}

@Resolver(() => CallType)
export class CallResolver {
  @FieldResolver(() => UserType, { nullable: true, description: 'Who called; null where the user was deleted.' })
  user(@Root() call: CallRecord, @Ctx() context: RequestContext): Promise<UserType | null> {
    return userOf(context).load(call.userId);
  }

  @FieldResolver(() => ProjectType, { nullable: true, description: 'The project that it was booked on.' })
  project(@Root() call: CallRecord, @Ctx() context: RequestContext): Promise<ProjectType | null> | null {
    return call.projectId === null ? null : projectOf(context).load(call.projectId);
  }

  @FieldResolver(() => TokenUsageType, { description: 'What it used.' })
  usage(@Root() call: CallRecord): TokenUsageType {
    return toTokenUsage(call.tokens, call.usageSource);
  }

  @FieldResolver(() => CostType, { nullable: true, description: 'What it cost; null: no price known.' })
  cost(@Root() call: CallRecord): CostType | null {
    return toCost(call.cost);
  }

  @FieldResolver(() => ConversationType, {
    nullable: true,
    description: "The conversation that it belongs to, where that is the caller's own; null otherwise.",
  })
  conversation(@Root() call: CallRecord, @Ctx() context: RequestContext): Promise<ConversationType | null> | null {
    // Only an owner sees a conversation: for the others of a list nothing is asked.
    return call.conversationId === null || call.userId !== context.viewer.userId
      ? null
      : conversationOf(context).load(call.conversationId);
  }
}
