import type { OperationKind, Question, RouteFlag, Scenario, Settlement } from '../../domain/call';
import type { Conversation } from '../../domain/conversation';
import type { CatalogModel, ModelCapability, ModelMode } from '../../domain/model';
import type { FinishReason, ReplyBase } from '../../domain/outcome';
import type { Plan } from '../../domain/plan';
import type { Viewer } from '../../domain/principal';
import type { DeltaEvent, DisconnectPolicy, Unnumbered } from '../../domain/stream-events';
import type { UpstreamBody, UpstreamHead, UpstreamSink, UpstreamUsage } from '../upstream/upstream';

/** What every request says, whatever it asks for; validated. */
export interface CallRequest {
  /** null: the configured default, else the plan's. */
  model: string | null;
  scenario: Scenario;
  agent: string | null;
  projectId: string | null;
  traceId: string | null;
  reasoningEffort: string | null;
  idempotencyKey: string | null;
  /** Streams: what the going of the last viewer means. */
  onDisconnect: DisconnectPolicy;
  /** Streams: whether their progress is told, at most once a second. */
  progress: boolean;
}

/**
 * One request of a kind. All that differs between kinds of calls is here and in what it gives: the pipeline knows
 * nothing of messages or of vectors.
 */
export interface Operation<R extends ReplyBase = ReplyBase> {
  readonly kind: OperationKind;
  /** As OpenTelemetry names it (`gen_ai.operation.name`). */
  readonly metricName: string;
  /** The models that can do it, and what they are called in a sentence. */
  readonly mode: ModelMode;
  readonly modelNoun: string;
  readonly request: CallRequest;
  /** What the choice of a model depends on. */
  readonly flags: readonly RouteFlag[];
  /** SHA-256 in hex of everything that decides the answer. */
  inputHash(): string;
  /** Reads what the request continues, before anything is decided. Throws NOT_FOUND. */
  load(viewer: Viewer): Promise<Material<R>>;
  /** Gives a stored reply its dates back. */
  revive(reply: R): R;
}

/** All that could be sent, before a model is chosen. */
export interface Material<R extends ReplyBase> {
  /** What the call belongs to; null: nothing. */
  readonly conversation: Conversation | null;
  /** The most tokens that the answer may have; 0: it has none. Throws BAD_USER_INPUT for more than the plan allows. */
  maxTokens(plan: Plan, model: CatalogModel): number;
  /** What goes to a model, with room for so many tokens of its answer. */
  fit(model: CatalogModel, maxTokens: number): Fitted<R>;
}
export type Fitted<R extends ReplyBase> =
  { kind: 'FITS'; prompt: Prompt<R> } | { kind: 'TOO_LONG'; countedTokens: number; allowedTokens: number };

type Models = ReadonlyMap<string, CatalogModel>;

/** What is sent to a model, and how its answer is collected. */
export interface Prompt<R extends ReplyBase = ReplyBase> {
  /** Stored messages that were left out, and the estimated tokens of the prompt with them; null: nothing was. */
  readonly omittedMessages: number;
  readonly askedTokens: number | null;
  /** A quick guess of its tokens, by which nothing is decided. */
  readonly estimatedTokens: number;
  /** Stored with the admission. */
  readonly question: Question | null;
  /** Below the upstream's base URL. */
  readonly path: string;
  /**
   * The most prompt tokens that the model or one of its fallbacks can charge: by bytes, and by counting where that says
   * less.
   */
  bytesBound(model: CatalogModel, models?: Models): number;
  tokensBound(model: CatalogModel, models?: Models): number;
  /** Its tokens by the local tokenizer: an estimate. */
  countTokens(): number;
  /** What it uses of what the model is said to be able to do. */
  needs(model: CatalogModel): ModelCapability[];
  body(model: string, maxTokens: number, streamed: boolean): UpstreamBody;
  collect(hooks: CollectorHooks): Collector<R>;
}

/** One step of an answer, as it goes into a stream's log. */
export type Piece = Unnumbered<DeltaEvent>;

export interface CollectorHooks {
  callId: string;
  onPiece(piece: Piece): void;
  onHead(head: UpstreamHead): void;
  /** See UpstreamSink. */
  behind(): Promise<void> | null;
  /** Whether the proxy serves a model of that name. */
  isServed(model: string): boolean;
}

/** An answer, while it comes and when it has come. */
export interface Collector<R extends ReplyBase> extends UpstreamSink {
  /** The request has gone out. */
  readonly wasAsked: boolean;
  readonly headSeen: UpstreamHead | null;
  readonly usageSeen: UpstreamUsage | null;
  readonly finishReason: FinishReason | null;
  /** performance.now() of the first piece; null: nothing has come. */
  readonly firstPieceAt: number | null;
  /** What it wrote, visible and reasoning: counted where the provider does not say. */
  readonly texts: readonly [output: string, reasoning: string];
  /** Nothing is in it that could be shown. */
  readonly isEmpty: boolean;
  /** What is stored of it beside the question; null: nothing. */
  stored(isComplete: boolean): Settlement['answer'];
  reply(base: ReplyBase, settlement: Settlement): R;
}
