import {
  execute,
  getVariableValues,
  GraphQLScalarType,
  Kind,
  visit,
  BREAK,
  type DocumentNode,
  type ExecutionResult,
  type GraphQLError,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type TypeNode,
  type VariableDefinitionNode,
} from 'graphql';
import { compileQuery, isCompiledQuery, type CompiledQuery } from 'graphql-jit';
import { variableErrors } from './format-error';

export interface Operation {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  operationName: string | null;
  variables: Record<string, unknown> | null | undefined;
  contextValue: unknown;
}
export interface OperationResult extends ExecutionResult {
  /** The variables could not be read: nothing was executed. */
  badVariables?: boolean;
}

interface Entry {
  uses: number;
  compiled: CompiledQuery | null;
}

/**
 * Compiled operations: a few hundred kilobytes each at most. More different ones than this is no application but
 * somebody who plays.
 */
const MAX_COMPILED = 500;
/** Compiling costs a millisecond or more: a document that comes once is cheaper without. */
const COMPILE_AT_USE = 2;
const COERCED = new GraphQLScalarType({ name: 'WeirCoerced', parseValue: (value) => value });

/**
 * Executes queries and mutations with graphql-jit where that is safe, else with graphql-js; the results are the same.
 *
 * - Variables are read by graphql-js. graphql-jit's own reading words errors differently and takes arrays for input
 * objects; it only gets
 *   values that are already coerced, declared as a scalar that passes everything.
 * - Literals in arguments are compiled into the text of a program by graphql-jit. A string literal can break out of it
 *   (0.8: `__MAGIC_DATE__…` becomes `new Date(…)` unescaped), so that documents with strings, objects or lists in them
 * are never compiled.
 */
export class OperationRunner {
  /** By the operation's node, which Apollo's cache of documents gives again: a lookup is cheaper than any key. */
  private readonly entries = new WeakMap<OperationDefinitionNode, Entry>();
  /** Oldest first. */
  private readonly compiled = new Set<Entry>();

  constructor(private readonly options: { hideSuggestions: boolean; jit?: boolean }) {}

  run(operation: Operation): Promise<OperationResult> | OperationResult {
    const variables = this.readVariables(operation);
    if (variables.errors) return { errors: variableErrors(variables.errors), badVariables: true };
    const compiled = this.options.jit === false ? null : this.compiledOf(operation);
    if (compiled) {
      const result = compiled.query(undefined, operation.contextValue, variables.coerced) as
        Promise<ExecutionResult> | ExecutionResult;
      return result instanceof Promise ? result.then(oneErrorPerNull) : oneErrorPerNull(result);
    }
    return execute({
      schema: operation.schema,
      document: operation.document,
      contextValue: operation.contextValue,
      variableValues: operation.variables,
      operationName: operation.operationName,
      hideSuggestions: this.options.hideSuggestions,
    });
  }

  private readVariables({ schema, operation, variables }: Operation): {
    errors?: readonly GraphQLError[];
    coerced: Record<string, unknown>;
  } {
    const definitions = operation.variableDefinitions;
    if (!definitions?.length) return { coerced: {} };
    const { errors, coerced } = getVariableValues(schema, definitions, variables ?? {}, {
      maxErrors: 5,
      hideSuggestions: this.options.hideSuggestions,
    });
    return errors ? { errors, coerced: {} } : { coerced };
  }

  private compiledOf(operation: Operation): CompiledQuery | null {
    let entry = this.entries.get(operation.operation);
    if (!entry) this.entries.set(operation.operation, (entry = { uses: 0, compiled: null }));
    entry.uses += 1;
    if (entry.uses === COMPILE_AT_USE && isCompilable(operation)) this.compile(entry, operation);
    return entry.compiled;
  }

  private compile(entry: Entry, operation: Operation): void {
    entry.compiled = compile(operation);
    if (!entry.compiled) return;
    this.compiled.add(entry);
    if (this.compiled.size <= MAX_COMPILED) return;
    const [oldest] = this.compiled;
    this.compiled.delete(oldest!);
    // One that is still in use is compiled again.
    Object.assign(oldest!, { uses: 0, compiled: null });
  }
}

/**
 * Where several fields take the same parent along, the specification and graphql-js tell of the first alone;
 * graphql-jit tells of all.
 */
function oneErrorPerNull(result: ExecutionResult): ExecutionResult {
  if (!result.errors || result.errors.length < 2) return result;
  const told = new Set<string>();
  const errors = result.errors.filter(({ path }) => {
    let place: unknown = result.data;
    let depth = 0;
    for (; depth < (path?.length ?? 0) && place !== null && place !== undefined; depth += 1)
      place = (place as Record<string, unknown>)[path![depth]!];
    const key = JSON.stringify(path?.slice(0, depth));
    return !told.has(key) && told.add(key);
  });
  return { ...result, errors };
}

function compile({ schema, document, operation, operationName }: Operation): CompiledQuery | null {
  // Knows one type more than the schema. graphql-jit asks it for the types of variables by name.
  const extended: GraphQLSchema = Object.create(schema, {
    getType: { value: (name: string) => (name === COERCED.name ? COERCED : schema.getType(name)) },
  });
  const prepared: DocumentNode = {
    ...document,
    definitions: document.definitions.map((node) =>
      node === operation ? { ...operation, variableDefinitions: operation.variableDefinitions?.map(passing) } : node,
    ),
  };
  try {
    const compiled = compileQuery(extended, prepared, operationName ?? undefined);
    return isCompiledQuery(compiled) ? compiled : null;
  } catch {
    return null;
  }
}

/** Booleans stay as declared: graphql-jit checks the types of what `@skip` and `@include` are given. */
function passing(definition: VariableDefinitionNode): VariableDefinitionNode {
  if (namedTypeOf(definition.type) === 'Boolean') return definition;
  return {
    ...definition,
    defaultValue: undefined,
    type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: COERCED.name } },
  };
}
const namedTypeOf = (type: TypeNode): string | null =>
  type.kind === Kind.NAMED_TYPE ? type.name.value : type.kind === Kind.NON_NULL_TYPE ? namedTypeOf(type.type) : null;

const HARMLESS_LITERALS: ReadonlySet<string> = new Set([Kind.VARIABLE, Kind.INT, Kind.BOOLEAN, Kind.ENUM, Kind.NULL]);
const isOdd = (name: string | undefined): boolean =>
  name !== undefined && name.startsWith('__') && name !== '__typename';

function isCompilable({ document, operation }: Operation): boolean {
  if (operation.operation === 'subscription') return false;
  let fits = true;
  const refuse = (): typeof BREAK => {
    fits = false;
    return BREAK;
  };
  visit(document, {
    // `__schema` and `__type` are rare and deep; a response key `__proto__` would set a prototype in the compiled
    // program.
    Field: (node) => (isOdd(node.name.value) || isOdd(node.alias?.value) ? refuse() : undefined),
    Variable: (node) => (isOdd(node.name.value) ? refuse() : undefined),
    Argument: (node) => (HARMLESS_LITERALS.has(node.value.kind) ? undefined : refuse()),
    Directive: (node) => (node.name.value === 'skip' || node.name.value === 'include' ? undefined : refuse()),
  });
  return fits;
}
