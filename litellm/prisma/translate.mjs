// LiteLLM's Python client writes its queries as GraphQL documents, the protocol of Prisma's engine up to version 5.4.
// The WebAssembly engine of 5.17 reads JSON. This file translates the questions one way and the answers the other way.
import { parse } from 'graphql';

const ACTIONS = [
  'createOne', 'createMany', 'updateOne', 'updateMany', 'upsertOne', 'deleteOne', 'deleteMany',
  'findUnique', 'findFirst', 'findMany', 'aggregate', 'groupBy',
];
const RAW_ACTIONS = new Set(['queryRaw', 'executeRaw']);
/** Filters on a Json field whose own value is Json again. */
const JSON_FILTERS = new Set(['equals', 'not', 'set', 'array_contains', 'array_starts_with', 'array_ends_with']);
const NO_FIELDS = new Set();

/**
 * Reads the schema once. GraphQL writes a Json value as a plain string, the JSON protocol wants it tagged: the translation has to know
 * which fields are Json.
 */
export function jsonFieldsOf(datamodel) {
  const models = new Map();
  for (const [, model, body] of datamodel.matchAll(/^model\s+(\w+)\s*\{([\s\S]*?)\n\}/gm)) {
    models.set(model, new Set([...body.matchAll(/^\s*(\w+)\s+Json[?\s]/gm)].map(([, field]) => field)));
  }
  return models;
}

/** One GraphQL document as a query of the JSON protocol: { action, modelName, query }. */
export function toJsonQuery(document, jsonFields) {
  const [field] = parse(document).definitions[0].selectionSet.selections;
  const target = operation(field.name.value);
  return { ...target, query: fieldQuery(field, jsonFields.get(target.modelName) ?? NO_FIELDS) };
}

/** The engine's answer as the Python client expects it: { data: { result } }, or { errors } unchanged. */
export function toPythonAnswer(action, reply) {
  if (reply.errors) return reply;
  const [result] = Object.values(reply.data);
  return { data: { result: action === 'queryRaw' ? rawRows(result) : bare(result) } };
}

/** `findUniqueUserOrThrow` is { action: 'findUniqueOrThrow', modelName: 'User' }. */
function operation(name) {
  if (RAW_ACTIONS.has(name)) return { action: name };
  const action = ACTIONS.find((known) => name.startsWith(known));
  if (!action) throw new Error(`unknown operation ${name}`);
  const modelName = name.slice(action.length);
  return modelName.endsWith('OrThrow') ? { action: `${action}OrThrow`, modelName: modelName.slice(0, -'OrThrow'.length) } : { action, modelName };
}

function fieldQuery(field, jsonFields = NO_FIELDS) {
  return { arguments: argumentsOf(field, jsonFields), selection: selectionOf(field) };
}

function argumentsOf(field, jsonFields) {
  return Object.fromEntries((field.arguments ?? []).map(({ name, value }) => [name.value, literal(value, jsonFields, false)]));
}

function selectionOf({ selectionSet }) {
  const isPlain = (field) => !field.selectionSet && !field.arguments?.length;
  return Object.fromEntries((selectionSet?.selections ?? []).map((field) => [field.name.value, isPlain(field) ? true : fieldQuery(field)]));
}

/** `isJson`: a string here is the text of a Json value. */
function literal(node, jsonFields, isJson) {
  switch (node.kind) {
    case 'IntValue':
      return Number.isSafeInteger(Number(node.value)) ? Number(node.value) : { $type: 'BigInt', value: node.value };
    case 'FloatValue':
      return Number(node.value);
    case 'NullValue':
      return null;
    case 'StringValue':
      return isJson ? { $type: 'Json', value: node.value } : node.value;
    case 'BooleanValue':
    case 'EnumValue':
      return node.value;
    case 'ListValue':
      return node.values.map((value) => literal(value, jsonFields, isJson));
    case 'ObjectValue':
      return Object.fromEntries(
        node.fields.map(({ name, value }) => [name.value, literal(value, jsonFields, jsonFields.has(name.value) || (isJson && JSON_FILTERS.has(name.value)))]),
      );
    default:
      throw new Error(`unsupported literal ${node.kind}`);
  }
}

/** { $type, value } is a typed value of the JSON protocol; the Python client takes it bare. */
function bare(value) {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== 'object') return value;
  if ('$type' in value && 'value' in value) return value.$type === 'BigInt' ? Number(value.value) : bare(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, bare(entry)]));
}

/** Raw results come as columns, types and rows; the Python client of 0.11 wants objects whose cells say their type. */
function rawRows({ columns, types, rows }) {
  return rows.map((row) => Object.fromEntries(row.map((cell, i) => [columns[i], taggedCell(types[i], cell)])));
}

function taggedCell(type, cell) {
  if (cell === null) return { prisma__type: 'null', prisma__value: null };
  if (type.endsWith('-array')) {
    const entryType = type.slice(0, -'-array'.length);
    return { prisma__type: 'array', prisma__value: cell.map((entry) => taggedCell(entryType, entry)) };
  }
  return { prisma__type: type, prisma__value: type === 'json' && typeof cell === 'string' ? JSON.parse(cell) : cell };
}
