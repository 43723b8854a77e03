import { Field, ID, InterfaceType, ObjectType } from 'type-graphql';
import type { Page } from '../../lib/page';

@InterfaceType('Node', { description: 'An object of ours with an id of its own. `kind` names its type.' })
export abstract class NodeInterface {
  @Field(() => ID, { description: 'Opaque, and unique across all types.' })
  id!: string;
}

@ObjectType('PageInfo', { simpleResolvers: true, description: 'Where a page stands in its list.' })
export class PageInfoType {
  @Field(() => Boolean, { description: 'Whether there is more after this page.' })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: 'Whether there is something before this page.' })
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: 'Cursor of the first edge; null on an empty page.' })
  startCursor!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Cursor of the last edge: give it as `after` for the next page; null on an empty page.',
  })
  endCursor!: string | null;
}

export interface ConnectionOf<T> {
  edges: { node: T; cursor: string }[];
  pageInfo: PageInfoType;
}

/** Relay's shape of a page. */
export const toConnection = <T>(page: Page<T>): ConnectionOf<T> => ({
  edges: page.edges,
  pageInfo: {
    hasNextPage: page.hasNextPage,
    hasPreviousPage: page.hasPreviousPage,
    startCursor: page.edges[0]?.cursor ?? null,
    endCursor: page.edges.at(-1)?.cursor ?? null,
  },
});

/** The two object types of a Relay connection: `<name>Connection` and `<name>Edge`. */
export function connectionOf(
  name: string,
  nodeType: () => new () => object,
  what: string,
): new () => ConnectionOf<unknown> {
  @ObjectType(`${name}Edge`, { simpleResolvers: true, description: `One of the ${what} of a page.` })
  class Edge {
    @Field(nodeType, { description: `The object itself.` })
    node!: unknown;

    @Field(() => String, { description: 'Its place in the list: opaque, stable while others are added.' })
    cursor!: string;
  }
  @ObjectType(`${name}Connection`, { simpleResolvers: true, description: `A page of ${what}.` })
  class Connection implements ConnectionOf<unknown> {
    @Field(() => [Edge], { description: 'In the order of the list.' })
    edges!: Edge[];

    @Field(() => PageInfoType, { description: 'Whether there is more, and where it begins.' })
    pageInfo!: PageInfoType;
  }
  return Connection;
}
