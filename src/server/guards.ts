import {
  getNamedType, getNullableType, GraphQLError, isCompositeType, isListType, isObjectType, isInterfaceType, Kind, parse, specifiedRules, validate,
  type ASTVisitor, type DocumentNode, type FieldNode, type FragmentDefinitionNode, type GraphQLCompositeType, type GraphQLSchema, type OperationDefinitionNode,
  type SelectionSetNode, type ValidationContext,
} from 'graphql';
import type { Viewer } from '../services/viewer/viewer.types';

/** Bounds of one operation, the same at both doors. The largest document of `schema/operations` stays below a third of each. */
export const LIMITS = {
  /** Lexer tokens: stops hostile documents before they are parsed, in a few milliseconds. */
  tokens: 2_000,
  /** Characters: long texts belong into variables. */
  queryLength: 128 * 1024,
  depth: 12,
  aliases: 30,
  rootFields: 15,
  /** Values that an answer may hold at most, lists counted as long as they may be. */
  cost: 100_000,
  /** Errors of one document that are told. */
  errors: 5,
} as const;
/** Length that is assumed of a list without page arguments. */
const ASSUMED_LIST = 10;
/** Largest page that any field takes: a larger `first` is refused by the field itself. */
const MAX_PAGE = 1_000;

export const parseOptions = { maxTokens: LIMITS.tokens } as const;

interface Size { depth: number; aliases: number; fields: number; cost: number; introspection: boolean; variablePages: boolean }
const NOTHING: Size = { depth: 0, aliases: 0, fields: 0, cost: 0, introspection: false, variablePages: false };

/** Measures selections with fragments expanded. Each fragment is measured once, so that fragments that multiply each other cost nothing to refuse. */
class Measure {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly measured = new Map<string, Size>();

