import type { Question, RouteFlag, StoredMessage } from '../../../domain/call';
import type { ChatInput, MessageInput } from '../../../domain/chat';
import type { Conversation, Message } from '../../../domain/conversation';
import type { CatalogModel, ModelCapability } from '../../../domain/model';
import { reviveChatReply, type ChatReply } from '../../../domain/outcome';
import type { Plan } from '../../../domain/plan';
import type { Viewer } from '../../../domain/principal';
import { badInput } from '../../../errors';
import { newId } from '../../../lib/ids';
import { completionBody } from '../../upstream/litellm/request-body';
import type { UpstreamBody } from '../../upstream/upstream';
import type { CallRequest, CollectorHooks, Fitted, Material, Operation, Prompt } from '../operation';
import { Answer } from './answer';
import { countPromptTokens, fitHistory, guessPromptTokens } from './history';
import { inputHash } from './input-hash';
import { PromptBound } from './prompt-bound';
import { validateChatInput } from './validate-chat';

/** The messages that a conversation has so far. */
export interface Branch {
  conversation: Conversation;
  messages: Message[];
  /** Ids of the branch that the call continues, from the first message on. */
  ids: string[];
  /** Messages that are too far back to be read. */
  omitted: number;
}
export interface ChatSources {
  /** Throws NOT_FOUND. */
  branch(viewer: Viewer, conversationId: string, afterMessageId: string | null): Promise<Branch>;
}

/** Tokens of an answer where neither the caller nor the plan says. */
const DEFAULT_MAX_TOKENS = 4_096;

/** Messages in, an answer out. The constructor throws BAD_USER_INPUT. */
export class ChatOperation implements Operation<ChatReply> {
  readonly kind = 'CHAT';
  readonly metricName = 'chat';
  readonly mode = 'CHAT';
  readonly modelNoun = 'a chat model';
  readonly request: CallRequest;
  readonly flags: RouteFlag[];

  constructor(
    private readonly input: ChatInput,
    private readonly sources: ChatSources,
  ) {
    validateChatInput(input);
    this.request = {
      model: input.model ?? null,
      scenario: input.scenario,
      agent: input.agent ?? null,
      projectId: input.projectId ?? null,
      traceId: input.traceId ?? null,
      reasoningEffort: input.reasoningEffort ?? null,
      idempotencyKey: input.idempotencyKey ?? null,
      onDisconnect: input.onDisconnect ?? 'GRACE',
      progress: input.progress ?? false,
    };
    this.flags = flagsOf(input);
  }

  inputHash(): string {
    return inputHash(this.input);
  }

  async load(viewer: Viewer): Promise<ChatMaterial> {
    const { conversationId, afterMessageId } = this.input;
    const branch = conversationId ? await this.sources.branch(viewer, conversationId, afterMessageId ?? null) : null;
    return new ChatMaterial(this.input, branch);
  }

  revive(reply: ChatReply): ChatReply {
    return reviveChatReply(reply);
  }
}

class ChatMaterial implements Material<ChatReply> {
  constructor(
    private readonly input: ChatInput,
    private readonly branch: Branch | null,
  ) {}

  get conversation(): Conversation | null {
    return this.branch?.conversation ?? null;
  }

  /** What was asked for, else the plan's limit, else 4096; never more than the model can. */
  maxTokens(plan: Plan, model: CatalogModel): number {
    const limit = plan.limits.maxOutputTokens;
    const asked = this.input.maxTokens ?? null;
    const isTooMuch = limit !== null && asked !== null && asked > limit;
    if (isTooMuch) throw badInput('maxTokens', `the plan ${plan.name} allows at most ${limit}`);
    const wanted = asked ?? limit ?? DEFAULT_MAX_TOKENS;
    return Math.min(wanted, model.maxOutputTokens ?? wanted);
  }

