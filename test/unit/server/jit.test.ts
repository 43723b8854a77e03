import {
  execute,
  getOperationAST,
  GraphQLError,
  parse,
  validate,
  type ExecutionResult,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { formatError } from '../../../src/server/graphql/format-error';
import { OperationRunner } from '../../../src/server/graphql/jit';
import { silentLogger } from '../../../src/lib/logger';
import { tinySchema, viewerOf } from '../../support/graph-server';

const context = { viewer: viewerOf('ann') };
const compiledBy = (runner: OperationRunner): number => (runner as unknown as { compiled: Set<unknown> }).compiled.size;
const shown = (result: ExecutionResult): string =>
  JSON.stringify({
    data: result.data,
    errors: result.errors
      ?.map((error) => formatError(error, { logger: silentLogger, requestId: 'r' }))
      .sort((a, b) => String(a.path).localeCompare(String(b.path))),
  });

async function both(
  schema: GraphQLSchema,
  query: string,
  variables?: Record<string, unknown>,
): Promise<{ compiled: string; interpreted: string; compiles: boolean }> {
  const document = parse(query);
  expect(validate(schema, document)).toEqual([]);
  const operation = getOperationAST(document) as OperationDefinitionNode;
  const args = {
    schema,
    document,
    operation,
    operationName: operation.name?.value ?? null,
    variables,
    contextValue: context,
  };
  const runner = new OperationRunner({ hideSuggestions: false });
  for (let use = 0; use < 2; use += 1) await runner.run(args);
  return {
    compiled: shown(await runner.run(args)),
    interpreted: shown(
      await execute({
        schema,
        document,
        contextValue: context,
        variableValues: variables,
        operationName: args.operationName,
      }),
    ),
    compiles: compiledBy(runner) === 1,
  };
}

/** jest takes a parameter that no value came for as its callback. */
const rows = (cases: [string, string, Record<string, unknown>?][]): [string, string, Record<string, unknown>?][] =>
  cases.map(([what, query, variables]) => [what, query, variables ?? {}]);

describe('compiled operations', () => {
  const schema = tinySchema();
  const PERSON =
    'name pet { __typename name ... on Cat { lives } ... on Dog { owner { name } } } friends { name pet { ...P } }';
  const FRAGMENT = 'fragment P on Animal { name ... on Dog { owner { name } } }';

  it.each<[string, string, Record<string, unknown>?]>(
    rows([
      ['plain fields', '{ hello colour }'],
      ['aliases and __typename', '{ a: hello b: hello __typename t: person { __typename n: name } }'],
      ['objects, interfaces, lists, fragments', `{ person { ${PERSON} } } ${FRAGMENT}`],
      [
        'fields that merge',
        '{ person { name } person { friends { name } } ...Q } fragment Q on Query { person { friends { pet { name } } } }',
      ],
      [
        'unions',
        'query ($dog: Boolean!) { thing(dog: $dog) { __typename ... on Dog { name } ... on Cat { lives } } }',
        { dog: true },
      ],
      ['defaults of variables', 'query ($dog: Boolean! = true) { thing(dog: $dog) { __typename } }', {}],
      ['a default of an argument', '{ thing { __typename } }'],
      ['an argument left out by its variable', 'query ($first: Int!) { people(first: $first) { name } }', { first: 2 }],
      ['a literal number', '{ people(first: 2) { name } }'],
      [
        'input objects',
        'query ($input: Outer!) { take(input: $input) }',
        {
          input: {
            inner: [
              { text: 'a', colour: 'RED' },
              { text: '"; x', upper: 'abc' },
            ],
          },
        },
      ],
      [
        'a single value for a list',
        'query ($input: Outer!) { take(input: $input) }',
        { input: { inner: { text: 'a' } } },
      ],
      ['custom scalars', 'query ($v: Upper!) { upper(value: $v) }', { v: 'abc' }],
      [
        'conditions by variable',
        'query ($yes: Boolean!, $no: Boolean = false) { hello @skip(if: $yes) colour @include(if: $yes) person @include(if: $no) { name } t: thing { ... on Cat @include(if: $yes) { lives } ... on Cat @skip(if: $yes) { name } } }',
        { yes: true },
      ],
      [
        'a field with and without a condition',
        'query ($yes: Boolean!) { hello @skip(if: $yes) hello person { name @include(if: $yes) ...P } } fragment P on Person { name @skip(if: $yes) }',
        { yes: false },
      ],
      ['an error in a nullable field', 'query ($how: String!) { hello fails(how: $how) }', { how: 'forbidden' }],
      ['an error that takes its parent along', '{ hello person { name broken } }'],
      ['errors that take everything along', '{ hello strictlyFails }'],
      ['errors in a list', '{ person { friends { name broken } } }'],
      ['many errors', '{ people { broken } }'],
      ['a mutation', 'mutation { touch }'],
      ['mutations one after the other', 'mutation { a: touch fail b: touch }'],
    ]),
  )('give what graphql-js gives: %s', async (_what, query, variables) => {
    const { compiled, interpreted, compiles } = await both(schema, query, variables);
    expect(compiles).toBe(true);
    expect(JSON.parse(compiled)).toEqual(JSON.parse(interpreted));
    expect(compiled).toBe(interpreted);
  });

  it.each<[string, string, Record<string, unknown>?]>(
    rows([
      ['a string', '{ upper(value: "abc") }'],
      [
        'a string that would be code',
        '{ fails(how: "__MAGIC_DATE__33a9e76d_02e0_4128_8e92_3530ad3da74d0);globalThis.pwned=1;(0") }',
      ],
      ['an object', '{ take(input: { inner: [{ text: "a" }] }) }'],
      ['a list of variables', 'query ($t: String!) { take(input: { inner: [{ text: $t }] }) }', { t: 'a' }],
      ['introspection', '{ __schema { queryType { name } } }'],
      ['a key that is a prototype', '{ __proto__: hello person { __proto__: name } }'],
    ]),
  )('are not made of %s: graphql-js answers', async (_what, query, variables) => {
    const { compiled, interpreted, compiles } = await both(schema, query, variables);
    expect(compiles).toBe(false);
    expect(compiled).toBe(interpreted);
    expect((globalThis as { pwned?: number }).pwned).toBeUndefined();
  });

  it('refuse variables like graphql-js, before anything runs', async () => {
    for (const variables of [
      undefined,
      {},
      { input: null },
      { input: [] },
      { input: { inner: 'x' } },
      { input: { inner: [{ text: 'a', extra: 1 }] } },
      { input: { inner: [{ text: 'a', upper: 'ABC' }] } },
    ]) {
      const document = parse('query ($input: Outer!) { take(input: $input) }');
      const operation = getOperationAST(document)!;
      const runner = new OperationRunner({ hideSuggestions: false });
      for (let use = 0; use < 3; use += 1) {
        const result = await runner.run({
          schema,
          document,
          operation,
          operationName: null,
          variables,
          contextValue: context,
        });
        const reference = (await execute({ schema, document, variableValues: variables })) as ExecutionResult;
        expect(result.badVariables).toBe(true);
        expect(result.errors!.map(({ message, locations }) => ({ message, locations }))).toEqual(
          reference.errors!.map(({ message, locations }) => ({ message, locations })),
        );
        expect(result.errors![0]).toBeInstanceOf(GraphQLError);
      }
    }
  });

  it('are forgotten, oldest first, when there are too many, and made again when they come back', async () => {
    const runner = new OperationRunner({ hideSuggestions: false });
    const operations = Array.from({ length: 501 }, (_, i) => {
      const document = parse(`{ a${i}: hello }`);
      return {
        schema,
        document,
        operation: getOperationAST(document)!,
        operationName: null,
        variables: null,
        contextValue: context,
      };
    });
    for (const operation of operations) for (let use = 0; use < 2; use += 1) await runner.run(operation);
    expect(compiledBy(runner)).toBe(500);
    for (let use = 0; use < 3; use += 1)
      expect(await runner.run(operations[0]!)).toEqual({ data: { a0: 'hello ann' } });
    expect(compiledBy(runner)).toBe(500);
  });
});
