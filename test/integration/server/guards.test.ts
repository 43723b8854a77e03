import { readdirSync, readFileSync } from 'node:fs';
import { getIntrospectionQuery, parse } from 'graphql';
import { buildGraphSchema } from '../../../src/resolvers/schema';
import { LIMITS, parseAndValidate } from '../../../src/server/guards';
import { graphql, type GraphqlReply } from '../../support/graphql-client';
import { startServer, type TestServer } from '../../support/graph-server';

describe('what one operation may ask', () => {
  let server: TestServer;
  let production: TestServer;
  beforeAll(async () => {
    server = await startServer({ maxBodyBytes: 1_000_000 });
    production = await startServer({ env: 'production' });
  });
  afterAll(() => Promise.all([server.close(), production.close()]));
  const ask = (query: string, variables?: Record<string, unknown>): Promise<GraphqlReply<any>> => graphql(server.url, 'good', query, variables);

  const deep = (levels: number): string => `{ person ${'{ friends '.repeat(levels)}{ name }${' }'.repeat(levels)} }`;
  it.each([
    ['50 levels', deep(50)],
    ['10,000 aliases', `{ ${Array.from({ length: 10_000 }, (_, i) => `a${i}: hello`).join(' ')} }`],
    ['100 aliases of a list', `{ ${Array.from({ length: 100 }, (_, i) => `a${i}: people { name }`).join(' ')} }`],
    ['100 aliases below the root', `{ person { ${Array.from({ length: 100 }, (_, i) => `a${i}: friends { name }`).join(' ')} } }`],
    ['10,000 directives', `{ hello ${'@include(if: true) '.repeat(10_000)} }`],
    ['300 fragments in a chain', `{ person { ...F0 } } ${Array.from({ length: 300 }, (_, i) => `fragment F${i} on Person { friends { ...F${i + 1} } }`).join(' ')} fragment F300 on Person { name }`],
    ['fragments that multiply each other', `{ person { ...F0 } } ${Array.from({ length: 40 }, (_, i) => `fragment F${i} on Person { a: friends { ...F${i + 1} } b: friends { ...F${i + 1} } }`).join(' ')} fragment F40 on Person { name }`],
    ['fragments in a circle', '{ person { ...A } } fragment A on Person { friends { ...B } } fragment B on Person { friends { ...A } }'],
    ['many root fields', `{ ${'hello '.repeat(16)} }`],
    ['unknown fields', `{ ${Array.from({ length: 200 }, (_, i) => `unknown${i}`).join(' ')} }`],
    ['broken syntax', '{ hello'],
  ])('refuses %s with 400, at once and in few words', async (_what, query) => {
    await ask('{ hello }');
    const since = performance.now();
    const reply = await ask(query);
    const tookMs = performance.now() - since;
    expect(reply.status).toBe(400);
    expect(reply.errors!.every((error) => error.extensions.code.startsWith('GRAPHQL_'))).toBe(true);
    expect(reply.text.length).toBeLessThan(2_000);
    // 10 ms on an idle machine; the rest is for busy ones.
    expect(tookMs).toBeLessThan(150);
  });

  it('refuses documents that are too long before they are looked at', async () => {
    const other = await startServer({ maxBodyBytes: 2_000_000 });
    const reply = await graphql(other.url, 'good', `{ hello } # ${'x'.repeat(1_000_000)}`);
    expect([reply.status, reply.errors![0]!.extensions.code]).toEqual([400, 'GRAPHQL_PARSE_FAILED']);
    await other.close();
  });

  it('refuses what no rule of graphql-js survives', async () => {
    const reply = await ask('subscription ($yes: Boolean!) { chatStream @include(if: $yes) { __typename } }', { yes: true });
    expect([reply.status, reply.errors![0]!.extensions.code]).toEqual([400, 'GRAPHQL_VALIDATION_FAILED']);
  });

  it('counts pages as long as they are asked for, by literal, variable or default', async () => {
    const page = 'page(first: $n) { edges { name friends { name friends { name friends { name } } } } }';
    expect((await ask(`query ($n: Int!) { ${page} }`, { n: 5 })).status).toBe(200);
    const large = await ask(`query ($n: Int!) { ${page} }`, { n: 100 });
    expect([large.status, large.errors![0]!.message]).toEqual([400, expect.stringContaining('smaller pages')]);
    expect((await ask(`{ ${page.replace('$n', '1000')} }`)).status).toBe(400);
    expect((await ask(`{ ${page.replace('$n', '5')} }`)).status).toBe(200);
  });

  it('introspection and suggestions: for everybody in development, for operators alone in production', async () => {
    const introspection = getIntrospectionQuery();
    expect((await graphql(server.url, 'good', introspection)).errors).toBeNull();
    expect((await graphql(production.url, 'operator', introspection)).errors).toBeNull();
    for (let round = 0; round < 3; round += 1) {
      for (const query of [introspection, '{ __type(name: "Person") { name } }', '{ ...F } fragment F on Query { a: __schema { types { name } } }']) {
        const reply = await graphql(production.url, 'good', query);
        expect([reply.status, reply.data, reply.errors![0]!.extensions.code]).toEqual([400, null, 'GRAPHQL_VALIDATION_FAILED']);
      }
    }
    expect((await graphql(production.url, 'good', '{ __typename hello }')).data).toEqual({ __typename: 'Query', hello: 'hello ann' });
    expect((await ask('{ helo }')).text).toContain('Did you mean');
    for (const [query, variables] of [['{ helo }', {}], ['query ($i: Outer!) { take(input: $i) }', { i: { iner: [] } }], ['query ($i: Inner!) { take(input: { inner: [$i] }) }', { i: { text: 'a', colour: 'REDD' } }]] as const) {
      const reply = await graphql(production.url, 'good', query, variables);
      expect(reply.status).toBe(400);
      expect(reply.text).not.toContain('Did you mean');
    }
    expect((await fetch(production.url, { headers: { accept: 'text/html' } })).status).toBe(401);
  });

  it('never echoes more than a little of what it refuses, and no keys', async () => {
    const reply = await ask('query ($input: Outer!) { take(input: $input) }', { input: { inner: `sk-canary-1234567890 ${'x'.repeat(50_000)}` } });
    expect(reply.status).toBe(400);
    expect(reply.text.length).toBeLessThan(1_000);
    expect(reply.text).not.toContain('canary');
  });

  it('every document that the product publishes fits, with room', () => {
    const schema = buildGraphSchema();
    const names = readdirSync('schema/operations').filter((name) => name.endsWith('.graphql'));
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) {
      const text = readFileSync(`schema/operations/${name}`, 'utf8');
      expect([name, parseAndValidate(schema, text, false).errors]).toEqual([name, undefined]);
      expect(() => parse(text, { maxTokens: LIMITS.tokens / 3 })).not.toThrow();
    }
    for (const { query } of JSON.parse(readFileSync('explorer/tabs.json', 'utf8')) as { query: string }[]) expect(parseAndValidate(schema, query, false).errors).toBeUndefined();
  });
});
