// node generate.mjs <schema folder> <target folder>: what a client's graphql-codegen makes of schema and operations. A process of its own, since its packages are ES modules.
import fs from 'node:fs';
import path from 'node:path';
import { codegen } from '@graphql-codegen/core';
import * as typedDocumentNode from '@graphql-codegen/typed-document-node';
import * as typescript from '@graphql-codegen/typescript';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { buildSchema, parse } from 'graphql';

const [from, to] = process.argv.slice(2);
const read = (...names) => fs.readFileSync(path.join(from, ...names), 'utf8');
const source = read('schema.graphql');
const documents = fs
  .readdirSync(path.join(from, 'operations'))
  .map((file) => ({ location: file, document: parse(read('operations', file)) }));
const config = {
  strictScalars: true,
  nonOptionalTypename: true,
  scalars: { DateTime: 'string', Decimal: 'string', SafeInt: 'number', JSON: 'unknown' },
};

// Two files: since its release 6 typescript-operations writes the inputs and enums that it needs itself.
for (const [filename, pluginMap] of [
  ['types.ts', { typescript }],
  ['operations.ts', { typescriptOperations, typedDocumentNode }],
]) {
  const text = await codegen({
    filename,
    schema: parse(source),
    schemaAst: buildSchema(source),
    documents,
    config,
    plugins: Object.keys(pluginMap).map((name) => ({ [name]: {} })),
    pluginMap,
  });
  fs.writeFileSync(path.join(to, filename), text);
}
