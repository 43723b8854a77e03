import { once } from 'node:events';
import http from 'node:http';
import { ApolloServer } from '@apollo/server';
import { makeExecutableSchema } from '@graphql-tools/schema';
import { GraphQLScalarType } from 'graphql';
import { FAILURES, startServer, type TestServer } from '../../support/graph-server';

interface Asked {
  body?: unknown;
  headers?: Record<string, string>;
  get?: string;
  token?: string;
}
interface Seen {
  status: number | undefined;
  headers: string[];
  text: string;
}
/** By which way the request goes once its like was seen before. */
type Way = 'short' | 'apollo';

/** With the headers as they came: their order and their letters too. */
async function ask(server: TestServer, { body, headers, get, token = 'good' }: Asked): Promise<Seen> {
  const own = { authorization: `Bearer ${token}`, 'x-request-id': 'one' };
  const type = { 'content-type': 'application/json' };
  const sent =
    get === undefined
      ? http.request(server.url, { method: 'POST', agent: false, headers: { ...own, ...type, ...headers } })
      : http.request(`${server.url}?${get}`, { agent: false, headers: { ...own, ...headers } });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  const date = response.rawHeaders.indexOf('Date');
  return { status: response.statusCode, headers: response.rawHeaders.filter((_, i) => i !== date + 1), text };
}

const HELLO = { query: '{ hello }' };
const TWO = 'query A { hello } query B { colour }';
const PEOPLE = 'query People($n: Int!) { people(first: $n) { name friends { name pet { name } } } }';
const FRAGMENT = '{ person { ...P friends { ...P } } } fragment P on Person { name pet { __typename name } }';
const TEXT = 'query ($n: Int!) { text(length: $n) }';
const FAILS = 'query ($how: String!) { fails(how: $how) }';
const SCHEMA = '{ __schema { types { name } } }';
const PERSISTED = { persistedQuery: { version: 1, sha256Hash: 'x' } };
const WIDE = 'query ($n: Int!) { page(first: $n) { edges { friends { friends { name } } } } }';
const json = (headers: Record<string, string>): Asked => ({ body: HELLO, headers });

const CASES: [what: string, asked: Asked, way: Way][] = [
  ['a field', { body: HELLO }, 'short'],
  ['nulls and fragments', { body: { query: FRAGMENT } }, 'short'],
  ['variables', { body: { query: PEOPLE, variables: { n: 2 } } }, 'short'],
  ['a mutation', { body: { query: 'mutation { touch }' } }, 'short'],
  ['a mutation that fails', { body: { query: 'mutation { fail }' } }, 'short'],
  ['one of two operations', { body: { query: TWO, operationName: 'B' } }, 'short'],
  ['none of two operations', { body: { query: TWO } }, 'apollo'],
  ['an unknown operation', { body: { query: TWO, operationName: 'C' } }, 'apollo'],
  ['an operation without a name, by an empty one', { body: { ...HELLO, operationName: '' } }, 'apollo'],
  ['everything null', { body: { ...HELLO, operationName: null, variables: null, extensions: null } }, 'short'],
  ['an error in a field that may not be null', { body: { query: '{ person { name broken } }' } }, 'short'],
  ['an outage, with when to come again', { body: { query: '{ strictlyFails }' } }, 'short'],
  ['a variable of a wrong type', { body: { query: PEOPLE, variables: { n: 'many' } } }, 'short'],
  ['a variable that is missing', { body: { query: PEOPLE } }, 'short'],
  ['an answer that is too large', { body: { query: TEXT, variables: { n: 17_000_000 } } }, 'short'],
  ['a query that costs too much', { body: { query: WIDE, variables: { n: 90_000 } } }, 'apollo'],
  ['the same one, cheap', { body: { query: WIDE, variables: { n: 1 } } }, 'short'],
  ['a query by GET', { get: `query=${encodeURIComponent('{ hello }')}` }, 'apollo'],
  ['a mutation by GET', { get: `query=${encodeURIComponent('mutation { touch }')}` }, 'apollo'],
  ['a batch', { body: [HELLO, HELLO] }, 'apollo'],
  ['no query', { body: {} }, 'apollo'],
  ['an empty query', { body: { query: '' } }, 'apollo'],
  ['a query that is none', { body: { query: { kind: 'Document' } } }, 'apollo'],
  ['a syntax error', { body: { query: '{' } }, 'apollo'],
  ['an unknown field', { body: { query: '{ nothing }' } }, 'apollo'],
  ['variables that are a list', { body: { ...HELLO, variables: [] } }, 'apollo'],
  ['variables that are a text', { body: { ...HELLO, variables: '{}' } }, 'apollo'],
  ['an operation name that is a number', { body: { ...HELLO, operationName: 1 } }, 'apollo'],
  ['extensions', { body: { ...HELLO, extensions: { client: 'test' } } }, 'short'],
  ['extensions that are a list', { body: { ...HELLO, extensions: [] } }, 'apollo'],
  ['a persisted query', { body: { ...HELLO, extensions: PERSISTED } }, 'apollo'],
  ['a subscription', { body: { query: 'subscription { chatStream { __typename } }' } }, 'apollo'],
  ['an operator who looks at the schema', { body: { query: SCHEMA }, token: 'operator' }, 'short'],
  ['any media type', json({ accept: '*/*' }), 'short'],
  ['the media type of GraphQL', json({ accept: 'application/graphql-response+json' }), 'short'],
  ['two media types', json({ accept: 'application/graphql-response+json,application/json;q=0.9' }), 'short'],
  ['a media type that there is not', json({ accept: 'image/png' }), 'apollo'],
  ['a long list of media types', json({ accept: `application/json${', text/plain'.repeat(50)}` }), 'apollo'],
  ['a charset', json({ 'content-type': 'application/json; charset=utf-8' }), 'short'],
  ['an odd parameter of the content type', json({ 'content-type': 'application/json; a=b' }), 'apollo'],
  ...Object.keys(FAILURES).flatMap((how): typeof CASES => [
    [`a resolver that fails (${how})`, { body: { query: `{ hello fails(how: "${how}") }` } }, 'short'],
    [`a compiled one that fails (${how})`, { body: { query: FAILS, variables: { how } } }, 'short'],
  ]),
];

