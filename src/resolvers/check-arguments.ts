import { getNamedType, isInputObjectType, type GraphQLArgument, type GraphQLInputType } from 'graphql';
import { badInput } from '../errors';

/** Characters. No id of ours or of a model is near it. */
const MAX_ID = 200;
/** Levels, those of the input types included. Deeper JSON is an attack on whoever walks it. */
const MAX_DEPTH = 100;

/** `path` is put together on the way back, so that input without a fault costs no text. */
interface Fault {
  path: string;
  problem: string;
}

function textFault(text: string): Fault | null {
  // Postgres stores neither.
  if (text.includes('\0')) return { path: '', problem: 'must not contain a NUL character' };
  if (!text.isWellFormed())
    return { path: '', problem: 'must be well-formed Unicode: it has half of a surrogate pair' };
  return null;
}

/** `type` is null inside a JSON value. */
function faultOf(value: unknown, type: GraphQLInputType | null, depth: number): Fault | null {
  if (typeof value === 'string') {
    if (type && value.length > MAX_ID && getNamedType(type).name === 'ID')
      return { path: '', problem: `must have at most ${MAX_ID} characters` };
    return textFault(value);
  }
  if (value === null || typeof value !== 'object' || value instanceof Date) return null;
  if (depth > MAX_DEPTH) return { path: '', problem: `must be at most ${MAX_DEPTH} levels deep` };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const fault = faultOf(value[index], type, depth + 1);
      if (fault) return { ...fault, path: `[${index}]${fault.path}` };
    }
    return null;
  }
  const named = type && getNamedType(type);
  const fields = named && isInputObjectType(named) ? named.getFields() : null;
  for (const [key, item] of Object.entries(value)) {
    // Keys of an input object are the schema's; those of a JSON value are the client's, and no part of a path.
    const fault = fields
      ? faultOf(item, fields[key]?.type ?? null, depth + 1)
      : (textFault(key) ?? faultOf(item, null, depth + 1));
    if (fault) return fields ? { ...fault, path: `.${key}${fault.path}` } : { ...fault, path: '' };
  }
  return null;
}

/**
 * Looks through all arguments of a field, however deep, for text that cannot be stored (NUL, broken Unicode), ids of
 * absurd length and JSON of absurd depth. Throws BAD_USER_INPUT that names the argument, as in
 * `input.messages[0].content`.
 */
export function checkArguments(definitions: readonly GraphQLArgument[], args: Record<string, unknown>): void {
  for (const { name, type } of definitions) {
    const fault = faultOf(args[name], type, 0);
    if (fault) throw badInput(`${name}${fault.path}`, fault.problem);
  }
}
