import { isUtf8 } from 'node:buffer';
import { AppError } from '../errors';

/** Levels of arrays and objects. JSON.parse takes any depth, at 50 bytes of memory for each byte of brackets. */
const MAX_DEPTH = 200;

/**
 * The text of a JSON body. Throws BAD_USER_INPUT for bytes that are no UTF-8 and for nesting that only an attack has.
 */
export function jsonText(body: Buffer): string {
  if (!isUtf8(body)) throw new AppError('BAD_USER_INPUT', { public: 'The body is not valid UTF-8.' });
  const text = body.toString('utf8');
  if (isTooDeep(text))
    throw new AppError('BAD_USER_INPUT', { public: `The body has more than ${MAX_DEPTH} levels of nesting.` });
  return text;
}

/** Counts brackets outside of strings; strings, which hold nearly all of a long prompt, are jumped over. */
export function isTooDeep(text: string): boolean {
  if (text.length <= MAX_DEPTH) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    const char = text.charCodeAt(i);
    if (char === 0x22) i = endOfString(text, i + 1);
    else if (char === 0x7b || char === 0x5b) {
      depth += 1;
      if (depth > MAX_DEPTH) return true;
    } else if (char === 0x7d || char === 0x5d) depth -= 1;
  }
  return false;
}

/** Index of the closing quote. */
function endOfString(text: string, from: number): number {
  for (let quote = text.indexOf('"', from); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes += 1;
    if (backslashes % 2 === 0) return quote;
  }
  return text.length;
}

/** The charset of a content type, in lower case; null when it names none. */
export const charsetOf = (contentType: string | undefined): string | null =>
  /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType ?? '')?.[1]?.toLowerCase() ?? null;
