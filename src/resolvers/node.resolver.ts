import { Arg, Ctx, ID, Query, Resolver } from 'type-graphql';
import { kindOfId, type IdKind } from '../lib/ids';
import type { RequestContext } from './context';
import { budgetOf, callOf, conversationOf, planOf } from './loaders';
import { NodeInterface } from './types/node.type';

type Find = (context: RequestContext, id: string) => Promise<NodeInterface | null>;

/**
 * Per kind of id: the type's name and who finds it. Every one of them asks as the viewer. A stream is no object of the
 * graph.
 */
const FINDERS: { [K in Exclude<IdKind, 'stream'>]: { kind: string; find: Find } } = {
  organization: {
    kind: 'Organization',
    find: ({ services, viewer }, id) => services.people.visibleOrganization(viewer, id),
  },
  user: { kind: 'User', find: ({ services, viewer }, id) => services.people.visibleUser(viewer, id) },
  project: { kind: 'Project', find: ({ services, viewer }, id) => services.people.visibleProject(viewer, id) },
  apiToken: { kind: 'ApiToken', find: ({ services, viewer }, id) => services.people.visibleApiToken(viewer, id) },
  plan: { kind: 'Plan', find: (context, id) => planOf(context).load(id) },
  conversation: { kind: 'Conversation', find: (context, id) => conversationOf(context).load(id) },
  message: { kind: 'Message', find: ({ services, viewer }, id) => services.conversations.message(viewer, id) },
  budget: { kind: 'Budget', find: (context, id) => budgetOf(context).load(id) },
  budgetAlert: { kind: 'BudgetAlert', find: ({ services, viewer }, id) => services.budgets.alert(viewer, id) },
  call: { kind: 'Call', find: (context, id) => callOf(context).load(id) },
};

@Resolver()
export class NodeResolver {
  @Query(() => NodeInterface, {
    nullable: true,
    description:
      'Any object of ours by id; one that the caller may not see answers like one that does not exist: null.',
  })
  async node(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<(NodeInterface & { kind: string }) | null> {
    const kind = kindOfId(id);
    if (kind === null || kind === 'stream') return null;
    const finder = FINDERS[kind];
    const found = await finder.find(context, id);
    return found && { ...found, kind: finder.kind };
  }
}
