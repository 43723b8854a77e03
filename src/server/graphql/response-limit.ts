import { GraphQLError, type ExecutionResult } from 'graphql';

/**
 * Bytes of one answer as JSON. Twice the largest stored message, which MAX_BODY_BYTES bounds: what one field holds can
 * always be read.
 */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** A character is at most so many bytes of JSON (`\u0001`). */
const MAX_BYTES_PER_CHARACTER = 6;

/**
 * The result, or, where its text would be too large, an error in its place: a large text that is asked for under many
 * names is one in memory and many on the wire.
 */
export function boundedResult<R extends ExecutionResult>(result: R): R | ExecutionResult {
  if (!isTooLarge(result.data)) return result;
  return {
    data: null,
    errors: [
      new GraphQLError(
        `The answer is larger than ${MAX_ANSWER_BYTES} bytes. Ask for smaller pages, or for fewer texts at once.`,
        { extensions: { code: 'BAD_USER_INPUT' } },
      ),
    ],
  };
}

/** Counts characters first, which is nearly free; bytes only where characters leave it open. */
function isTooLarge(data: unknown): boolean {
  const characters = sizeOf(data, (text) => text.length);
  if (characters * MAX_BYTES_PER_CHARACTER <= MAX_ANSWER_BYTES) return false;
  return characters > MAX_ANSWER_BYTES || sizeOf(data, jsonBytes) > MAX_ANSWER_BYTES;
}

/** Of the JSON text, punctuation included; numbers are taken as long as they may be. */
export function sizeOf(value: unknown, textSize: (text: string) => number): number {
  if (typeof value === 'string') return textSize(value) + 2;
  if (typeof value !== 'object' || value === null || value instanceof Date) return 26;
  let size = 2;
  if (Array.isArray(value)) for (const item of value) size += sizeOf(item, textSize) + 1;
  else for (const key in value) size += key.length + 4 + sizeOf((value as Record<string, unknown>)[key], textSize);
  return size;
}

/** Bytes of a text inside a JSON string. */
export function jsonBytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    // `\n` and its like have short forms.
    if (code < 0x20) bytes += code >= 0x08 && code <= 0x0d && code !== 0x0b ? 1 : 5;
    else if (code === 0x22 || code === 0x5c) bytes += 1;
    else if (code >= 0x80) bytes += code < 0x800 ? 1 : (code & 0xf800) === 0xd800 ? pairAt(text, i, code) : 2;
  }
  return bytes;
}

/** Beyond the one that each half counts already: 4 bytes for a pair, `\ud800` for a half alone. */
function pairAt(text: string, i: number, code: number): number {
  const whole =
    code < 0xdc00 ? (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00 : (text.charCodeAt(i - 1) & 0xfc00) === 0xd800;
  return whole ? 1 : 5;
}
