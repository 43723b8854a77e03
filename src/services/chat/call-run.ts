import type { Logger } from '../../lib/logger';
import type { Metrics } from '../../lib/metrics';
import { UpstreamError } from '../litellm/map-error';
import type { ModelUpstream, UpstreamHead } from '../litellm/upstream.types';
import type { Checkpoints } from '../ledger/checkpoints';
import type { CatalogSnapshot } from '../model/model.types';
import type { RunningCall } from '../running-calls';
import type { PieceLog } from '../streams/piece-log';
import type { Unnumbered } from '../streams/stream.types';
import type { Viewer } from '../viewer/viewer.types';
import type { HeldCall } from './4-hold';
import { complete, type CallerKeys } from './5-complete';
import { settle, type EndState, type SettleDeps } from './7-settle';
import { Answer, type Piece } from './answer';
import { countCall } from './call-metrics';
import type { ChatEvent, ChatReply, Refusal, StopReason } from './chat.types';
import { progressCost } from './progress-cost';
import { mapRefusal } from './refusals';
import { outcomeOf } from './stored-outcome';
import { StreamMeter } from './stream-meter';

export type CallOutcome =
  | { status: 'COMPLETED'; reply: ChatReply }
  | { status: 'STOPPED'; reply: ChatReply; reason: StopReason }
  /** `partial` is null when nothing came. */
  | { status: 'FAILED'; refusal: Refusal; partial: ChatReply | null };

export interface CallRunDeps {
  upstream: ModelUpstream;
  keys: CallerKeys;
  settle: SettleDeps;
  catalog: { snapshot(): CatalogSnapshot };
  /** What a stream has produced is written down while it runs. */
  checkpoints: Pick<Checkpoints, 'begin'>;
  logger: Logger;
  metrics: Metrics;
  totalMs: number;
  /** The id of this database: what the proxy keeps of a call names it. */
  installation: string;
}

/** Where a stream's pieces go. */
export interface ShownStream {
  add(event: Piece | Unnumbered<StreamProgress>): void;
  /** A promise while it cannot show what came. */
  behind(): Promise<void> | null;
  readonly log: PieceLog;
}
type StreamProgress = Extract<ChatEvent, { kind: 'StreamProgress' }>;

/** One call from its hold to its end: asks the upstream, can be stopped from anywhere, ends exactly once and is then settled. */
export class CallRun implements RunningCall {
  readonly done: Promise<boolean>;
  readonly outcome: Promise<CallOutcome>;
  private readonly abort = new AbortController();
  private stopReason: StopReason | null = null;
  /** The upstream has ended, by itself. */
  private answered = false;

  constructor(
    private readonly call: HeldCall,
    private readonly deps: CallRunDeps,
    /** Shows what comes. */
    stream: ShownStream | null = null,
  ) {
    const checkpoint = stream && deps.checkpoints.begin({ organizationId: call.principal.viewer.organizationId, id: call.id }, stream.log);
    const meter = stream && this.meter(stream, () => answer.headSeen);
    const answer: Answer = new Answer(
      (piece) => {
        stream?.add(piece);
        meter?.piece(piece);
      },
      (head) => checkpoint?.head(head.servedModel, head.deployment),
      () => stream?.behind() ?? null,
      (model) => deps.settle.modelOf(model) !== null,
    );
    this.outcome = this.run(answer, () => checkpoint?.end());
    this.done = this.outcome.then(
      () => true,
      () => false,
    );
  }

  get callId(): string {
    return this.call.id;
  }
  get viewer(): Viewer {
    return this.call.principal.viewer;
  }
  get streamed(): boolean {
    return this.call.streamed;
  }

  /** Gives whether the call ends by it, or by an earlier stop: false while what it had answered is booked. */
  stop(reason: StopReason): boolean {
    if (this.answered) return false;
    this.stopReason ??= reason;
    this.abort.abort();
    return true;
  }

  private async run(answer: Answer, onEnd: () => void): Promise<CallOutcome> {
    const { call, deps } = this;
    const deadline = setTimeout(() => this.stop('DEADLINE'), deps.totalMs);
    let error: UpstreamError | null;
    const askedAt = performance.now();
    try {
      error = await complete(call, answer, deps, this.abort.signal);
      this.answered = error?.kind !== 'ABORTED';
    } finally {
      clearTimeout(deadline);
      onEnd();
    }
    // A whole answer that did not come in time is a time-out; a stream that was cut there has something to show.
    if (error?.kind === 'ABORTED' && this.stopReason === 'DEADLINE' && answer.isEmpty) error = new UpstreamError('TIMEOUT', `no answer within ${deps.totalMs} ms`, { retryable: true });
    const refusal = error && error.kind !== 'ABORTED' ? this.refuse(error, answer) : null;
    const end: EndState = {
      status: refusal ? 'FAILED' : error ? 'STOPPED' : 'COMPLETED', errorCode: refusal?.code ?? null, refusal, stopReason: this.stopReason,
      hungUp: error?.kind === 'ABORTED' || error?.kind === 'TIMEOUT', refused: error?.kind === 'INVALID_REQUEST',
    };
    const endedAt = performance.now();
    const reply = await settle(call, answer, end, deps.settle);
    deps.metrics.stepSeconds.observe({ phase: 'settlement' }, (performance.now() - endedAt) / 1_000);
    // The client waits for the reply, not for its log line and metrics.
    setImmediate(() => {
      this.log(reply, error);
      countCall(deps.metrics, reply.call, answer, error, { askedAt, endedAt });
    });
    return outcomeOf(reply, refusal, this.stopReason);
  }

  private meter(stream: ShownStream, head: () => UpstreamHead | null): StreamMeter {
    const { call, deps } = this;
    const { maxTokens, model, context } = call;
    const cost = call.input.progress ? progressCost(call, deps.settle.prices) : null;
    return new StreamMeter({
      maxTokens,
      onRunaway: ({ tokens, limit }) => {
        deps.logger.warn({ requestId: context.requestId, callId: call.id, model: model.id, servedModel: head()?.servedModel ?? null, maxTokens, tokens, limit }, 'a stream was cut: the provider has not kept to max_tokens');
        this.stop('BUDGET');
      },
      onProgress: cost && (({ output, reasoning }) => stream.add({ kind: 'StreamProgress', completionTokens: output + reasoning, estimatedCost: cost({ output, reasoning }, head()) })),
    });
  }

  private refuse(error: UpstreamError, answer: Answer): Refusal {
    const { id, model, principal, upstream } = this.call;
    return mapRefusal(error, { model, plan: principal.plan, catalog: this.deps.catalog.snapshot(), upstream, attempts: answer.headSeen?.attempts ?? 1, callId: id });
  }

  private log(reply: ChatReply, error: UpstreamError | null): void {
    const { call } = reply;
    const line = { requestId: this.call.context.requestId, callId: call.id, traceId: call.traceId, userId: call.userId, model: call.model, servedModel: call.servedModel, status: call.status, latencyMs: call.latencyMs, usageSource: call.usageSource };
    if (error && error.kind !== 'ABORTED') this.deps.logger.warn({ ...line, upstreamError: error.kind, upstreamStatus: error.status, err: error }, 'call failed');
    else this.deps.logger.info(line, 'call ended');
  }
}