  constructor(
    private readonly schema: GraphQLSchema,
    document: DocumentNode,
    private readonly variables: Readonly<Record<string, unknown>> | null,
  ) {
    for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) this.fragments.set(node.name.value, node);
  }

  operation(operation: OperationDefinitionNode): Size {
    return this.selections(operation.selectionSet, this.schema.getRootType(operation.operation) ?? null, null);
  }

  private selections(set: SelectionSetNode, parent: GraphQLCompositeType | null, page: number | null): Size {
    const total = { ...NOTHING };
    for (const node of set.selections) {
      if (node.kind === Kind.FIELD) add(total, this.field(node, parent, page));
      else if (node.kind === Kind.INLINE_FRAGMENT) add(total, this.selections(node.selectionSet, node.typeCondition ? this.composite(node.typeCondition.name.value) : parent, page));
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
    const size = fragment ? this.selections(fragment.selectionSet, this.composite(fragment.typeCondition.name.value), page) : NOTHING;
    this.measured.set(key, size);
    return size;
  }

  private field(node: FieldNode, parent: GraphQLCompositeType | null, page: number | null): Size {
    const aliases = node.alias ? 1 : 0;
    // Introspection is bounded by graphql-js' own rule and allowed or refused as a whole.
    if (node.name.value.startsWith('__')) return { ...NOTHING, depth: 1, aliases, fields: 1, cost: 1, introspection: node.name.value !== '__typename' };
    const definition = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[node.name.value] : undefined;
    const pages = definition?.args.some((arg) => arg.name === 'first' || arg.name === 'limit') ? this.pageOf(node, definition.args) : null;
    const type = definition && getNullableType(definition.type);
    const times = isListType(type) ? (pages?.size ?? page ?? ASSUMED_LIST) : 1;
    const named = definition && getNamedType(definition.type);
    const inner = node.selectionSet ? this.selections(node.selectionSet, isCompositeType(named) ? named : null, pages?.size ?? null) : NOTHING;
    return {
      depth: 1 + inner.depth,
      aliases: aliases + inner.aliases,
      fields: 1,
      cost: Math.min(times * (1 + inner.cost), Number.MAX_SAFE_INTEGER),
      introspection: inner.introspection,
      variablePages: inner.variablePages || (pages?.variable ?? false),
    };
  }

  private pageOf(node: FieldNode, args: readonly { name: string; defaultValue?: unknown }[]): { size: number; variable: boolean } {
    const fallback = Number(args.find((arg) => arg.name === 'first' || arg.name === 'limit')?.defaultValue ?? ASSUMED_LIST);
    const value = node.arguments?.find((arg) => arg.name.value === 'first' || arg.name.value === 'limit')?.value;
    const variable = value?.kind === Kind.VARIABLE;
    const given = value?.kind === Kind.INT ? Number(value.value) : variable && this.variables ? this.variables[value.name.value] : undefined;
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
  total.introspection ||= part.introspection;
  total.variablePages ||= part.variablePages;
}

/** Refuses documents that are too deep or too wide. Runs with the rules of the language; the result is cached with the document. */
export function sizeRule(context: ValidationContext): ASTVisitor {
  const measure = new Measure(context.getSchema(), context.getDocument(), null);
  return {
    OperationDefinition(node) {
      const size = measure.operation(node);
      const refuse = (what: string, is: number, limit: number): void => {
        if (is > limit) context.reportError(new GraphQLError(`The operation has ${is} ${what}; at most ${limit} are allowed.`, { nodes: [node] }));
      };
      refuse('levels', size.depth, LIMITS.depth);
      refuse('aliases', size.aliases, LIMITS.aliases);
      refuse('root fields', size.fields, LIMITS.rootFields);
    },
  };
}

export interface OperationCheck {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  variables: Readonly<Record<string, unknown>> | null | undefined;
  viewer: Viewer;
  production: boolean;
}

/** The checks that depend on who asks and with which variables. What does not is remembered per operation; documents are cached by both doors. */
export class OperationGuard {
  private readonly sizes = new WeakMap<OperationDefinitionNode, Size>();

  /** The error that refuses the operation (GRAPHQL_VALIDATION_FAILED), or null. */
  check({ schema, document, operation, variables, viewer, production }: OperationCheck): GraphQLError | null {
    let size = this.sizes.get(operation);
    if (!size) {
      size = new Measure(schema, document, null).operation(operation);
      this.sizes.set(operation, size);
    }
    if (size.introspection && production && viewer.role !== 'OPERATOR') return refusal('Introspection is for operators. The schema is published with the product.', operation);
    const cost = size.variablePages ? new Measure(schema, document, variables ?? {}).operation(operation).cost : size.cost;
    if (cost > LIMITS.cost) return refusal(`The answer could hold ${cost} values; at most ${LIMITS.cost} are allowed. Ask for smaller pages.`, operation);
    return null;
  }
}

const refusal = (message: string, operation: OperationDefinitionNode): GraphQLError =>
  new GraphQLError(message, { nodes: [operation], extensions: { code: 'GRAPHQL_VALIDATION_FAILED', http: { status: 400 } } });

export type Parsed = { document: DocumentNode; errors?: undefined } | { document?: undefined; errors: readonly GraphQLError[] };

/** Parses and validates as Apollo does for the HTTP door, for the WebSocket door that goes past it. Never throws. */
export function parseAndValidate(schema: GraphQLSchema, query: string, hideSuggestions: boolean): Parsed {
  const withCode = (error: GraphQLError, code: string): GraphQLError =>
    new GraphQLError(error.message, { nodes: error.nodes, source: error.source, positions: error.positions, extensions: { code } });
  if (query.length > LIMITS.queryLength) return { errors: [tooLong()] };
  let document: DocumentNode;
  try {
    document = parse(query, parseOptions);
  } catch (error) {
    return { errors: [withCode(error instanceof GraphQLError ? error : new GraphQLError('The document cannot be read.'), 'GRAPHQL_PARSE_FAILED')] };
  }
  try {
    const errors = validate(schema, document, [...specifiedRules, sizeRule], { maxErrors: LIMITS.errors, hideSuggestions });
    return errors.length ? { errors: errors.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED')) } : { document };
  } catch (error) {
    // graphql-js 16 throws where a subscription's root field has `@include(if: $variable)`.
    return { errors: [withCode(error instanceof GraphQLError ? error : new GraphQLError('The document cannot be validated.'), 'GRAPHQL_VALIDATION_FAILED')] };
  }
}

export const tooLong = (): GraphQLError =>
  new GraphQLError(`The document has more than ${LIMITS.queryLength} characters: send long texts as variables.`, { extensions: { code: 'GRAPHQL_PARSE_FAILED', http: { status: 400 } } });
