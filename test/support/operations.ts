import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse, type DocumentNode } from 'graphql';

const SCHEMA = path.join(__dirname, '..', '..', 'schema');

/** The text of schema/operations/<name>.graphql: what README and applications use. */
export const operation = (name: string): string =>
  readFileSync(path.join(SCHEMA, 'operations', `${name}.graphql`), 'utf8');

export const operationDocument = (name: string): DocumentNode => parse(operation(name));

/** schema/possible-types.json, as client caches take it. */
export const possibleTypes = (): Record<string, string[]> =>
  JSON.parse(readFileSync(path.join(SCHEMA, 'possible-types.json'), 'utf8'));

export const schemaText = (): string => readFileSync(path.join(SCHEMA, 'schema.graphql'), 'utf8');
