/** Deeper than this a schema that refers to itself is cut off. */
const MAX_DEPTH = 12;
const MAX_TEXT = 60;

/** The smallest value that fits a JSON schema, as the demonstration provider fills in forms. Strings repeat the question. */
export function exampleOf(schema, question) {
  return example(schema, { question, root: schema, depth: 0 });
}

function example(schema, at) {
  if (typeof schema !== 'object' || schema === null || at.depth > MAX_DEPTH) return null;
  const within = { ...at, depth: at.depth + 1 };
  if (schema.$ref) return example(resolve(at.root, schema.$ref), within);
  if ('const' in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.allOf) return example(Object.assign({}, schema, ...schema.allOf, { allOf: undefined }), within);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return example(either.find(({ type }) => type !== 'null') ?? either[0], within);
  const types = [schema.type ?? (schema.properties ? 'object' : 'string')].flat();
  switch (types.find((type) => type !== 'null')) {
    case 'object':
      return Object.fromEntries(namesOf(schema).map((name) => [name, example(schema.properties?.[name] ?? {}, within)]));
    case 'array':
      return Array.from({ length: Math.max(schema.minItems ?? 1, 0) }, () => example(schema.items ?? {}, within));
    case 'integer':
      return Math.ceil(number(schema, 1));
    case 'number':
      return number(schema, 1);
    case 'boolean':
      return true;
    case 'string':
      return text(schema, at.question);
    default:
      return null;
  }
}

const namesOf = ({ properties = {}, required }) => [...new Set([...(required ?? []), ...Object.keys(properties)])];

function number({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }, step) {
  const low = minimum ?? (exclusiveMinimum === undefined ? undefined : exclusiveMinimum + step);
  const high = maximum ?? (exclusiveMaximum === undefined ? undefined : exclusiveMaximum - step);
  return low ?? Math.min(step, high ?? step);
}

function text({ format, minLength = 0, maxLength = MAX_TEXT }, question) {
  if (format === 'date') return '2026-01-01';
  if (format === 'date-time') return '2026-01-01T00:00:00Z';
  if (format === 'email') return 'demonstration@example.com';
  if (format === 'uri') return 'https://example.com/demonstration';
  return [...`demonstration: ${question}`].slice(0, maxLength).join('').padEnd(minLength, '.');
}

function resolve(root, reference) {
  const steps = reference.replace(/^#\/?/, '').split('/').filter(Boolean);
  return steps.reduce((found, step) => found?.[step.replaceAll('~1', '/').replaceAll('~0', '~')], root);
}
