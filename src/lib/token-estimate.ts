/**
 * Token counts where nobody else gives one: o200k, the vocabulary of the current large OpenAI models. For other models
 * it is an estimate, usually within 20 %; whoever stores such a count says so. The vocabulary takes some 50 MB and is
 * loaded on first use.
 */
type CountTokens = (text: string) => number;
let countO200k: CountTokens | null = null;

/** Loads the vocabulary: a third of a second in which nothing else runs, so it is done before the doors open. */
export function loadTokenizer(): CountTokens {
  if (countO200k) return countO200k;
  const { countTokens: count } = require('gpt-tokenizer/encoding/o200k_base') as {
    countTokens: (text: string, options: { disallowedSpecial: Set<string> }) => number;
  };
  // `<|endoftext|>` in somebody's prompt is text: by default the library throws on it.
  const options = { disallowedSpecial: new Set<string>() };
  countO200k = (text) => count(text, options);
  return countO200k;
}

/**
 * Bytes of UTF-8 that are really counted, for all texts of one question together: 3 to 10 ms for European text, 40 ms
 * for rare Chinese signs, on the one event loop. The rest is extrapolated from the beginning and the end of each text.
 */
const COUNTED_BYTES = 60_000;
/**
 * The library's time grows with the square of a word: 100 000 letters without a space took seven seconds. Longer words
 * are cut, which adds a token each at most.
 */
const LONG_RUN = /(\S{100}|\s{100})/;

export const countTokens = (text: string): number => countEach([text])[0]!;

/** Tokens of each text. */
export function countEach(texts: readonly string[]): number[] {
  const bytes = texts.map((text) => Buffer.byteLength(text));
  const total = bytes.reduce((sum, n) => sum + n, 0);
  if (total <= COUNTED_BYTES) return texts.map(countExactly);
  return texts.map((text, i) => {
    const characters = Math.max(32, Math.floor((text.length * COUNTED_BYTES) / total));
    if (text.length <= characters || bytes[i] === 0) return countExactly(text);
    const half = Math.ceil(characters / 2);
    const sample = text.slice(0, half) + text.slice(-half);
    return Math.ceil((countExactly(sample) / sample.length) * text.length);
  });
}

function countExactly(text: string): number {
  if (text === '') return 0;
  const count = loadTokenizer();
  return LONG_RUN.test(text)
    ? text.split(LONG_RUN).reduce((sum, part) => sum + (part === '' ? 0 : count(part)), 0)
    : count(text);
}

/**
 * Tokens that a chat format puts around each message, and before the answer. Source: OpenAI's cookbook, "How to count
 * tokens".
 */
export const TOKENS_PER_MESSAGE = 3;
export const TOKENS_BEFORE_ANSWER = 3;
/** A high-detail picture of ordinary size, in OpenAI's tiles; pictures are never opened here. */
export const TOKENS_PER_IMAGE = 1_105;
