/**
 * Token counts where nobody else gives one: o200k, the vocabulary of the current large OpenAI models. For other models it is an estimate,
 * usually within 20 %; whoever stores such a count says so. The vocabulary takes some 50 MB and is loaded on first use.
 */
type CountTokens = (text: string) => number;
let countO200k: CountTokens | null = null;

/** Loads the vocabulary: a third of a second in which nothing else runs, so it is done before the doors open. */
export function loadTokenizer(): CountTokens {
  if (countO200k) return countO200k;
  const { countTokens: count } = require('gpt-tokenizer/encoding/o200k_base') as { countTokens: (text: string, options: { disallowedSpecial: Set<string> }) => number };
  // `<|endoftext|>` in somebody's prompt is text: by default the library throws on it.
  const options = { disallowedSpecial: new Set<string>() };
  countO200k = (text) => count(text, options);
  return countO200k;
}

/** Above this many characters a text is counted from samples: counting costs some 20 ms for each 100 000, on the one event loop. */
const EXACT_UP_TO = 100_000;
/** The library's time grows with the square of a word: 100 000 letters without a space took seven seconds. Longer words are cut, which adds a token each at most. */
const LONG_RUN = /(\S{400}|\s{400})/;

export function countTokens(text: string): number {
  if (text.length === 0) return 0;
  if (text.length <= EXACT_UP_TO) return countExactly(text);
  const sample = text.slice(0, EXACT_UP_TO / 2) + text.slice(-EXACT_UP_TO / 2);
  return Math.ceil((countExactly(sample) / EXACT_UP_TO) * text.length);
}

function countExactly(text: string): number {
  const count = loadTokenizer();
  return LONG_RUN.test(text) ? text.split(LONG_RUN).reduce((sum, part) => sum + (part === '' ? 0 : count(part)), 0) : count(text);
}

/** Tokens that a chat format puts around each message, and before the answer. Source: OpenAI's cookbook, "How to count tokens". */
export const TOKENS_PER_MESSAGE = 3;
export const TOKENS_BEFORE_ANSWER = 3;
/** A high-detail picture of ordinary size, in OpenAI's tiles; pictures are never opened here. */
export const TOKENS_PER_IMAGE = 1_105;
