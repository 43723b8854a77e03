import { Arg, Ctx, Extensions, FieldResolver, Int, Query, Resolver, Root } from 'type-graphql';
import type { RequestContext } from './context';
import type { Difference } from '../services/reconciliation/reconciliation.types';
import { callOf } from './loaders';
import { CallType } from './types/call.type';
import { toConnection } from './types/node.type';
import { ReconciliationConnection, ReconciliationDifferenceType } from './types/reconciliation.type';
import { DateTime } from './types/scalars';
import { checkPage } from '../domain/page';

@Resolver(() => ReconciliationDifferenceType)
export class ReconciliationResolver {
  @Extensions({ report: true })
  @Query(() => ReconciliationConnection, {
    description:
      "Where our figures and the proxy's records differ, of calls made in the span (at most 31 days). Analysts and administrators: their organisation's calls; operators: all, and what was made past this service. It writes nothing, and compares 10,000 calls at most, or what takes eight seconds: `comparedUpTo` says how far it came.",
  })
  async reconciliation(
    @Arg('from', () => DateTime, { description: 'Inclusive.' }) from: Date,
    @Arg('to', () => DateTime, { description: 'Exclusive. What ended within the last minute is not compared yet.' })
    to: Date,
    @Arg('first', () => Int, { defaultValue: 50, description: 'How many, 1 to 100.' }) first: number,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last edge of the page before.' })
    after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ReconciliationConnection> {
    const page = await context.services.reconciliation.compare(context.viewer, {
      from,
      to,
      ...checkPage({ first, after }),
    });
    return { ...toConnection(page), summary: page.summary } as ReconciliationConnection;
  }

  // Asked as the viewer: an operator may see it, and whoever sees the difference is in charge of its organisation.
  @FieldResolver(() => CallType, { nullable: true, description: 'Ours; null where there is none.' })
  call(@Root() difference: Difference, @Ctx() context: RequestContext): Promise<CallType | null> | null {
    return difference.callId === null ? null : callOf(context).load(difference.callId);
  }
}
