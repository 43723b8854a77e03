import {
  defaultFieldResolver,
  isAbstractType,
  isObjectType,
  type GraphQLFieldResolver,
  type GraphQLSchema,
} from 'graphql';
import type { RequestContext } from './context';
import { checkArguments } from './check-arguments';

const ROOT_DESCRIPTIONS = {
  Query: 'What can be asked.',
  Mutation: 'What can be done.',
  Subscription: 'What can be listened to, over WebSocket or server-sent events.',
};

/** The type of a member of a union or interface: services say it in `kind`. */
const kindOf = (value: unknown): string | undefined => (value as { kind?: string }).kind;

/** The function of a field, behind the look at its arguments. */
const checked =
  (
    args: Parameters<typeof checkArguments>[0],
    resolve: GraphQLFieldResolver<unknown, unknown>,
  ): GraphQLFieldResolver<unknown, unknown> =>
  (source, values, context, info) => {
    checkArguments(args, values as Record<string, unknown>);
    return resolve(source, values, context, info);
  };

/** Fields of a mutation run one after the other: what one has changed, the next may not take from a loader's memory. */
const forgetful =
  (resolve: GraphQLFieldResolver<unknown, unknown>): GraphQLFieldResolver<unknown, unknown> =>
  (source, values, context, info) => {
    (context as RequestContext).loaders.clear();
    return resolve(source, values, context, info);
  };

/**
 * What type-graphql has no option for, done once on the built schema:
 * - types of unions and interfaces are found without a promise: its own wrapper is asynchronous, which graphql-jit
 * cannot take;
 * - every field with arguments has them looked through (`checkArguments`), so that none can be forgotten;
 * - each field of a mutation begins with empty loaders;
 * - a subscription's event is its field's value: converting the arguments again for each event would be waste;
 * - the root types are described.
 */
export function finishSchema(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isAbstractType(type)) type.resolveType = kindOf;
    if (!isObjectType(type)) continue;
    if (type.name in ROOT_DESCRIPTIONS)
      type.description = ROOT_DESCRIPTIONS[type.name as keyof typeof ROOT_DESCRIPTIONS];
    for (const field of Object.values(type.getFields())) {
      if (type === schema.getSubscriptionType()) {
        field.subscribe = field.subscribe && checked(field.args, field.subscribe);
        field.resolve = (event) => event;
      } else if (field.args.length > 0) {
        field.resolve = checked(field.args, field.resolve ?? defaultFieldResolver);
      }
      if (type === schema.getMutationType()) {
        field.resolve = forgetful(field.resolve ?? defaultFieldResolver);
      }
    }
  }
  return schema;
}
