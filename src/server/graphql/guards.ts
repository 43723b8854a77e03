import {
  GraphQLError,
  parse,
  specifiedRules,
  validate,
  type DocumentNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { LruMap } from '../../lib/lru-map';
import type { Viewer } from '../../domain/principal';
import { queryShape } from './query-shape';
import { QueryCost, type Size } from './query-cost';

/**
 * Bounds of one operation, the same at both doors. The largest document of `schema/operations` stays below a third of
 * each.
 */
export const LIMITS = {
  /** Lexer tokens: stops hostile documents before they are parsed, in a few milliseconds. */
  tokens: 2_000,
  /** Characters: long texts belong into variables. */
  queryLength: 128 * 1024,
  /** Fields of a document with fragments expanded, each definition for itself. */
  fields: 10_000,
  /** Fields at one place of the answer, which are compared with each other. */
  samePlace: 30,
  fragments: 60,
  depth: 12,
  aliases: 30,
  /** Aliases of one field at one place: each repeats the field's work, or its text in the answer. */
  aliasesOfField: 5,
  rootFields: 15,
  /** Fields that add up calls (`usage`, `usageToday`): each reads as many rows as there are calls. */
  reports: 3,
  /** Values that an answer may hold at most, lists counted as long as they may be. */
  cost: 100_000,
  /** Errors of one document that are told. */
  errors: 5,
} as const;

/** What is remembered of documents, at each door. `length` in characters: longer ones are looked at each time. */
export const CACHE = { documents: 300, length: 16 * 1024 } as const;

export const parseOptions = { maxTokens: LIMITS.tokens } as const;

/**
 * Why the document is too deep or too wide; empty when it is not. Takes a time that is linear in the document, and
 * comes before the rules of the language, of which one (that fields can be merged) is quadratic.
 */
export function sizeErrors(schema: GraphQLSchema, document: DocumentNode): GraphQLError[] {
  const errors: GraphQLError[] = [];
  const refuse = (what: string, is: number, limit: number, node?: OperationDefinitionNode): void => {
    if (is > limit)
      errors.push(
        new GraphQLError(`The ${node ? 'operation' : 'document'} has ${is} ${what}; at most ${limit} are allowed.`, {
          nodes: node,
          extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
        }),
      );
  };
  refuse(
    'fragments',
    document.definitions.filter(({ kind }) => kind === 'FragmentDefinition').length,
    LIMITS.fragments,
  );
  const layout = queryShape(document, LIMITS.fields);
  refuse('fields or more', layout.fields, LIMITS.fields);
  refuse('fields at one place', layout.samePlace, LIMITS.samePlace);
  refuse('aliases of one field', layout.aliasesOfField, LIMITS.aliasesOfField);
  if (errors.length) return errors;
  const measure = new QueryCost(schema, document, null);
  for (const node of document.definitions) {
    if (node.kind !== 'OperationDefinition') continue;
    const size = measure.operation(node);
    refuse('levels', size.depth, LIMITS.depth, node);
    refuse('aliases', size.aliases, LIMITS.aliases, node);
    refuse('root fields', size.fields, LIMITS.rootFields, node);
    refuse('reports (usage, usageToday)', size.reports, LIMITS.reports, node);
  }
  return errors.slice(0, LIMITS.errors);
}

export interface OperationCheck {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  variables: Readonly<Record<string, unknown>> | null | undefined;
  viewer: Viewer;
  production: boolean;
}

/**
 * The checks that depend on who asks and with which variables. What does not is remembered per operation; documents are
 * cached by both doors.
 */
export class OperationGuard {
  private readonly sizes = new WeakMap<OperationDefinitionNode, Size>();

  /** The error that refuses the operation (GRAPHQL_VALIDATION_FAILED), or null. */
  check({ schema, document, operation, variables, viewer, production }: OperationCheck): GraphQLError | null {
    let size = this.sizes.get(operation);
    if (!size) {
      size = new QueryCost(schema, document, null).operation(operation);
      this.sizes.set(operation, size);
    }
    if (size.introspection && production && viewer.role !== 'OPERATOR')
      return refusal('Introspection is for operators. The schema is published with the product.', operation);
    const cost = size.variablePages
      ? new QueryCost(schema, document, variables ?? {}).operation(operation).cost
      : size.cost;
    if (cost > LIMITS.cost)
      return refusal(
        `The answer could hold ${cost} values; at most ${LIMITS.cost} are allowed. Ask for smaller pages.`,
        operation,
      );
    return null;
  }
}

const refusal = (message: string, operation: OperationDefinitionNode): GraphQLError =>
  new GraphQLError(message, {
    nodes: [operation],
    extensions: { code: 'GRAPHQL_VALIDATION_FAILED', http: { status: 400 } },
  });

/** For the HTTP door, where Apollo parses and validates: looks at the size of documents that it has not seen lately. */
export class SizeGuard {
  private readonly fitting = new LruMap<string, true>(CACHE.documents);

  constructor(private readonly schema: GraphQLSchema) {}

  /** The errors that refuse the document, or null; also for one that cannot be parsed, which Apollo words. */
  refuse(query: string): readonly GraphQLError[] | null {
    if (this.fitting.get(query)) return null;
    let document: DocumentNode;
    try {
      document = parse(query, parseOptions);
    } catch {
      return null;
    }
    const errors = sizeErrors(this.schema, document);
    if (errors.length) return errors;
    if (query.length <= CACHE.length) this.fitting.set(query, true);
    return null;
  }
}

export type Parsed =
  { document: DocumentNode; errors?: undefined } | { document?: undefined; errors: readonly GraphQLError[] };

/** Parses and validates as Apollo does for the HTTP door, for the WebSocket door that goes past it. Never throws. */
export function parseAndValidate(schema: GraphQLSchema, query: string, hideSuggestions: boolean): Parsed {
  const withCode = (error: GraphQLError, code: string): GraphQLError =>
    new GraphQLError(error.message, {
      nodes: error.nodes,
      source: error.source,
      positions: error.positions,
      extensions: { code },
    });
  if (query.length > LIMITS.queryLength) return { errors: [tooLong()] };
  let document: DocumentNode;
  try {
    document = parse(query, parseOptions);
  } catch (error) {
    return {
      errors: [
        withCode(
          error instanceof GraphQLError ? error : new GraphQLError('The document cannot be read.'),
          'GRAPHQL_PARSE_FAILED',
        ),
      ],
    };
  }
  try {
    const tooBig = sizeErrors(schema, document);
    if (tooBig.length) return { errors: tooBig };
    const errors = validate(schema, document, specifiedRules, { maxErrors: LIMITS.errors, hideSuggestions });
    return errors.length
      ? { errors: errors.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED')) }
      : { document };
  } catch (error) {
    // graphql-js 16 throws where a subscription's root field has `@include(if: $variable)`.
    return {
      errors: [
        withCode(
          error instanceof GraphQLError ? error : new GraphQLError('The document cannot be validated.'),
          'GRAPHQL_VALIDATION_FAILED',
        ),
      ],
    };
  }
}

export const tooLong = (): GraphQLError =>
  new GraphQLError(`The document has more than ${LIMITS.queryLength} characters: send long texts as variables.`, {
    extensions: { code: 'GRAPHQL_PARSE_FAILED', http: { status: 400 } },
  });