/** By both ways three times: the document is new, then known, then compiled. */
async function compare(through: TestServer, around: TestServer, asked: Asked): Promise<Way> {
  const execute = jest.spyOn(ApolloServer.prototype, 'executeHTTPGraphQLRequest');
  let way: Way = 'apollo';
  try {
    for (let round = 0; round < 3; round += 1) {
      for (const { logger } of [through, around]) logger.lines.length = 0;
      const expected = await ask(through, asked);
      expect(execute.mock.calls.length).toBe(1);
      const seen = await ask(around, asked);
      expect(seen).toEqual(expected);
      const told = ({ logger }: TestServer): unknown => logger.lines.map(({ level, message }) => [level, message]);
      expect(told(around)).toEqual(told(through));
      way = execute.mock.calls.length === 1 ? 'short' : 'apollo';
      execute.mockClear();
    }
    return way;
  } finally {
    execute.mockRestore();
  }
}

describe.each(['test', 'production'] as const)('what was seen before is answered as by Apollo (%s)', (env) => {
  let through: TestServer;
  let around: TestServer;
  beforeAll(async () => {
    [through, around] = [await startServer({ env }, { shortcut: false }), await startServer({ env })];
    // The media type of requests that accept everything.
    await ask(around, { body: HELLO });
  });
  afterAll(() => Promise.all([through.close(), around.close()]));

  it.each(CASES)('%s', async (_what, asked, way) => {
    expect(await compare(through, around, asked)).toBe(way);
  });

  it('a member who looks at the schema, after an operator did', async () => {
    const query = '{ __type(name: "Query") { name } }';
    expect(await compare(through, around, { body: { query }, token: 'operator' })).toBe('short');
    expect(await compare(through, around, { body: { query } })).toBe(env === 'production' ? 'apollo' : 'short');
  });
});

it('a result that is no JSON is the same failure by both ways', async () => {
  const Odd = new GraphQLScalarType({ name: 'Odd', serialize: () => 1n });
  const typeDefs = 'scalar Odd type Query { odd: Odd hello: String }';
  const schema = makeExecutableSchema({ typeDefs, resolvers: { Odd, Query: { odd: () => 1 } } });
  const [through, around] = [await startServer({}, { schema, shortcut: false }), await startServer({}, { schema })];
  await ask(around, { body: HELLO });
  expect(await compare(through, around, { body: { query: '{ odd }' } })).toBe('short');
  const { text } = await ask(around, { body: { query: '{ odd }' } });
  expect(JSON.parse(text).errors[0].extensions.code).toBe('INTERNAL_SERVER_ERROR');
  await Promise.all([through.close(), around.close()]);
});
