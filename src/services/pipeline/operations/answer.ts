import { TextBuffer } from '../../../lib/text-buffer';
import type { Settlement } from '../../../domain/call';
import type { Conversation, Message, ToolCall } from '../../../domain/conversation';
import type { ChatReply, FinishReason, ReplyBase } from '../../../domain/outcome';
import { newId } from '../../../lib/ids';
import type { UpstreamHead, UpstreamUsage } from '../../upstream/upstream';
import type { Collector, CollectorHooks, Piece } from '../operation';

const FINISH: ReadonlyMap<unknown, FinishReason> = new Map<string, FinishReason>([
  ['stop', 'STOP'],
  ['end_turn', 'STOP'],
  ['length', 'LENGTH'],
  ['max_tokens', 'LENGTH'],
  ['tool_calls', 'TOOL_CALLS'],
  ['function_call', 'TOOL_CALLS'],
  ['content_filter', 'CONTENT_FILTER'],
]);

/** What the answer belongs to. */
export interface AnswerPlace {
  conversation: Conversation | null;
  /** The last stored message of the question; null: nothing is stored. */
  questionId: string | null;
}

/** Collects an answer while it comes, and hands every piece on at once. */
export class Answer implements Collector<ChatReply> {
  wasAsked = false;
  headSeen: UpstreamHead | null = null;
  usageSeen: UpstreamUsage | null = null;
  finishReason: FinishReason | null = null;
  firstPieceAt: number | null = null;
  readonly behind: () => Promise<void> | null;
  private readonly id = newId('message');
  /** A part of the stream has named the model of its head: what its parts name are the proxy's own names. */
  private namesHead = false;
  private readonly visible = new TextBuffer();
  private readonly reasonings = new TextBuffer();
  private readonly calls: { toolCallId: string; name: string; arguments: TextBuffer }[] = [];

  constructor(
    private readonly hooks: CollectorHooks,
    private readonly place: AnswerPlace = { conversation: null, questionId: null },
  ) {
    this.behind = hooks.behind;
  }

  get content(): string {
    return this.visible.toString();
  }
  get reasoningText(): string {
    return this.reasonings.toString();
  }
  get toolCalls(): ToolCall[] {
    return this.calls
      .filter(Boolean)
      .map((call) => ({ toolCallId: call.toolCallId, name: call.name, arguments: call.arguments.toString() }));
  }
  get texts(): [string, string] {
    return [this.content + this.toolCalls.map((call) => call.name + call.arguments).join(''), this.reasoningText];
  }
  get isEmpty(): boolean {
    return !this.content && !this.reasoningText && this.toolCalls.length === 0;
  }

  stored(isComplete: boolean): Settlement['answer'] {
    const { questionId } = this.place;
    return questionId === null ? null : { ...this.message(), parts: null, questionId, complete: isComplete };
  }

  reply(base: ReplyBase, settlement: Settlement): ChatReply {
    const { conversation } = this.place;
    const answer: Message = {
      ...this.message(),
      conversationId: settlement.conversationId,
      parts: [],
      createdAt: new Date(),
      complete: settlement.status === 'COMPLETED',
      superseded: false,
      callId: settlement.id,
    };
    const { omittedMessages } = settlement;
    const finishReason = settlement.finishReason as FinishReason;
    return { kind: 'ChatReply', ...base, answer, finishReason, conversation, omittedMessages };
  }

  private message(): Pick<Message, 'id' | 'content' | 'reasoning' | 'toolCalls' | 'toolCallId' | 'name'> & {
    role: 'ASSISTANT';
  } {
    return {
      id: this.id,
      role: 'ASSISTANT',
      content: this.content || null,
      reasoning: this.reasoningText || null,
      toolCalls: this.toolCalls,
      toolCallId: null,
      name: null,
    };
  }

  asked(): void {
    this.wasAsked = true;
  }
  /** After a retry nothing of the first try may be left; a retry happens before the first piece only. */
  head(head: UpstreamHead): void {
    this.headSeen = head;
    this.namesHead = false;
    this.hooks.onHead(head);
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
    else if (head && this.namesHead && this.hooks.isServed(model)) {
      const next = { servedModel: model, deployment: null, attempts: head.attempts + 1, cost: null, fromCache: false };
      this.headSeen = next;
      this.hooks.onHead(next);
    }
  }
  text(text: string): void {
    this.visible.add(text);
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
    // Some providers say these with every delta, and some a new id each time: what was said first counts, and only the
    // first delta has it.
    const idToTell = call.toolCallId ? null : toolCallId || null;
    const nameToTell = call.name ? null : name || null;
    call.toolCallId ||= toolCallId ?? '';
    call.name ||= name ?? '';
    call.arguments.add(argumentsText);
    if (isNew || idToTell || nameToTell || argumentsText)
      this.piece({ kind: 'ToolCallDelta', index, toolCallId: idToTell, name: nameToTell, arguments: argumentsText });
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
    this.hooks.onPiece(piece);
  }
}
