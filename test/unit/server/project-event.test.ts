import {
  execute,
  getOperationAST,
  getVariableValues,
  parse,
  validate,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { buildGraphSchema } from '../../../src/resolvers/schema';
import { parseAndValidate } from '../../../src/server/graphql/guards';
import { EventProjector } from '../../../src/server/graphql/project-event';
import { tinySchema } from '../../support/graph-server';

const EVENTS = [
  { kind: 'TextDelta', fromSeq: 1, seq: 2, text: 'Grüße "👋"\n' },
  { kind: 'ReasoningDelta', fromSeq: 3, seq: 3, text: '' },
  { kind: 'ToolCallDelta', fromSeq: 4, seq: 4, index: 0, toolCallId: 'a', name: 'f', arguments: '{' },
  { kind: 'ToolCallDelta', fromSeq: 5, seq: 5, index: 0, toolCallId: null, name: null, arguments: '}' },
];
/** Values that graphql-js words an error for, or that it converts. */
const BROKEN = [
  { kind: 'TextDelta', fromSeq: 1, seq: 1, text: null },
  { kind: 'TextDelta', fromSeq: 1.5, seq: 1, text: 'a' },
  { kind: 'TextDelta', fromSeq: 1, seq: 3_000_000_000, text: 'a' },
  { kind: 'TextDelta', fromSeq: '7', seq: true, text: 5 },
  { kind: 'TextDelta', fromSeq: 1, seq: 1, text: { toString: () => 'x' } },
  { kind: 'Nonsense', fromSeq: 1, seq: 1 },
  null,
  new Error('instead of an event'),
];

/** Same numbers every time. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

/** Some selection of events: aliases, fragments within fragments, conditions, repetitions. */
function selection(next: () => number): { query: string; variables: Record<string, boolean> } {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)]!;
  const condition = (): string =>
    pick([
      '',
      '',
      '',
      ' @include(if: $yes)',
      ' @skip(if: $yes)',
      ' @include(if: $no)',
      ' @skip(if: true)',
      ' @include(if: true) @skip(if: $no)',
    ]);
  const FIELDS = {
    StreamEvent: ['fromSeq', 'seq', '__typename'],
    TextDelta: ['text', 'seq', '__typename'],
    ReasoningDelta: ['text', 'fromSeq'],
    ToolCallDelta: ['index', 'toolCallId', 'name', 'arguments', 'seq'],
  } as const;
  type Name = keyof typeof FIELDS;
  const names = Object.keys(FIELDS) as Name[];
  // The alias names type and field, so that no two fields meet under one key.
  const field = (type: Name): string => {
    const name = pick(FIELDS[type]);
    return `${pick(['', `${type}_${name}: `, `a_${type}_${name}: `])}${name}${condition()}`;
  };
  const fields = (type: Name, depth: number): string => {
    const parts = Array.from({ length: 1 + Math.floor(next() * 4) }, () =>
      depth > 0 && next() < 0.25 ? inline(type, depth - 1) : field(type),
    );
    return parts.join(' ');
  };
  const inline = (type: Name, depth: number): string =>
    `...${pick([` on ${type}`, ''])}${condition()} { ${fields(type, depth)} }`;
  const parts = Array.from({ length: 1 + Math.floor(next() * 5) }, () => {
    const type = pick(names);
    return pick([
      () => `... on ${type}${condition()} { ${fields(type, 2)} }`,
      () => `...F${type}${condition()}`,
      () => `${pick(['', 'kind: '])}__typename${condition()}`,
    ])();
  });
  const used = names.filter((name) => parts.some((part) => part.startsWith(`...F${name}`)));
  return {
    query: `subscription ($yes: Boolean! = true, $no: Boolean!) { ${pick(['', 'stream: '])}chatStream { ${parts.join(' ')} __typename @include(if: $no) @skip(if: $yes) } } ${used.map((name) => `fragment F${name} on ${name} { ${fields(name, 1)} }`).join(' ')}`,
    variables: { no: next() < 0.5 },
  };
}

function compare(
  schema: GraphQLSchema,
  query: string,
  variableValues: Record<string, unknown>,
  events: readonly unknown[],
): { projected: number } {
  const document = parse(query);
  expect(validate(schema, document)).toEqual([]);
  const operation = getOperationAST(document) as OperationDefinitionNode;
  const { coerced } = getVariableValues(schema, operation.variableDefinitions ?? [], variableValues);
  const projector = new EventProjector({ schema, document, operation, variables: coerced! });
  let projected = 0;
  for (const event of events) {
    const direct = projector.project(event);
    if (!direct) continue;
    projected += 1;
    const executed = execute({ schema, document, rootValue: event, variableValues });
    expect(JSON.stringify(direct)).toBe(JSON.stringify(executed));
  }
  return { projected };
}

describe('events that are answered without graphql-js', () => {
  const schema = tinySchema();

  it('have the same bytes as those of graphql-js, for a thousand selections', () => {
    const next = random(42);
    let projected = 0;
    let refused = 0;
    for (let round = 0; round < 1_000; round += 1) {
      const { query, variables } = selection(next);
      // Selections that contradict the language (a variable that is not used) are no case.
      if (parseAndValidate(schema, query, false).errors) {
        refused += 1;
        continue;
      }
      projected += compare(schema, query, variables, EVENTS).projected;
    }
    expect(refused).toBeLessThan(500);
    expect(projected).toBeGreaterThan(1_500);
  });

  it('are left to graphql-js, or the same, when a value is not what the schema says', () => {
    expect(
      compare(
        schema,
        'subscription { chatStream { ... on StreamEvent { fromSeq seq } ... on TextDelta { text } } }',
        {},
        BROKEN,
      ).projected,
    ).toBeLessThan(3);
  });

  it('are left to graphql-js when the type is not a hot one', () => {
    const event = { kind: 'StreamCompleted', fromSeq: 1, seq: 1, person: null };
    expect(compare(schema, 'subscription { chatStream { ... on StreamEvent { seq } } }', {}, [event]).projected).toBe(
      0,
    );
  });

  it('are the same on the real schema, where a field could have a resolver of its own', () => {
    const real = buildGraphSchema();
    const query =
      'subscription ($input: ChatInput!) { s: chatStream(input: $input) { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta { text } ... on ReasoningDelta { reasoning: text } ... on ToolCallDelta { index toolCallId name arguments } } }';
    expect(compare(real, query, { input: { messages: [{ role: 'USER', content: 'a' }] } }, EVENTS).projected).toBe(
      EVENTS.length,
    );
  });
});
