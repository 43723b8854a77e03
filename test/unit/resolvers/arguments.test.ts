import { execute, parse } from 'graphql';
import { newId } from '../../../src/lib/ids';
import { buildGraphSchema } from '../../../src/resolvers/schema';
import { stubContext } from './stub-context';

const schema = buildGraphSchema();

/** The error of a document that must not reach any service. */
async function refused(document: string, variableValues: Record<string, unknown> = {}): Promise<unknown> {
  const result = await execute({ schema, document: parse(document), contextValue: stubContext({}), variableValues });
  return result.errors?.[0]?.originalError;
}
const badInput = (argument: string, text = ''): object =>
  expect.objectContaining({ code: 'BAD_USER_INPUT', argument, public: expect.stringContaining(text) as string });

describe('arguments that are refused before any service is asked', () => {
  it.each([
    ['a page of nothing', '{ calls(first: 0) { edges { cursor } } }', 'first', 'between 1 and 100'],
    ['a page that is too long', '{ conversations(first: 101) { edges { cursor } } }', 'first', 'between 1 and 100'],
    ['a negative page', '{ users(first: -1) { edges { cursor } } }', 'first', 'between 1 and 100'],
    ['too many groups', '{ usage(limit: 1001) { truncated } }', 'limit', 'between 1 and 1000'],
    ['a time zone that does not exist', '{ usage(timeZone: "Mars/Olympus") { truncated } }', 'timeZone', 'IANA'],
    [
      'an offset as a time zone, which Postgres would read backwards',
      '{ usage(timeZone: "+02:00") { truncated } }',
      'timeZone',
      'IANA',
    ],
    [
      'an empty range',
      '{ usage(filter: { from: "2026-01-02T00:00:00Z", to: "2026-01-02T00:00:00Z" }) { truncated } }',
      'filter.from',
      'before',
    ],
    [
      'a range that goes backwards',
      '{ calls(filter: { from: "2026-01-02T00:00:00Z", to: "2026-01-01T00:00:00Z" }) { edges { cursor } } }',
      'filter.from',
      'before',
    ],
    ['an empty name', 'mutation { createProject(name: "  ") { id } }', 'name', 'empty'],
    ['a name that is too long', `mutation { createOrganization(name: "${'x'.repeat(201)}") { id } }`, 'name', '200'],
    [
      'an empty title',
      `mutation { renameConversation(id: "${newId('conversation')}", title: "") { id } }`,
      'title',
      'empty',
    ],
    ['a token without a name', 'mutation { createApiToken(input: { name: "" }) { secret } }', 'input.name', 'empty'],
    [
      'a plan limit of nothing',
      'mutation { upsertPlan(input: { name: "P", models: [], limits: { maxOutputTokens: 0 } }) { id } }',
      'input.limits.maxOutputTokens',
      'at least 1',
    ],
    [
      'a negative budget',
      'mutation { upsertPlan(input: { name: "P", models: [], limits: { monthlyBudget: "-1" } }) { id } }',
      'input.limits.monthlyBudget',
      'negative',
    ],
    ['an id of absurd length', `{ node(id: "${'x'.repeat(201)}") { id } }`, 'id', '200'],
    [
      'an id of absurd length in a list',
      `{ usage(filter: { userIds: ["a", "${'x'.repeat(201)}"] }) { truncated } }`,
      'filter.userIds[1]',
      '200',
    ],
  ])('%s', async (_what, document, argument, text) => {
    expect(await refused(document)).toEqual(badInput(argument, text));
  });

  it.each([
    ['an id', 'query ($v: ID!) { model(id: $v) { id } }', 'a\0', 'id'],
    ['a search', 'query ($v: String) { users(search: $v) { edges { cursor } } }', 'a\0', 'search'],
    ['a cursor', 'query ($v: String) { projects(after: $v) { edges { cursor } } }', 'a\0', 'after'],
    [
      'a list in an input',
      'query ($v: [String!]) { usage(filter: { agents: $v }) { truncated } }',
      ['ok', 'a\0'],
      'filter.agents[1]',
    ],
    [
      'a message',
      'mutation ($v: [MessageInput!]!) { chat(input: { messages: $v }) { __typename } }',
      [
        { role: 'USER', content: 'ok' },
        { role: 'USER', content: 'a\0' },
      ],
      'input.messages[1].content',
    ],
    [
      'a JSON value',
      'mutation ($v: JSON) { chat(input: { messages: [], tools: [{ name: "f", parameters: $v }] }) { __typename } }',
      { a: [{ b: '\0' }] },
      'input.tools[0].parameters',
    ],
    [
      'a key of a JSON value',
      'mutation ($v: JSON) { chat(input: { messages: [], tools: [{ name: "f", parameters: $v }] }) { __typename } }',
      { 'a\0': 1 },
      'input.tools[0].parameters',
    ],
  ])('a NUL character in %s', async (_what, document, v, argument) => {
    expect(await refused(document, { v })).toEqual(badInput(argument, 'NUL'));
  });

  it('half of a surrogate pair, which jsonb refuses', async () => {
    expect(await refused('mutation ($v: String!) { createProject(name: $v) { id } }', { v: 'a\ud83d' })).toEqual(
      badInput('name', 'Unicode'),
    );
  });

  it('JSON that is nested to overflow the stack', async () => {
    const deep: unknown = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000));
    const error = await refused(
      'mutation ($v: JSON) { chat(input: { messages: [], tools: [{ name: "f", parameters: $v }] }) { __typename } }',
      { v: deep },
    );
    expect(error).toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('a NUL character in an argument below the root', async () => {
    const context = stubContext({ conversations: { get: async () => ({ id: newId('conversation') }) as never } });
    const result = await execute({
      schema,
      document: parse('query ($v: String) { conversation(id: "x") { messages(after: $v) { edges { cursor } } } }'),
      contextValue: context,
      variableValues: { v: '\0' },
    });
    expect(result.errors?.[0]?.originalError).toEqual(badInput('after', 'NUL'));
  });
});
