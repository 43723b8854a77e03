import { TextBuffer } from '../../lib/text-buffer';
import { countEach } from '../../lib/token-estimate';
import type { Piece } from './operation';

/**
 * What a stream may have beyond its `max_tokens` by our count before it is cut. For text that our vocabulary knows well
 * others differ by
 * 20 % or so (lib/token-estimate), and counting in blocks adds a little: a quarter, and 64 for the short ones, whose
 * ends weigh more.
 */
export const fuseLimit = (maxTokens: number): number => Math.ceil(maxTokens * 1.25) + 64;
/**
 * Text of scripts that our vocabulary hardly knows takes a token or two for each letter, and half of that or less in
 * others: the fuse counts no more than a token for so many letters.
 */
const LETTERS_A_TOKEN = 2;
/** A tool call has an id and marks around it that are in no text. */
const TOKENS_OF_TOOL_CALL = 4;

/**
 * Characters that are counted together: a millisecond at most for most text. Shorter answers are counted only where
 * they come near the limit, …
 */
const BLOCK = 8 * 1024;
/** … and then in steps of so many characters at least: by so much, and by one piece, a stream goes beyond the limit. */
const SMALLEST_STEP = 256;
/** Milliseconds between two words about the progress. */
const PROGRESS_MS = 1_000;

export interface StreamMeterOptions {
  maxTokens: number;
  /** Once: the stream has far more than was asked for and held. `tokens` by our count. */
  onRunaway(counted: { tokens: number; limit: number }): void;
  /** At most once a second, while pieces come; null: nobody asked, and nothing is computed for it. */
  onProgress: ((counted: { output: number; reasoning: number }) => void) | null;
  now?: () => number;
}

/**
 * Counts what a stream produces, as little as will do: to cut off a provider that does not keep to `max_tokens`, which
 * is what was held at the budgets; and to tell how far the stream is.
 */
export class StreamMeter {
  private readonly limit: number;
  private readonly now: () => number;
  private readonly output = new TextBuffer();
  private readonly reasoning = new TextBuffer();
  private outputTokens = 0;
  private reasoningTokens = 0;
  /** For the fuse: what no vocabulary counts much lower. */
  private certain = 0;
  private toldAt: number | null = null;
  private isOver = false;

  constructor(private readonly options: StreamMeterOptions) {
    this.limit = fuseLimit(options.maxTokens);
    this.now = options.now ?? (() => performance.now());
  }

  piece(piece: Piece): void {
    if (this.isOver) return;
    if (piece.kind === 'ReasoningDelta') this.reasoning.add(piece.text);
    else if (piece.kind === 'TextDelta') this.output.add(piece.text);
    else {
      if (piece.name) this.output.add(piece.name);
      if (piece.toolCallId || piece.name) this.certain += TOKENS_OF_TOOL_CALL;
      this.output.add(piece.arguments);
    }
    const uncounted = this.output.length + this.reasoning.length;
    const mayBeOver = uncounted >= SMALLEST_STEP && this.certain + uncounted / LETTERS_A_TOKEN > this.limit;
    if (mayBeOver || uncounted >= BLOCK) this.count();
    if (this.certain > this.limit) {
      this.isOver = true;
      this.options.onRunaway({ tokens: Math.round(this.certain), limit: this.limit });
    } else if (this.options.onProgress) this.tell(this.options.onProgress);
  }

  private tell(onProgress: NonNullable<StreamMeterOptions['onProgress']>): void {
    const now = this.now();
    this.toldAt ??= now;
    if (now - this.toldAt < PROGRESS_MS) return;
    this.toldAt = now;
    this.count();
    onProgress({ output: this.outputTokens, reasoning: this.reasoningTokens });
  }

  private count(): void {
    const texts = [this.output.take(), this.reasoning.take()] as const;
    const [output, reasoning] = countEach(texts) as [number, number];
    this.outputTokens += output;
    this.reasoningTokens += reasoning;
    this.certain +=
      Math.min(output, texts[0].length / LETTERS_A_TOKEN) + Math.min(reasoning, texts[1].length / LETTERS_A_TOKEN);
  }
}
