/**
 * Token counts where nobody else gives one: o200k, the vocabulary of the current large OpenAI models. For other models it is an estimate,
 * usually within 20 %; whoever stores such a count says so. The vocabulary takes some 50 MB and is loaded on first use.
 */
type CountTokens = (text: string) => number;
let countO200k: CountTokens | null = null;

/** Above this many characters a text is counted from samples: counting costs about a second per 4 MB, on the one event loop. */
const EXACT_UP_TO = 200_000;

export function countTokens(text: string): number {
  if (text.length === 0) return 0;
  countO200k ??= (require('gpt-tokenizer/encoding/o200k_base') as { countTokens: (t: string, o?: object) => number }).countTokens;
  if (text.length <= EXACT_UP_TO) return countO200k(text);
  const head = text.slice(0, EXACT_UP_TO / 2);
  const tail = text.slice(-EXACT_UP_TO / 2);
  return Math.ceil(((countO200k(head) + countO200k(tail)) / EXACT_UP_TO) * text.length);
}

/** Tokens that a chat format puts around each message, and before the answer. Source: OpenAI's cookbook, "How to count tokens". */
export const TOKENS_PER_MESSAGE = 3;
export const TOKENS_BEFORE_ANSWER = 3;
/** A high-detail picture of ordinary size, in OpenAI's tiles; pictures are never opened here. */
export const TOKENS_PER_IMAGE = 1_105;
