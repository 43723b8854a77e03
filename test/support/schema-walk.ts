import {
  buildSchema,
  getNamedType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  parse,
  TypeInfo,
  visit,
  visitWithTypeInfo,
  type GraphQLInputType,
  type GraphQLSchema,
} from 'graphql';
import { schemaText } from './operations';

/** What of the schema touches objects that belong to somebody. */
export interface Touching {
  /**
   * `Type.field(argument)` for every argument of type ID, and `Type.field(argument.inner)` for those inside input
   * objects, at any depth.
   */
  takesId: string[];
  /** `Type.field` for every field that gives an object of ours, alone or in a list. */
  returnsObject: string[];
}

/** Types with an id that are no objects of anybody: models have public names. */
const NOBODYS = new Set(['Model']);

export const emittedSchema = (): GraphQLSchema => buildSchema(schemaText());

/** Walks every field of every type. */
export function touchingFields(schema: GraphQLSchema): Touching {
  const takesId: string[] = [];
  const returnsObject: string[] = [];
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__') || !(isObjectType(type) || isInterfaceType(type))) continue;
    for (const field of Object.values(type.getFields())) {
      const coordinate = `${type.name}.${field.name}`;
      for (const { name, type: of } of field.args)
        takesId.push(...idsIn(of, name, []).map((path) => `${coordinate}(${path})`));
      const given = getNamedType(field.type);
      if ((isObjectType(given) || isInterfaceType(given)) && 'id' in given.getFields() && !NOBODYS.has(given.name))
        returnsObject.push(coordinate);
    }
  }
  return { takesId, returnsObject };
}

function idsIn(type: GraphQLInputType, path: string, seen: string[]): string[] {
  const named = getNamedType(type);
  if (named.name === 'ID') return [path];
  // An input type that contains itself has nothing new to say.
  if (!isInputObjectType(named) || seen.includes(named.name)) return [];
  return Object.values(named.getFields()).flatMap((field) =>
    idsIn(field.type, `${path}.${field.name}`, [...seen, named.name]),
  );
}

/**
 * The `Type.field`s that a document selects, and those that it selects under the alias `probe`: what a case really
 * looks at.
 */
export function selectedFields(schema: GraphQLSchema, document: string): { all: Set<string>; probed: Set<string> } {
  const all = new Set<string>();
  const probed = new Set<string>();
  const info = new TypeInfo(schema);
  visit(
    parse(document),
    visitWithTypeInfo(info, {
      Field: (node) => {
        const coordinate = `${info.getParentType()?.name}.${node.name.value}`;
        all.add(coordinate);
        if (node.alias?.value === 'probe') probed.add(coordinate);
      },
    }),
  );
  return { all, probed };
}

export interface Probe {
  __typename: string;
  id: string;
}

/** Everything that an answer has under `probe`, at any depth. */
export function probesIn(value: unknown): Probe[] {
  if (Array.isArray(value)) return value.flatMap(probesIn);
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(key === 'probe' ? ([inner].flat().filter(Boolean) as Probe[]) : []),
    ...probesIn(inner),
  ]);
}