  fit(model: CatalogModel, maxTokens: number): Fitted<ChatReply> {
    const { input, branch } = this;
    const { history, omitted, askedTokens, tooLong } = fitHistory(
      branch?.messages ?? [],
      input,
      model.contextWindow,
      maxTokens,
    );
    if (tooLong) return { kind: 'TOO_LONG', ...tooLong };
    const omittedMessages = omitted + (branch?.omitted ?? 0);
    return { kind: 'FITS', prompt: new ChatPrompt(input, history, { branch, omittedMessages, askedTokens }) };
  }
}

interface PromptFacts {
  branch: Branch | null;
  omittedMessages: number;
  askedTokens: number | null;
}

/** The messages that are sent, history first. */
export class ChatPrompt implements Prompt<ChatReply> {
  readonly path = '/chat/completions';
  readonly omittedMessages: number;
  readonly askedTokens: number | null;
  readonly question: Question | null;
  private readonly messages: MessageInput[];
  private measured: PromptBound | null = null;
  private guessed: number | null = null;

  constructor(
    private readonly input: ChatInput,
    private readonly history: MessageInput[],
    private readonly facts: PromptFacts = { branch: null, omittedMessages: 0, askedTokens: null },
  ) {
    this.messages = [...history, ...input.messages];
    this.omittedMessages = facts.omittedMessages;
    this.askedTokens = facts.askedTokens;
    this.question = facts.branch && questionOf(facts.branch, input.messages);
  }

  get estimatedTokens(): number {
    return (this.guessed ??= guessPromptTokens(this.messages, this.input));
  }

  bytesBound(model: CatalogModel, models?: ReadonlyMap<string, CatalogModel>): number {
    return this.bound.bytesFor(model, models);
  }

  tokensBound(model: CatalogModel, models?: ReadonlyMap<string, CatalogModel>): number {
    return this.bound.tokensFor(model, models);
  }

  countTokens(): number {
    return countPromptTokens(this.messages, this.input);
  }

  /** Some upstreams say nothing of their models: then nothing is asked of the others either. */
  needs(model: CatalogModel): ModelCapability[] {
    const used: ModelCapability[] = [];
    if (this.input.tools?.length) used.push('TOOLS');
    if (this.input.responseFormat?.type === 'JSON_SCHEMA') used.push('STRUCTURED_OUTPUT');
    if (hasImages(this.messages)) used.push('VISION');
    return used.filter((capability) => model.capabilities.includes(capability));
  }

  body(model: string, maxTokens: number, streamed: boolean): UpstreamBody {
    return completionBody(this.input, model, this.history, maxTokens, streamed);
  }

  collect(hooks: CollectorHooks): Answer {
    const conversation = this.facts.branch?.conversation ?? null;
    return new Answer(hooks, { conversation, questionId: this.question?.messages.at(-1)?.id ?? null });
  }

  private get bound(): PromptBound {
    return (this.measured ??= new PromptBound(this.messages, this.input));
  }
}

const hasImages = (messages: readonly MessageInput[]): boolean =>
  messages.some((message) => message.parts?.some((part) => part.imageUrl != null));

function flagsOf(input: ChatInput): RouteFlag[] {
  const flags: RouteFlag[] = [];
  if (input.tools?.length) flags.push('tools');
  if (hasImages(input.messages)) flags.push('images');
  if (input.responseFormat?.type === 'JSON_SCHEMA') flags.push('schema');
  if (input.model != null) flags.push('explicit');
  return flags;
}

const questionOf = ({ conversation, ids }: Branch, messages: readonly MessageInput[]): Question => ({
  conversationId: conversation.id,
  parentId: ids.at(-1) ?? null,
  branchIds: ids,
  messages: messages.map(toStored),
});

const toStored = ({ role, content, parts, toolCalls, toolCallId, name }: MessageInput): StoredMessage => ({
  id: newId('message'),
  role,
  content: content ?? null,
  reasoning: null,
  parts: parts?.length ? parts.map(({ text, imageUrl, imageDetail }) => ({ text, imageUrl, imageDetail })) : null,
  toolCalls: toolCalls?.length
    ? toolCalls.map((call) => ({ toolCallId: call.toolCallId, name: call.name, arguments: call.arguments }))
    : null,
  toolCallId: toolCallId ?? null,
  name: name ?? null,
});
