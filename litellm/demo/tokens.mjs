// The demonstration provider's count of tokens. Simple on purpose and the same every time; no real model counts like this.
import { createHash } from 'node:crypto';

/** Tokens of an image, whatever its size. */
export const IMAGE_TOKENS = 85;
/** Tokens that each message costs beside its text. */
const MESSAGE_TOKENS = 3;
/** A shorter common beginning is not worth a cache. Tokens. */
const MIN_CACHED_TOKENS = 64;
/** Beginnings of conversations that are remembered. */
const MAX_CACHED_PREFIXES = 5_000;

/** A token is up to six letters or digits, or one other character, with the white space before it. Joined, they give the text again. */
export const tokensOf = (text) => text.match(/\s*(?:[\p{L}\p{N}]{1,6}|[^\s\p{L}\p{N}])|\s+$/gu) ?? [];
export const countTokens = (text) => tokensOf(text).length;

/** A message's content is a text or a list of parts. */
export const partsOf = ({ content }) => (typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? []));
export const textOf = (message) => partsOf(message).map(({ text }) => text ?? '').join('');
export const imagesIn = (messages) => messages.flatMap(partsOf).filter(({ type }) => type === 'image_url').length;

export function countMessage(message) {
  const calls = message.tool_calls ? countTokens(JSON.stringify(message.tool_calls)) : 0;
  return MESSAGE_TOKENS + countTokens(textOf(message)) + imagesIn([message]) * IMAGE_TOKENS + calls;
}

/** Remembers beginnings of conversations, as providers do, so that later turns have cached tokens. */
export class PromptCache {
  #seen = new Set();

  /** Gives { total, cached } in tokens and remembers this prompt. The last message is never cached: it is what is new. */
  count({ model, messages, tools }) {
    let total = tools ? countTokens(JSON.stringify(tools)) : 0;
    let cached = 0;
    const hash = createHash('sha256').update(JSON.stringify([model, tools ?? null]));
    messages.forEach((message, i) => {
      total += countMessage(message);
      hash.update(JSON.stringify(message));
      const prefix = hash.copy().digest('base64');
      if (i < messages.length - 1 && total >= MIN_CACHED_TOKENS && this.#seen.has(prefix)) cached = total;
      this.#remember(prefix);
    });
    return { total, cached };
  }

  #remember(prefix) {
    this.#seen.delete(prefix);
    this.#seen.add(prefix);
    if (this.#seen.size > MAX_CACHED_PREFIXES) this.#seen.delete(this.#seen.values().next().value);
  }
}
