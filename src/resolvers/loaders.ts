import DataLoader from 'dataloader';
import type { RequestContext } from './context';
import type { Budget } from '../domain/budget';
import type { Conversation } from '../domain/conversation';
import type { Plan } from '../domain/plan';
import type { UsageFigures } from '../services/usage/usage.types';
import { scopeOf } from '../services/accounts/scope';
import type { ApiTokenRow, OrganizationRow, ProjectRow, UserRef, UserRow, VirtualKeyInfo } from '../domain/principal';
import type { CallRecord } from '../domain/call';

type Batch<V> = (ids: readonly string[]) => Promise<V[]>;

/**
 * The operation's loader of this name: made on first use, kept in its context, so that nothing is remembered from one
 * caller to the next.
 */
function loader<V>(context: RequestContext, name: string, batch: Batch<V>): DataLoader<string, V> {
  let found = context.loaders.get(name) as DataLoader<string, V> | undefined;
  if (!found) context.loaders.set(name, (found = new DataLoader(batch)));
  return found;
}

/** The same for what is asked by the whole row, which says more than its id. */
function ofRows<K extends { id: string }, V>(
  context: RequestContext,
  name: string,
  batch: (rows: readonly K[]) => Promise<V[]>,
): DataLoader<K, V, string> {
  let found = context.loaders.get(name) as DataLoader<K, V, string> | undefined;
  if (!found) context.loaders.set(name, (found = new DataLoader(batch, { cacheKeyFn: ({ id }) => id })));
  return found;
}

/**
 * For what services give one by one: still once per id and operation. One failure is one field's error, not the
 * batch's.
 */
const each =
  <V>(load: (id: string) => Promise<V>): ((ids: readonly string[]) => Promise<V[]>) =>
  async (ids) =>
    (await Promise.allSettled(ids.map(load))).map((result) =>
      result.status === 'fulfilled' ? result.value : result.reason,
    ) as V[];

// Only for ids that stand in a row which the viewer has been shown: they are looked for in its organisation, for
// operators in all of them. Ids from outside go through `visible*`.
export const organizationOf = (context: RequestContext): DataLoader<string, OrganizationRow | null> =>
  loader(context, 'organization', (ids) => context.services.people.organizationsById(ids));

export const userOf = (context: RequestContext): DataLoader<string, UserRow | null> =>
  loader(context, 'user', (ids) => context.services.people.usersById(ids, scopeOf(context.viewer)));

export const projectOf = (context: RequestContext): DataLoader<string, ProjectRow | null> =>
  loader(context, 'project', (ids) => context.services.people.projectsById(ids, scopeOf(context.viewer)));

export const planOf = (context: RequestContext): DataLoader<string, Plan | null> =>
  loader(
    context,
    'plan',
    each((id) => context.services.plans.byId(id)),
  );

export const apiTokensOf = (context: RequestContext): DataLoader<UserRef, ApiTokenRow[], string> =>
  ofRows(context, 'apiTokens', (users) => context.services.people.apiTokensOf(context.viewer, users));

export const virtualKeyOf = (context: RequestContext): DataLoader<UserRef, VirtualKeyInfo | null, string> =>
  ofRows(context, 'virtualKey', (users) => context.services.keys.infoOf(users));

/** Asks as the viewer: null for conversations of others. */
export const conversationOf = (context: RequestContext): DataLoader<string, Conversation | null> =>
  loader(
    context,
    'conversation',
    each((id) => context.services.conversations.get(context.viewer, id)),
  );

/** Asks as the viewer: null for calls that it may not see. */
export const callOf = (context: RequestContext): DataLoader<string, CallRecord | null> =>
  loader(
    context,
    'call',
    each((id) => context.services.usage.call(context.viewer, id)),
  );

/** Only for conversations that the viewer has been shown. */
export const conversationUsageOf = (context: RequestContext): DataLoader<string, UsageFigures> =>
  loader(context, 'conversationUsage', (ids) => context.services.usage.ofConversations(context.viewer, ids));

/** Asks as the viewer: null for budgets that it may not see. */
export const budgetOf = (context: RequestContext): DataLoader<string, Budget | null> =>
  loader(
    context,
    'budget',
    each((id) => context.services.budgets.get(context.viewer, id)),
  );

/** Only for budgets that the viewer has been shown. */
export const spentTodayOf = (context: RequestContext): DataLoader<Budget, string, string> =>
  ofRows(context, 'spentToday', (budgets) => context.services.budgets.spentToday(budgets));

export const plansThatAllow = (context: RequestContext): DataLoader<string, Plan[]> =>
  loader(
    context,
    'plansThatAllow',
    each((id) => context.services.models.plansThatAllow(id)),
  );
