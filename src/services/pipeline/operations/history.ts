import { countEach, TOKENS_BEFORE_ANSWER, TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE } from '../../../lib/token-estimate';
import type { Message } from '../../../domain/conversation';
import type { ChatInput, MessageInput } from '../../../domain/chat';

/** Characters that the model reads of a message. */
const textOf = (message: MessageInput): string =>
  [
    message.content ?? '',
    ...(message.parts ?? []).map((part) => part.text ?? ''),
    ...(message.toolCalls ?? []).map((call) => call.name + call.arguments),
  ].join('');
const imagesOf = (message: MessageInput): number => message.parts?.filter((part) => part.imageUrl != null).length ?? 0;

const toolsText = (input: ChatInput): string =>
  (input.tools?.length ? JSON.stringify(input.tools) : '') +
  (input.responseFormat?.schema ? JSON.stringify(input.responseFormat.schema) : '');

/** Tokens of a prompt by the local tokenizer: an estimate for models of other makers. */
export function countPromptTokens(messages: readonly MessageInput[], input: ChatInput): number {
  return countMessages(messages, input).reduce((sum, n) => sum + n, 0);
}
/** Tokens of each message, and last those of everything around them. */
function countMessages(messages: readonly MessageInput[], input: ChatInput): number[] {
  const counts = countEach([...messages.map(textOf), toolsText(input)]);
  return counts.map(
    (tokens, i) =>
      tokens +
      (i < messages.length ? TOKENS_PER_MESSAGE + imagesOf(messages[i]!) * TOKENS_PER_IMAGE : TOKENS_BEFORE_ANSWER),
  );
}

/** A quick guess, a token for every four characters: for the row of a running call, where nothing is decided by it. */
export function guessPromptTokens(messages: readonly MessageInput[], input: ChatInput): number {
  const characters = messages.reduce((sum, message) => sum + textOf(message).length, toolsText(input).length);
  return (
    Math.ceil(characters / 4) +
    messages.reduce((sum, message) => sum + imagesOf(message) * TOKENS_PER_IMAGE + TOKENS_PER_MESSAGE, 0)
  );
}

/** No tokenizer makes more tokens than there are bytes. */
function cannotExceed(messages: readonly MessageInput[], input: ChatInput, limit: number): boolean {
  const bytes = messages.reduce(
    (sum, message) =>
      sum + Buffer.byteLength(textOf(message)) + imagesOf(message) * TOKENS_PER_IMAGE + TOKENS_PER_MESSAGE,
    0,
  );
  return bytes + Buffer.byteLength(toolsText(input)) <= limit;
}

export interface FittedHistory {
  history: MessageInput[];
  /** Stored messages that were left out. */
  omitted: number;
  /** Estimated tokens of the prompt with the messages that were left out; null: none were. */
  askedTokens: number | null;
  /** Counted only where it could matter. */
  tooLong: { countedTokens: number; allowedTokens: number } | null;
}

/**
 * The stored messages that go before the new ones. Where prompt and answer together exceed the context, the oldest
 * turns are left out: a turn is a question with everything up to the next one, so that no tool result loses its call.
 * System messages always stay.
 */
export function fitHistory(
  stored: readonly Message[],
  input: ChatInput,
  contextWindow: number | null,
  maxTokens: number,
): FittedHistory {
  const history = stored.filter(isSendable).map(mapStored);
  // A model whose whole context is smaller than the answer's bound still gets a prompt.
  const room = contextWindow === null ? null : Math.max(contextWindow - maxTokens, Math.floor(contextWindow / 4));
  const all = [...history, ...input.messages];
  if (room === null || cannotExceed(all, input, room)) return { history, omitted: 0, askedTokens: null, tooLong: null };

  const counts = countMessages(all, input);
  let total = counts.reduce((sum, n) => sum + n, 0);
  const kept = history.map(() => true);
  let omitted = 0;
  for (let i = 0; total > room && i < history.length;) {
    const start = i;
    do i += 1;
    while (i < history.length && history[i]!.role !== 'USER');
    for (let k = start; k < i; k += 1) {
      if (history[k]!.role === 'SYSTEM') continue;
      kept[k] = false;
      omitted += 1;
      total -= counts[k]!;
    }
  }
  const tooLong = total > contextWindow! ? { countedTokens: total, allowedTokens: contextWindow! } : null;
  return {
    history: history.filter((_, i) => kept[i]),
    omitted,
    askedTokens: omitted > 0 ? guessPromptTokens(all, input) : null,
    tooLong,
  };
}

/** An answer that was cut before it said anything would be refused by most providers. */
const isSendable = (message: Message): boolean =>
  message.role !== 'ASSISTANT' || Boolean(message.content) || message.toolCalls.length > 0;

const mapStored = (message: Message): MessageInput => ({
  role: message.role,
  content: message.parts.length ? null : message.content,
  parts: message.parts.length ? message.parts : null,
  toolCalls: message.toolCalls.length ? message.toolCalls : null,
  toolCallId: message.toolCallId,
  name: message.name,
});
