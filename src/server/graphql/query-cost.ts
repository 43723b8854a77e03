import {
  getNamedType,
  getNullableType,
  isCompositeType,
  isListType,
  isObjectType,
  isInterfaceType,
  Kind,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';

/** Length that is assumed of a list without page arguments. */
const ASSUMED_LIST = 10;
/** Largest page that any field takes: a larger `first` is refused by the field itself. */
const MAX_PAGE = 1_000;

export interface Size {
  depth: number;
  aliases: number;
  fields: number;
  cost: number;
  reports: number;
  introspection: boolean;
  variablePages: boolean;
}
const NOTHING: Size = {
  depth: 0,
  aliases: 0,
  fields: 0,
  cost: 0,
  reports: 0,
  introspection: false,
  variablePages: false,
};

/**
 * Measures selections with fragments expanded. Each fragment is measured once, so that fragments that multiply each
 * other cost nothing to refuse.
 */
export class QueryCost {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly measured = new Map<string, Size>();

  constructor(
    private readonly schema: GraphQLSchema,
    document: DocumentNode,
    private readonly variables: Readonly<Record<string, unknown>> | null,
  ) {
    for (const node of document.definitions)
      if (node.kind === Kind.FRAGMENT_DEFINITION) this.fragments.set(node.name.value, node);
  }

  operation(operation: OperationDefinitionNode): Size {
    return this.selections(operation.selectionSet, this.schema.getRootType(operation.operation) ?? null, null);
  }

  private selections(set: SelectionSetNode, parent: GraphQLCompositeType | null, page: number | null): Size {
    const total = { ...NOTHING };
    for (const node of set.selections) {
      if (node.kind === Kind.FIELD) add(total, this.field(node, parent, page));
      else if (node.kind === Kind.INLINE_FRAGMENT)
        add(
          total,
          this.selections(
            node.selectionSet,
            node.typeCondition ? this.composite(node.typeCondition.name.value) : parent,
            page,
          ),
        );
      else add(total, this.fragment(node.name.value, page));
    }
    return total;
  }

  private fragment(name: string, page: number | null): Size {
    // A connection's `edges` may stand in a fragment, so that its size depends on the page that it is used with.
    const key = `${name}:${page}`;
    const known = this.measured.get(key);
    if (known) return known;
    const fragment = this.fragments.get(name);
    // Set first: a circle, which is refused by another rule, ends here.
    this.measured.set(key, NOTHING);
    const size = fragment
      ? this.selections(fragment.selectionSet, this.composite(fragment.typeCondition.name.value), page)
      : NOTHING;
    this.measured.set(key, size);
    return size;
  }

  private field(node: FieldNode, parent: GraphQLCompositeType | null, page: number | null): Size {
    const aliases = node.alias ? 1 : 0;
    // Introspection is bounded by graphql-js' own rule and allowed or refused as a whole.
    if (node.name.value.startsWith('__'))
      return { ...NOTHING, depth: 1, aliases, fields: 1, cost: 1, introspection: node.name.value !== '__typename' };
    const definition =
      isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[node.name.value] : undefined;
    const pages = definition?.args.some((arg) => arg.name === 'first' || arg.name === 'limit')
      ? this.pageOf(node, definition.args)
      : null;
    const type = definition && getNullableType(definition.type);
    const times = isListType(type) ? (pages?.size ?? page ?? ASSUMED_LIST) : 1;
    const named = definition && getNamedType(definition.type);
    const inner = node.selectionSet
      ? this.selections(node.selectionSet, isCompositeType(named) ? named : null, pages?.size ?? null)
      : NOTHING;
    return {
      depth: 1 + inner.depth,
      aliases: aliases + inner.aliases,
      fields: 1,
      cost: Math.min(times * (1 + inner.cost), Number.MAX_SAFE_INTEGER),
      reports: inner.reports + (definition?.extensions.report === true ? 1 : 0),
      introspection: inner.introspection,
      variablePages: inner.variablePages || (pages?.variable ?? false),
    };
  }

  private pageOf(
    node: FieldNode,
    args: readonly { name: string; defaultValue?: unknown }[],
  ): { size: number; variable: boolean } {
    const fallback = Number(
      args.find((arg) => arg.name === 'first' || arg.name === 'limit')?.defaultValue ?? ASSUMED_LIST,
    );
    const value = node.arguments?.find((arg) => arg.name.value === 'first' || arg.name.value === 'limit')?.value;
    const variable = value?.kind === Kind.VARIABLE;
    const given =
      value?.kind === Kind.INT
        ? Number(value.value)
        : variable && this.variables
          ? this.variables[value.name.value]
          : undefined;
    return { size: typeof given === 'number' ? Math.min(Math.max(given, 1), MAX_PAGE) : fallback, variable };
  }

  private composite(name: string): GraphQLCompositeType | null {
    const type = this.schema.getType(name);
    return isCompositeType(type) ? type : null;
  }
}

function add(total: Size, part: Size): void {
  total.depth = Math.max(total.depth, part.depth);
  total.aliases += part.aliases;
  total.fields += part.fields;
  total.cost += part.cost;
  total.reports += part.reports;
  total.introspection ||= part.introspection;
  total.variablePages ||= part.variablePages;
}
