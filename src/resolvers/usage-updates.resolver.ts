import { Resolver, Root, Subscription } from 'type-graphql';
import type { RequestContext } from './context';
import type { UsageFigures } from '../services/usage/usage.types';
import { UsageFiguresType } from './types/usage.type';

@Resolver()
export class UsageUpdatesResolver {
  @Subscription(() => UsageFiguresType, {
    description:
      "Running totals of today (UTC) of all that the caller's `usage` is of: a member's own, the organisation's for analysts and administrators, everything for operators. The first at once, then one when they have changed, at most one a second.",
    subscribe: ({ context }: { context: RequestContext }) => context.services.usageUpdates.subscribe(context.viewer),
  })
  usageUpdates(@Root() figures: UsageFigures): UsageFiguresType {
    return figures;
  }
}
