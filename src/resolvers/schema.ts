// First of all: decorators write their metadata through it.
import 'reflect-metadata';
import type { GraphQLSchema } from 'graphql';
import { buildSchemaSync, type PubSub } from 'type-graphql';
import { BudgetAlertResolver, BudgetResolver } from './budget.resolver';
import { ChatStreamResolver } from './chat-stream.resolver';
import { ChatResolver, ModelNotAllowedResolver } from './chat.resolver';
import { ConversationResolver, MessageResolver } from './conversation.resolver';
import { ExportResolver } from './export.resolver';
import { finishSchema } from './finish-schema';
import { ModelResolver } from './model.resolver';
import { NodeResolver } from './node.resolver';
import { PeopleResolver } from './people.resolver';
import { PlanResolver } from './plan.resolver';
import { PriceChangeResolver, PriceResolver } from './price.resolver';
import { ReconciliationResolver } from './reconciliation.resolver';
import { ServiceStatusResolver } from './service-status.resolver';
import { DateTime } from './types/scalars';
import { CallResolver, UsageResolver } from './usage.resolver';
import { UsageUpdatesResolver } from './usage-updates.resolver';
import { ViewerResolver } from './viewer.resolver';

const RESOLVERS = [
  BudgetAlertResolver,
  BudgetResolver,
  CallResolver,
  ChatResolver,
  ChatStreamResolver,
  ConversationResolver,
  MessageResolver,
  ModelNotAllowedResolver,
  ModelResolver,
  NodeResolver,
  ExportResolver,
  PeopleResolver,
  PlanResolver,
  PriceChangeResolver,
  PriceResolver,
  ReconciliationResolver,
  ServiceStatusResolver,
  UsageResolver,
  UsageUpdatesResolver,
  ViewerResolver,
] as const;

/**
 * type-graphql wants one as soon as there is a subscription. Ours bring their own iterators: whoever reaches this has
 * made a mistake.
 */
const noPubSub: PubSub = {
  publish: () => {
    throw new Error('there is no pubSub: a subscription has its own `subscribe`');
  },
  subscribe: () => {
    throw new Error('there is no pubSub: a subscription has its own `subscribe`');
  },
};

/**
 * The executable schema. Resolvers have no state: services, viewer and loaders come with each operation's
 * `RequestContext`.
 */
export function buildGraphSchema(): GraphQLSchema {
  const instances = new Map<unknown, object>(RESOLVERS.map((resolver) => [resolver, new resolver()]));
  const container = {
    get(wanted: unknown): object {
      const instance = instances.get(wanted);
      if (!instance)
        throw new Error(`no instance of ${String((wanted as { name?: string })?.name)}: list it in RESOLVERS`);
      return instance;
    },
  };
  const schema = buildSchemaSync({
    resolvers: RESOLVERS as unknown as [new () => object, ...(new () => object)[]],
    container: container as never,
    pubSub: noPubSub,
    // Inputs are checked by hand, where the error can name the argument.
    validate: false,
    scalarsMap: [{ type: Date, scalar: DateTime }],
  });
  return finishSchema(schema);
}
