import fs from 'node:fs';
import path from 'node:path';
import { isAbstractType, lexicographicSortSchema, printSchema } from 'graphql';
import { buildGraphSchema } from '../src/resolvers/schema';
import { packageRoot } from '../src/lib/package-root';

/**
 * The two committed files about the graph, by name. Apollo Client drops fragments on `Refusal` and `StreamEvent`
 * without the second.
 */
export function emitSchema(): { 'schema.graphql': string; 'possible-types.json': string } {
  const schema = lexicographicSortSchema(buildGraphSchema());
  const abstract = Object.values(schema.getTypeMap()).filter(isAbstractType);
  const possibleTypes = Object.fromEntries(
    abstract.map((type) => [
      type.name,
      schema
        .getPossibleTypes(type)
        .map((member) => member.name)
        .sort(),
    ]),
  );
  return {
    'schema.graphql': `${printSchema(schema)}\n`,
    'possible-types.json': `${JSON.stringify(possibleTypes, null, 2)}\n`,
  };
}

if (require.main === module) {
  const folder = path.join(packageRoot(__dirname), 'schema');
  fs.mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(emitSchema())) fs.writeFileSync(path.join(folder, name), text);
}
