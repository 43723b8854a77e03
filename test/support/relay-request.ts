import {
  buildSchema,
  getNamedType,
  getNullableType,
  isAbstractType,
  isLeafType,
  isListType,
  isObjectType,
  Kind,
  parse,
  print,
  type ArgumentNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';
import { operation, schemaText } from './operations';

type RelayNode = Record<string, unknown>;
let schema: GraphQLSchema | undefined;

/**
 * What Relay's compiler makes of schema/operations/<name>.graphql (a ConcreteRequest), as far as those documents need
 * it: fragments are put in their places, nothing is masked.
 * The compiler itself is a binary of 20 MB, and what is tested is Relay's runtime.
 */
export function relayRequest(name: string): RelayNode {
  schema ??= buildSchema(schemaText());
  const { definitions } = parse(operation(name));
  const asked = definitions.find(
    (definition): definition is OperationDefinitionNode => definition.kind === Kind.OPERATION_DEFINITION,
  )!;
  const fragments = new Map(
    definitions
      .filter((definition): definition is FragmentDefinitionNode => definition.kind === Kind.FRAGMENT_DEFINITION)
      .map((fragment) => [fragment.name.value, fragment]),
  );
  const root = schema.getRootType(asked.operation)!;
  const compiler = new Compiler(schema, fragments);
  const argumentDefinitions = (asked.variableDefinitions ?? []).map(({ variable, defaultValue }) => ({
    kind: 'LocalArgument',
    name: variable.name.value,
    defaultValue: defaultValue ? literal(defaultValue) : null,
  }));
  const operationName = asked.name!.value;
  const text = print({
    kind: Kind.DOCUMENT,
    definitions: [{ ...asked, selectionSet: compiler.discriminated(asked.selectionSet, root) }],
  });
  return {
    kind: 'Request',
    fragment: {
      kind: 'Fragment',
      name: operationName,
      type: root.name,
      metadata: null,
      abstractKey: null,
      argumentDefinitions,
      selections: compiler.selections(asked.selectionSet, root, false),
    },
    operation: {
      kind: 'Operation',
      name: operationName,
      argumentDefinitions,
      selections: compiler.selections(asked.selectionSet, root, true),
    },
    params: {
      cacheID: operationName,
      id: null,
      metadata: {},
      name: operationName,
      operationKind: asked.operation,
      text,
    },
  };
}

class Compiler {
  constructor(
    private readonly schema: GraphQLSchema,
    private readonly fragments: Map<string, FragmentDefinitionNode>,
  ) {}

  /** `stored`: what goes into the store; else what is read from it. */
  selections({ selections }: SelectionSetNode, parent: GraphQLNamedType, stored: boolean): RelayNode[] {
    return selections.flatMap((selection) => this.selection(selection, parent, stored));
  }

  private selection(selection: SelectionNode, parent: GraphQLNamedType, stored: boolean): RelayNode[] {
    if (selection.kind !== Kind.FIELD) {
      const { type, selectionSet } = this.condition(selection, parent);
      if (type === parent) return this.selections(selectionSet, type, stored);
      const abstractKey = isAbstractType(type) ? `__is${type.name}` : null;
      const inner = this.selections(selectionSet, type, stored);
      return [
        {
          kind: 'InlineFragment',
          type: type.name,
          abstractKey,
          selections: stored && abstractKey ? [{ kind: 'TypeDiscriminator', abstractKey }, ...inner] : inner,
        },
      ];
    }
    const name = selection.name.value;
    const common = {
      alias: selection.alias?.value ?? null,
      args: argumentsOf(selection.arguments),
      name,
      storageKey: null,
    };
    if (name === '__typename') return [{ kind: 'ScalarField', ...common }];
    const field = (parent as GraphQLObjectType).getFields()[name]!;
    const type = getNamedType(field.type);
    if (isLeafType(type)) return [{ kind: 'ScalarField', ...common }];
    return [
      {
        kind: 'LinkedField',
        ...common,
        concreteType: isObjectType(type) ? type.name : null,
        plural: isListType(getNullableType(field.type)),
        selections: this.selections(selection.selectionSet!, type, stored),
      },
    ];
  }

  /**
   * The document with fragments in their places, and with the fields by which Relay knows what is of an abstract type.
   */
  discriminated({ selections }: SelectionSetNode, parent: GraphQLNamedType): SelectionSetNode {
    return {
      kind: Kind.SELECTION_SET,
      selections: selections.map((selection): SelectionNode => {
        if (selection.kind === Kind.FIELD) {
          const type =
            selection.selectionSet &&
            getNamedType((parent as GraphQLObjectType).getFields()[selection.name.value]!.type);
          return type ? { ...selection, selectionSet: this.discriminated(selection.selectionSet!, type) } : selection;
        }
        const { type, selectionSet } = this.condition(selection, parent);
        const inner = this.discriminated(selectionSet, type);
        const key: SelectionNode[] =
          isAbstractType(type) && type !== parent
            ? [
                {
                  kind: Kind.FIELD,
                  alias: { kind: Kind.NAME, value: `__is${type.name}` },
                  name: { kind: Kind.NAME, value: '__typename' },
                },
              ]
            : [];
        return {
          kind: Kind.INLINE_FRAGMENT,
          typeCondition: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: type.name } },
          selectionSet: { ...inner, selections: [...key, ...inner.selections] },
        };
      }),
    };
  }

  private condition(
    selection: Exclude<SelectionNode, { kind: Kind.FIELD }>,
    parent: GraphQLNamedType,
  ): { type: GraphQLNamedType; selectionSet: SelectionSetNode } {
    const { typeCondition, selectionSet } =
      selection.kind === Kind.FRAGMENT_SPREAD ? this.fragments.get(selection.name.value)! : selection;
    return { type: typeCondition ? this.schema.getType(typeCondition.name.value)! : parent, selectionSet };
  }
}

const argumentsOf = (given: readonly ArgumentNode[] | undefined): RelayNode[] | null =>
  given?.length
    ? given.map(({ name, value }) =>
        value.kind === Kind.VARIABLE
          ? { kind: 'Variable', name: name.value, variableName: value.name.value }
          : { kind: 'Literal', name: name.value, value: literal(value) },
      )
    : null;

const literal = (value: ValueNode): unknown =>
  value.kind === Kind.INT || value.kind === Kind.FLOAT ? Number(value.value) : 'value' in value ? value.value : null;
