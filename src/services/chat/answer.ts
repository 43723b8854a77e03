import { TextBuffer } from '../../lib/text-buffer';
import type { ToolCall } from '../conversation/conversation.types';
import type { UpstreamHead, UpstreamSink, UpstreamUsage } from '../litellm/upstream.types';
import type { FinishReason } from './chat.types';

/** One step of an answer, as it goes into a stream's log. */
export type Piece =
  | { kind: 'TextDelta'; text: string }
  | { kind: 'ReasoningDelta'; text: string }
  | { kind: 'ToolCallDelta'; index: number; toolCallId: string | null; name: string | null; arguments: string };

const FINISH: ReadonlyMap<unknown, FinishReason> = new Map<string, FinishReason>([
  ['stop', 'STOP'], ['end_turn', 'STOP'], ['length', 'LENGTH'], ['max_tokens', 'LENGTH'], ['tool_calls', 'TOOL_CALLS'], ['function_call', 'TOOL_CALLS'], ['content_filter', 'CONTENT_FILTER'],
]);

/** Collects an answer while it comes, and hands every piece on at once. */
export class Answer implements UpstreamSink {
  wasAsked = false;
  headSeen: UpstreamHead | null = null;
  usageSeen: UpstreamUsage | null = null;
  finishReason: FinishReason | null = null;
  /** performance.now() of the first piece. */
  firstPieceAt: number | null = null;
  /** A part of the stream has named the model of its head: what its parts name are the proxy's own names. */
  private namesHead = false;
  private readonly texts = new TextBuffer();
  private readonly reasonings = new TextBuffer();
  private readonly calls: { toolCallId: string; name: string; arguments: TextBuffer }[] = [];

  constructor(
    private readonly onPiece: (piece: Piece) => void = () => undefined,
    private readonly onHead: (head: UpstreamHead) => void = () => undefined,
    /** See UpstreamSink. */
    readonly behind: () => Promise<void> | null = () => null,
    /** Whether the proxy serves a model of that name. */
    private readonly isServed: (model: string) => boolean = () => false,
  ) {}

  get content(): string {
    return this.texts.toString();
  }
  get reasoningText(): string {
    return this.reasonings.toString();
  }
  get toolCalls(): ToolCall[] {
    return this.calls.filter(Boolean).map((call) => ({ toolCallId: call.toolCallId, name: call.name, arguments: call.arguments.toString() }));
  }
  get isEmpty(): boolean {
    return this.firstPieceAt === null;
  }

  asked(): void {
    this.wasAsked = true;
  }
  /** After a retry nothing of the first try may be left; a retry happens before the first piece only. */
  head(head: UpstreamHead): void {
    this.headSeen = head;
    this.namesHead = false;
    this.onHead(head);
  }
  /**
   * When a provider breaks off before its first word, the proxy goes on with a fallback: the headers, which are out by
   * then, name the first model, and the parts of the stream the one that really answers. Of its deployment, its cost
   * and where it comes from nothing is said. A name counts only where the stream has used the proxy's name of the model
   * before: else it may be a provider's own, which another model of the proxy can have by chance.
   */
  named(model: string): void {
    const head = this.headSeen;
    if (model === head?.servedModel) this.namesHead = true;
    else if (head && this.namesHead && this.isServed(model)) {
      const next = { servedModel: model, deployment: null, attempts: head.attempts + 1, cost: null, fromCache: false };
      this.headSeen = next;
      this.onHead(next);
    }
  }
  text(text: string): void {
    this.texts.add(text);
    this.piece({ kind: 'TextDelta', text });
  }
  reasoning(text: string): void {
    this.reasonings.add(text);
    this.piece({ kind: 'ReasoningDelta', text });
  }
  toolCall(index: number, toolCallId: string | null, name: string | null, argumentsText: string): void {
    // An index out of any proportion would make an array of holes.
    if (!Number.isInteger(index) || index < 0 || index > 1_000) return;
    // Nothing is in it, and nothing begins with it.
    if (!toolCallId && !name && !argumentsText && this.calls[index]) return;
    const isNew = !this.calls[index];
    const call = (this.calls[index] ??= { toolCallId: '', name: '', arguments: new TextBuffer() });
    // Some providers say these with every delta, and some a new id each time: what was said first counts, and only the first delta has it.
    const idToTell = call.toolCallId ? null : toolCallId || null;
    const nameToTell = call.name ? null : name || null;
    call.toolCallId ||= toolCallId ?? '';
    call.name ||= name ?? '';
    call.arguments.add(argumentsText);
    if (isNew || idToTell || nameToTell || argumentsText) this.piece({ kind: 'ToolCallDelta', index, toolCallId: idToTell, name: nameToTell, arguments: argumentsText });
  }
  /** Said twice, the later one counts, unless it is the plain one: some providers say so once more at the very end. */
  finish(reason: string): void {
    const said = FINISH.get(reason) ?? 'OTHER';
    if (this.finishReason === null || said !== 'STOP') this.finishReason = said;
  }
  /** Sent twice, the later one counts: it is the total. */
  usage(usage: UpstreamUsage): void {
    this.usageSeen = usage;
  }

  private piece(piece: Piece): void {
    this.firstPieceAt ??= performance.now();
    this.onPiece(piece);
  }
}
