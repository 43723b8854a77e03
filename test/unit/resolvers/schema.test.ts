import fs from 'node:fs';
import path from 'node:path';
import {
  buildSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  parse,
  validate,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { emitSchema } from '../../../scripts/emit-schema';
import { buildGraphSchema } from '../../../src/resolvers/schema';

const SCHEMA = path.join(__dirname, '../../../schema');
const operationFiles = fs.readdirSync(path.join(SCHEMA, 'operations'));
const readOperation = (file: string): string => fs.readFileSync(path.join(SCHEMA, 'operations', file), 'utf8');

/** Everything of the schema that can have a description and has none. */
function undescribed(schema: GraphQLSchema): string[] {
  const missing: string[] = [];
  const look = (name: string, described: { description?: string | null }): void =>
    void (described.description?.trim() || missing.push(name));
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    look(type.name, type);
    if (isEnumType(type)) for (const value of type.getValues()) look(`${type.name}.${value.name}`, value);
    if (isInputObjectType(type))
      for (const field of Object.values(type.getFields())) look(`${type.name}.${field.name}`, field);
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      look(`${type.name}.${field.name}`, field);
      for (const arg of field.args) look(`${type.name}.${field.name}(${arg.name})`, arg);
    }
  }
  return missing;
}

describe('the committed schema', () => {
  it.each(['schema.graphql', 'possible-types.json'] as const)(
    '%s is what the resolvers give (npm run schema)',
    (name) => {
      expect(fs.readFileSync(path.join(SCHEMA, name), 'utf8')).toBe(emitSchema()[name]);
    },
  );

  it('describes every type, field, argument and enum value', () => {
    expect(undescribed(buildGraphSchema())).toEqual([]);
  });

  it('knows no date scalar but DateTime', () => {
    const scalars = [...emitSchema()['schema.graphql'].matchAll(/^scalar (\w+)/gm)].map((match) => match[1]);
    expect(scalars).toEqual(['DateTime', 'Decimal', 'JSON', 'SafeInt']);
  });

  it('gives members of a union one shape per field name, so that one document can select over all of them', () => {
    const schema = buildGraphSchema();
    for (const name of ['ChatResult', 'ChatEvent']) {
      const shapes = new Map<string, Set<string>>();
      for (const type of schema.getPossibleTypes(schema.getType(name) as never)) {
        for (const field of Object.values(type.getFields()))
          shapes.set(field.name, (shapes.get(field.name) ?? new Set()).add(String(field.type).replace(/!$/, '')));
      }
      expect([...shapes].filter(([, types]) => types.size > 1)).toEqual([]);
    }
  });

  it('lets every union member that is a refusal be selected over the interface Refusal', () => {
    const possible = JSON.parse(emitSchema()['possible-types.json']) as Record<string, string[]>;
    expect(possible.ChatResult!.filter((name) => name !== 'ChatReply').sort()).toEqual(possible.Refusal);
    expect(possible.ChatEvent).toEqual(possible.StreamEvent);
    expect(possible.Node).toEqual([
      'ApiToken',
      'Budget',
      'BudgetAlert',
      'Call',
      'Conversation',
      'Message',
      'Organization',
      'Plan',
      'Project',
      'User',
    ]);
  });

  it('can be built twice in one process', () => {
    expect(buildGraphSchema()).not.toBe(buildGraphSchema());
  });
});

describe('the shared operations', () => {
  const schema = buildSchema(emitSchema()['schema.graphql']);

  it.each(operationFiles)('%s is valid, and holds the one operation that its name says', (file) => {
    const document = parse(readOperation(file));
    expect(validate(schema, document)).toEqual([]);
    const operations = document.definitions.filter(
      (definition): definition is OperationDefinitionNode => definition.kind === 'OperationDefinition',
    );
    const name = path
      .basename(file, '.graphql')
      .replace(/(^|-)(\w)/g, (_all, _dash, letter: string) => letter.toUpperCase());
    expect(operations.map((operation) => operation.name?.value)).toEqual([name]);
  });

  it('cover every field of the root types', () => {
    const used = new Set(
      operationFiles.flatMap((file) =>
        parse(readOperation(file)).definitions.flatMap((definition) =>
          definition.kind === 'OperationDefinition'
            ? definition.selectionSet.selections.map((selection) =>
                selection.kind === 'Field' ? selection.name.value : '',
              )
            : [],
        ),
      ),
    );
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].flatMap((type) =>
      Object.keys(type!.getFields()),
    );
    expect(roots.filter((field) => !used.has(field))).toEqual([]);
  });
});
