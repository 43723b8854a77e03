/** Postgres keeps neither NUL nor half a surrogate pair in a text; a model may produce both. */
export const storable = (text: string): string => text.replaceAll('\0', '\ufffd').toWellFormed();

/**
 * How JSON writes NUL and half a surrogate pair: whole pairs stand in it as themselves. A backslash that is text itself
 * is written twice, and may look so: then it is looked at again.
 */
const SUSPECT = /\\u(?:0000|d[89a-f])/;

/**
 * JSON whose every text Postgres keeps. Foreign texts are few, and hardly any of them needs a change: only then is
 * every value looked at.
 */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value);
  return SUSPECT.test(json)
    ? JSON.stringify(value, (_key, part: unknown) => (typeof part === 'string' ? storable(part) : part))
    : json;
}
