import type { ChatInput, MessageInput } from '../../../domain/chat';
import type { CatalogModel } from '../../../domain/model';
import { countEach } from '../../../lib/token-estimate';
import { bareName, imageTokensAtMost, isOpenAi } from './image-tokens';

/**
 * What chat formats put around a message, a part of one, or a tool call: three or four tokens at OpenAI, a little more
 * elsewhere.
 */
const TOKENS_AROUND = 8;
/** Around the definition of a tool, where it is written in another form than its JSON. */
const TOKENS_AROUND_TOOL = 32;
/**
 * Anthropic's own prompt for tools is 159 to 804 tokens, by model and tool choice. A wanted JSON answer, or tool calls
 * in the history, can become tools on the way there.
 */
const TOOL_PROMPT = 1_000;

/**
 * Bytes of all texts together up to which they are tokenized: 500 take 0.07 ms, 2,000 of prose 0.25 and of gibberish 1,
 * on the one event loop and before every call. Longer prompts count as their bytes, which takes 0.03 ms for 16,000.
 */
const COUNTED_BYTES = 2_000;
/** Long words are counted as bytes: cut into pieces, as the tokenizer needs them, they are an estimate and no bound. */
const LONG_RUN = /\S{100,}|\s{100,}/g;

/**
 * The models of OpenAI's own list for o200k. Any other name, and any other provider, may have a vocabulary that makes
 * more tokens of the same text. The name is believed: where an operator gives it to another model, too little may be
 * held, and the rest is overage.
 */
const O200K = /^(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o1|o3|o4-mini)(-|$)/;
const readsO200k = (model: CatalogModel): boolean => isOpenAi(model) && O200K.test(bareName(model.id));

type Models = ReadonlyMap<string, CatalogModel>;

/**
 * The most prompt tokens that a call can be charged for, by a model or one of its fallbacks: what depends on the prompt
 * alone is computed once, and the same prompt has the same bound, always. Should the proxy serve by yet another model
 * (`x-litellm-model-group`), the call is booked in full, and what exceeds its reservation is overage.
 */
export class PromptBound {
  private readonly texts: string[] = [];
  private around = TOKENS_AROUND;
  private images = 0;
  private bytes: number | null = null;
  private counted: number | null = null;

  /** `messages`: all that are sent, history included; `input`: for its tools and the form of its answer. */
  constructor(messages: readonly MessageInput[], input: Pick<ChatInput, 'tools' | 'responseFormat'>) {
    let tools = Boolean(input.tools?.length) || (input.responseFormat != null && input.responseFormat.type !== 'TEXT');
    for (const message of messages) {
      this.around += TOKENS_AROUND;
      this.read(message.content, message.name, message.toolCallId);
      for (const part of message.parts ?? []) {
        this.around += TOKENS_AROUND;
        if (part.imageUrl != null) this.images += 1;
        else this.read(part.text);
      }
      for (const call of message.toolCalls ?? []) {
        tools = true;
        this.around += TOKENS_AROUND;
        this.read(call.toolCallId, call.name, call.arguments);
      }
      if (message.role === 'TOOL') tools = true;
    }
    if (tools) this.around += TOOL_PROMPT;
    // Every provider writes schemas in a form of its own, with more marks than JSON here and there: never fewer bytes
    // than tokens.
    for (const tool of input.tools ?? []) this.around += TOKENS_AROUND_TOOL + bytesOf(JSON.stringify(tool));
    if (input.responseFormat?.schema != null)
      this.around += TOKENS_AROUND_TOOL + bytesOf(JSON.stringify(input.responseFormat));
  }

  /**
   * For the model and its fallbacks, which `models` describes: one that it does not have counts as unknown. Tokenizes,
   * where that says less than the bytes.
   */
  tokensFor(model: CatalogModel, models?: Models): number {
    const all = [model, ...model.fallbacks.map((id) => models?.get(id) ?? null)];
    const known = all.every((one) => one !== null && readsO200k(one));
    return this.beside(all) + (known ? this.tokens() : this.utf8());
  }

  /** The same without the tokenizer: never less than `tokensFor`, and several times as much for prose. */
  bytesFor(model: CatalogModel, models?: Models): number {
    return this.beside([model, ...model.fallbacks.map((id) => models?.get(id) ?? null)]) + this.utf8();
  }

  /** What is sent beside the texts. */
  private beside(all: readonly (CatalogModel | null)[]): number {
    const image = this.images === 0 ? 0 : Math.max(...all.map((one) => imageTokensAtMost(one ?? UNKNOWN)));
    return this.around + this.images * image;
  }

  private read(...texts: (string | null | undefined)[]): void {
    for (const text of texts) if (text) this.texts.push(text);
  }

  /** No tokenizer makes more tokens than there are bytes. */
  private utf8(): number {
    return (this.bytes ??= this.texts.reduce((sum, text) => sum + bytesOf(text), 0));
  }

  private tokens(): number {
    return (this.counted ??=
      this.utf8() > COUNTED_BYTES ? this.utf8() : Math.min(this.utf8(), countAtMost(this.texts)));
  }
}

/** What is not in the catalogue: nothing is known of it. */
const UNKNOWN = { id: '', provider: null };

/**
 * Some vocabularies are applied to the text in its compatibility form, in which one letter of three bytes can be
 * eighteen letters.
 */
function bytesOf(text: string): number {
  const bytes = Buffer.byteLength(text);
  return bytes === text.length ? bytes : Math.max(bytes, Buffer.byteLength(text.normalize('NFKC')));
}

function countAtMost(texts: readonly string[]): number {
  const pieces: string[] = [];
  let long = 0;
  for (const text of texts) {
    const runs = text.match(LONG_RUN);
    if (runs) pieces.push(...text.split(LONG_RUN));
    else pieces.push(text);
    // Two more: the tokens of its neighbours that end where it begins and begin where it ends.
    for (const run of runs ?? []) long += Buffer.byteLength(run) + 2;
  }
  return countEach(pieces).reduce((sum, n) => sum + n, long);
}
