import {
  getNamedType,
  getNullableType,
  isAbstractType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type DocumentNode,
  type ExecutionResult,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLLeafType,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { collectFields, collectSubfields } from 'graphql/execution/collectFields';

/**
 * The types of events that come per token. Their fields are plain properties of the domain event (a test compares with
 * graphql-js on the real schema).
 */
export const HOT_EVENTS: ReadonlySet<string> = new Set(['TextDelta', 'ReasoningDelta', 'ToolCallDelta']);

interface Leaf {
  key: string;
  /** null: __typename */ name: string | null;
  type: GraphQLLeafType | null;
  nonNull: boolean;
}

export interface Projection {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  /** Coerced. */
  variables: Record<string, unknown>;
}

/**
 * Answers an event of a hot type directly where the operation selects nothing of it but scalar fields: half the cost of
 * graphql-js per token, and the same result to the byte. null: graphql-js has to do it, for instance because a value is
 * missing and somebody has to word the error.
 */
export class EventProjector {
  private readonly root: { key: string; nodes: readonly FieldNode[]; possible: ReadonlySet<string> } | null;
  private readonly fragments: Record<string, FragmentDefinitionNode> = Object.create(null);
  /** By type; null: not by us. */
  private readonly plans = new Map<string, Leaf[] | null>();

  constructor(private readonly projection: Projection) {
    const { schema, document, operation, variables } = projection;
    for (const node of document.definitions)
      if (node.kind === Kind.FRAGMENT_DEFINITION) this.fragments[node.name.value] = node;
    const type = schema.getSubscriptionType();
    const fields = type ? [...collectFields(schema, this.fragments, variables, type, operation.selectionSet)] : [];
    const [key, nodes] = fields[0] ?? [];
    const definition = nodes && type?.getFields()[nodes[0]!.name.value];
    const returned = definition && getNullableType(definition.type);
    // `data.__proto__` would set a prototype; graphql-js has objects without one.
    this.root =
      fields.length === 1 &&
      key !== undefined &&
      key !== '__proto__' &&
      nodes &&
      returned &&
      !isListType(returned) &&
      isAbstractType(returned)
        ? { key, nodes, possible: new Set(schema.getPossibleTypes(returned).map(({ name }) => name)) }
        : null;
  }

  project(event: unknown): ExecutionResult | null {
    const kind = (event as { kind?: unknown } | null)?.kind;
    if (!this.root || typeof kind !== 'string' || !HOT_EVENTS.has(kind)) return null;
    let plan = this.plans.get(kind);
    if (plan === undefined) this.plans.set(kind, (plan = this.planFor(kind)));
    if (!plan) return null;
    const value: Record<string, unknown> = {};
    for (const leaf of plan) {
      if (leaf.name === null) {
        value[leaf.key] = kind;
        continue;
      }
      const raw = (event as Record<string, unknown>)[leaf.name];
      if (raw === null || raw === undefined) {
        if (leaf.nonNull) return null;
        value[leaf.key] = null;
      } else if (typeof raw === 'string' || typeof raw === 'number' || typeof raw === 'boolean') {
        try {
          value[leaf.key] = leaf.type!.serialize(raw);
        } catch {
          return null;
        }
        if (value[leaf.key] === null || value[leaf.key] === undefined) return null;
      } else return null;
    }
    return { data: { [this.root.key]: value } };
  }

  private planFor(kind: string): Leaf[] | null {
    const { schema, variables } = this.projection;
    const type = schema.getType(kind);
    if (!this.root?.possible.has(kind) || !isObjectType(type)) return null;
    const plan: Leaf[] = [];
    for (const [key, nodes] of collectSubfields(schema, this.fragments, variables, type, this.root.nodes)) {
      if (key === '__proto__') return null;
      const name = nodes[0]!.name.value;
      if (name === '__typename') {
        plan.push({ key, name: null, type: null, nonNull: true });
        continue;
      }
      const definition = type.getFields()[name];
      const named = definition && getNamedType(definition.type);
      if (!definition || !isLeafType(named) || isListType(getNullableType(definition.type)) || definition.args.length)
        return null;
      plan.push({ key, name, type: named, nonNull: isNonNullType(definition.type) });
    }
    return plan;
  }
}
