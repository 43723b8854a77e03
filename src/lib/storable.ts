/** Postgres keeps neither NUL nor half a surrogate pair in a text; a model may produce both. */
export const storable = (text: string): string => text.replaceAll('\0', '\ufffd').toWellFormed();

/** JSON whose every text Postgres keeps. */
export const storableJson = (value: unknown): string => JSON.stringify(value, (_key, part: unknown) => (typeof part === 'string' ? storable(part) : part));
