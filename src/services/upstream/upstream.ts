import type { Door, OperationKind } from '../../domain/call';
import type { TokenBuckets } from '../../domain/money';

/** What is sent: JSON with the model in it. */
export interface UpstreamBody {
  model: string;
  stream?: boolean | null;
}

/**
 * Kept by the proxy beside its spend record: whose call it was, so that it can be attributed where this database has no
 * row of it any more. What a call does not have is left out.
 */
export interface SpendMetadata {
  weir: {
    installation: string;
    call: string;
    org: string;
    user: string;
    project?: string;
    token?: string;
    operation: OperationKind;
    door: Door;
    scenario: string;
  };
  trace_id: string;
}

export interface UpstreamRequest {
  callId: string;
  /** The caller's virtual key, or the upstream's own key; null: none. */
  apiKey: string | null;
  /** Below the upstream's base URL: `/chat/completions`. */
  path: string;
  body: UpstreamBody;
  metadata: SpendMetadata;
  /** How long the whole call may take. Milliseconds. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** What the upstream says of itself before the answer. */
export interface UpstreamHead {
  /** The alias that serves, after a fallback another one than was asked for; null: not told. */
  servedModel: string | null;
  /** The proxy's deployment id. */
  deployment: string | null;
  /** Tries that the proxy made, fallbacks included. */
  attempts: number;
  /** Dollars as the proxy computed them, decimal text; null: not told, or no price. */
  cost: string | null;
  /** The proxy has answered from its response cache: no provider was asked, and nothing is charged. */
  fromCache: boolean;
}

export interface UpstreamUsage {
  tokens: TokenBuckets;
  /** false: the proxy counted by itself, because the provider did not say. */
  fromProvider: boolean;
  /** As it came. */
  raw: Record<string, unknown>;
  cost: string | null;
  /** The provider's service tier that the call had; null: its usual one, or not told. */
  serviceTier: string | null;
}

/**
 * Receives an answer piece by piece; a whole answer comes as few large pieces. Nothing is called after the promise of
 * `run` settled.
 */
export interface UpstreamSink {
  /** The request goes out now: from here on a provider may be working on it. */
  asked(): void;
  head(head: UpstreamHead): void;
  /** Of a stream through a proxy: a part names a model, for the first time or another one than the part before. */
  named(model: string): void;
  text(text: string): void;
  reasoning(text: string): void;
  toolCall(index: number, toolCallId: string | null, name: string | null, argumentsText: string): void;
  /** The provider's own word. */
  finish(reason: string): void;
  usage(usage: UpstreamUsage): void;
  /**
   * Takes a whole answer as the upstream's JSON. Where it is there, none of the pieces above is told, but its usage.
   */
  body?(answer: Record<string, unknown>): void;
  /** Of a stream: a promise while more has come than can be kept; nothing is read until it resolves. */
  behind?(): Promise<void> | null;
}

/** The one way to a model. Rejects with UpstreamError, also when the signal aborts. */
export interface ModelUpstream {
  readonly kind: 'LITELLM' | 'DIRECT';
  run(request: UpstreamRequest, sink: UpstreamSink): Promise<void>;
  close(): Promise<void>;
}
