import { createHash } from 'node:crypto';
import type { RouteFlag, Scenario, Settlement } from '../../../domain/call';
import type { CatalogModel } from '../../../domain/model';
import { reviveCall, type FinishReason, type ReplyBase } from '../../../domain/outcome';
import { badInput } from '../../../errors';
import { countEach } from '../../../lib/token-estimate';
import { UpstreamError } from '../../upstream/errors';
import type { UpstreamBody, UpstreamHead, UpstreamUsage } from '../../upstream/upstream';
import type { CallRequest, Collector, CollectorHooks, Fitted, Material, Operation, Prompt } from '../operation';

/** Texts whose vectors are asked for. */
export interface EmbeddingInput {
  model?: string | null;
  scenario: Scenario;
  agent?: string | null;
  projectId?: string | null;
  traceId?: string | null;
  idempotencyKey?: string | null;
  texts: string[];
  dimensions?: number | null;
}

export interface EmbeddingReply extends ReplyBase {
  kind: 'EmbeddingReply';
  /** One vector for each text, in their order. */
  vectors: number[][];
}

const MAX_TEXTS = 2_048;
/** Around a text: its beginning and its end. */
const TOKENS_AROUND_TEXT = 2;

/** Texts in, vectors out: it is never streamed, and it writes no tokens. The constructor throws BAD_USER_INPUT. */
export class EmbeddingOperation implements Operation<EmbeddingReply> {
  readonly kind = 'EMBEDDING';
  readonly metricName = 'embeddings';
  readonly mode = 'EMBEDDING';
  readonly modelNoun = 'an embedding model';
  readonly request: CallRequest;
  readonly flags: RouteFlag[];

  constructor(private readonly input: EmbeddingInput) {
    if (input.texts.length === 0) throw badInput('input', 'at least one text');
    if (input.texts.length > MAX_TEXTS) throw badInput('input', `at most ${MAX_TEXTS} texts`);
    input.texts.forEach((text, index) => {
      if (text === '') throw badInput(`input[${index}]`, 'may not be empty');
    });
    this.flags = input.model == null ? [] : ['explicit'];
    this.request = {
      model: input.model ?? null,
      scenario: input.scenario,
      agent: input.agent ?? null,
      projectId: input.projectId ?? null,
      traceId: input.traceId ?? null,
      reasoningEffort: null,
      idempotencyKey: input.idempotencyKey ?? null,
      onDisconnect: 'GRACE',
      progress: false,
    };
  }

  inputHash(): string {
    const { model = null, projectId = null, texts, dimensions = null } = this.input;
    return createHash('sha256')
      .update(JSON.stringify([model, projectId, texts, dimensions]))
      .digest('hex');
  }

  async load(): Promise<Material<EmbeddingReply>> {
    const prompt = new EmbeddingPrompt(this.input);
    return { conversation: null, maxTokens: () => 0, fit: (model) => prompt.fit(model) };
  }

  revive(reply: EmbeddingReply): EmbeddingReply {
    return { ...reply, call: reviveCall(reply.call) };
  }
}

class EmbeddingPrompt implements Prompt<EmbeddingReply> {
  readonly path = '/embeddings';
  readonly omittedMessages = 0;
  readonly askedTokens = null;
  readonly question = null;

  constructor(private readonly input: EmbeddingInput) {}

  get estimatedTokens(): number {
    return Math.ceil(this.input.texts.reduce((sum, text) => sum + text.length, 0) / 4);
  }

  /** No text may be longer than the context; each has one of its own. */
  fit(model: CatalogModel): Fitted<EmbeddingReply> {
    const allowed = model.contextWindow;
    const suspects = allowed === null ? [] : this.input.texts.filter((text) => Buffer.byteLength(text) > allowed);
    const countedTokens = Math.max(0, ...countEach(suspects));
    if (allowed === null || countedTokens <= allowed) return { kind: 'FITS', prompt: this };
    return { kind: 'TOO_LONG', countedTokens, allowedTokens: allowed };
  }

  /** No tokenizer makes more tokens than there are bytes. */
  bytesBound(): number {
    return this.input.texts.reduce((sum, text) => sum + Buffer.byteLength(text) + TOKENS_AROUND_TEXT, 0);
  }

  tokensBound(): number {
    return this.bytesBound();
  }

  countTokens(): number {
    return countEach(this.input.texts).reduce((sum, tokens) => sum + tokens + TOKENS_AROUND_TEXT, 0);
  }

  needs(): [] {
    return [];
  }

  body(model: string): UpstreamBody {
    const { texts, dimensions } = this.input;
    const size = dimensions == null ? {} : { dimensions };
    return Object.assign({ model }, { input: texts, encoding_format: 'float' }, size);
  }

  collect(hooks: CollectorHooks): Vectors {
    return new Vectors(hooks, this.input.texts.length);
  }
}

/** Collects the vectors of a whole answer. */
class Vectors implements Collector<EmbeddingReply> {
  wasAsked = false;
  headSeen: UpstreamHead | null = null;
  usageSeen: UpstreamUsage | null = null;
  finishReason: FinishReason | null = null;
  firstPieceAt: number | null = null;
  readonly texts = ['', ''] as const;
  private vectors: number[][] = [];

  constructor(
    private readonly hooks: CollectorHooks,
    private readonly wanted: number,
  ) {}

  get isEmpty(): boolean {
    return this.vectors.length === 0;
  }

  asked(): void {
    this.wasAsked = true;
  }
  head(head: UpstreamHead): void {
    this.headSeen = head;
    this.hooks.onHead(head);
  }
  /** Throws UpstreamError for an answer that has not one vector for each text. */
  body(answer: Record<string, unknown>): void {
    const data = Array.isArray(answer.data) ? (answer.data as { index?: number; embedding?: unknown }[]) : [];
    const found = new Map(data.map(({ index, embedding }, position) => [index ?? position, embedding]));
    const vectors = Array.from({ length: this.wanted }, (_, index) => found.get(index));
    if (!vectors.every(isVector)) {
      throw new UpstreamError('FAILED', `the upstream gave ${data.length} vectors for ${this.wanted} texts`, {
        retryable: true,
      });
    }
    this.vectors = vectors;
    this.firstPieceAt = performance.now();
    this.finishReason = 'STOP';
  }
  usage(usage: UpstreamUsage): void {
    this.usageSeen = usage;
  }

  stored(): Settlement['answer'] {
    return null;
  }
  reply(base: ReplyBase): EmbeddingReply {
    return { kind: 'EmbeddingReply', ...base, vectors: this.vectors };
  }

  named(): void {}
  text(): void {}
  reasoning(): void {}
  toolCall(): void {}
  finish(): void {}
}

const isVector = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((part) => typeof part === 'number');
