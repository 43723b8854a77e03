import type { CallName, StopReason } from '../../domain/call';
import type { CatalogSnapshot } from '../../domain/model';
import { outcomeOf, type CallOutcome, type ReplyBase } from '../../domain/outcome';
import type { Viewer } from '../../domain/principal';
import type { Refusal } from '../../domain/refusal';
import type { RunningCall } from '../../domain/running-call';
import type { StreamEvent, Unnumbered } from '../../domain/stream-events';
import type { Logger } from '../../lib/logger';
import type { Metrics } from '../../lib/metrics';
import type { PieceLog } from '../streams/piece-log';
import { UpstreamError } from '../upstream/errors';
import type { UpstreamHead } from '../upstream/upstream';
import type { AdmittedCall } from './5-admit';
import { send } from './6-send';
import { settle, type EndState, type SettleDeps } from './7-settle';
import { countCall } from './call-metrics';
import type { Collector, Piece } from './operation';
import { progressCost } from './progress-cost';
import { mapRefusal } from './refusals';
import { StreamMeter } from './stream-meter';

/** What is written down of a running stream. */
export interface Checkpoint {
  head(servedModel: string | null, deployment: string | null): void;
  /** Nothing more is written. */
  end(): void;
}

export interface CallRunDeps {
  settle: SettleDeps;
  catalog: { snapshot(): CatalogSnapshot };
  /** What a stream has produced is written down while it runs. */
  checkpoints: { begin(call: CallName, log: PieceLog): Checkpoint };
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
type StreamProgress = Extract<StreamEvent, { kind: 'StreamProgress' }>;

/**
 * One call from its admission to its end: asks the upstream, can be stopped from anywhere, ends exactly once and is
 * then settled.
 */
export class CallRun<R extends ReplyBase = ReplyBase> implements RunningCall {
  readonly done: Promise<boolean>;
  readonly outcome: Promise<CallOutcome<R>>;
  private readonly abort = new AbortController();
  private stopReason: StopReason | null = null;
  /** The upstream has ended, by itself. */
  private answered = false;

  constructor(
    private readonly call: AdmittedCall<R>,
    private readonly deps: CallRunDeps,
    /** Shows what comes. */
    stream: ShownStream | null = null,
  ) {
    const name = { organizationId: call.caller.viewer.organizationId, id: call.id };
    const checkpoint = stream && deps.checkpoints.begin(name, stream.log);
    const meter = stream && this.meter(stream, () => answer.headSeen);
    const answer: Collector<R> = call.prompt.collect({
      callId: call.id,
      onPiece: (piece) => {
        stream?.add(piece);
        meter?.piece(piece);
      },
      onHead: (head) => checkpoint?.head(head.servedModel, head.deployment),
      behind: () => stream?.behind() ?? null,
      isServed: (model) => deps.settle.modelOf(model) !== null,
    });
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
    return this.call.caller.viewer;
  }
  get streamed(): boolean {
    return this.call.streamed;
  }

  /** true: this stop, or an earlier one, ends the call. false: it has been answered, and is being settled. */
  stop(reason: StopReason): boolean {
    if (this.answered) return false;
    this.stopReason ??= reason;
    this.abort.abort();
    return true;
  }

  private async run(answer: Collector<R>, onEnd: () => void): Promise<CallOutcome<R>> {
    const { call, deps } = this;
    const deadline = setTimeout(() => this.stop('DEADLINE'), deps.totalMs);
    let error: UpstreamError | null;
    const askedAt = performance.now();
    try {
      error = await send(call, answer, deps, this.abort.signal);
      this.answered = error?.kind !== 'ABORTED';
    } finally {
      clearTimeout(deadline);
      onEnd();
    }
    // A whole answer that did not come in time is a time-out; a stream that was cut there has something to show.
    if (error?.kind === 'ABORTED' && this.stopReason === 'DEADLINE' && answer.firstPieceAt === null) {
      error = new UpstreamError('TIMEOUT', `no answer within ${deps.totalMs} ms`, { retryable: true });
    }
    const refusal = error && error.kind !== 'ABORTED' ? this.refuse(error, answer) : null;
    const { stopReason } = this;
    const end: EndState = {
      status: refusal ? 'FAILED' : error ? 'STOPPED' : 'COMPLETED',
      errorCode: refusal?.code ?? null,
      refusal,
      stopReason,
      hungUp: error?.kind === 'ABORTED' || error?.kind === 'TIMEOUT',
      refused: error?.kind === 'INVALID_REQUEST',
    };
    const endedAt = performance.now();
    const reply = await settle(call, answer, end, deps.settle);
    deps.metrics.stepSeconds.observe({ phase: 'settlement' }, (performance.now() - endedAt) / 1_000);
    // The client waits for the reply, not for its log line and metrics.
    setImmediate(() => {
      this.log(reply, error);
      countCall(deps.metrics, { name: call.operation.metricName, call: reply.call, answer, error, askedAt, endedAt });
    });
    return outcomeOf(reply, { isEmpty: answer.isEmpty, refusal, stopReason });
  }

  private meter(stream: ShownStream, head: () => UpstreamHead | null): StreamMeter {
    const { call, deps } = this;
    const { maxTokens, model, context } = call;
    const cost = call.operation.request.progress ? progressCost(call, deps.settle.prices) : null;
    return new StreamMeter({
      maxTokens,
      onRunaway: ({ tokens, limit }) => {
        const line = {
          requestId: context.requestId,
          callId: call.id,
          model: model.id,
          servedModel: head()?.servedModel ?? null,
        };
        deps.logger.warn(
          { ...line, maxTokens, tokens, limit },
          'a stream was cut: the provider has not kept to max_tokens',
        );
        this.stop('BUDGET');
      },
      onProgress:
        cost &&
        (({ output, reasoning }) =>
          stream.add({
            kind: 'StreamProgress',
            completionTokens: output + reasoning,
            estimatedCost: cost({ output, reasoning }, head()),
          })),
    });
  }

  private refuse(error: UpstreamError, answer: Collector<R>): Refusal {
    const { id, model, caller, operation, upstream } = this.call;
    return mapRefusal(error, {
      model,
      mode: operation.mode,
      plan: caller.plan,
      catalog: this.deps.catalog.snapshot(),
      upstream: upstream.kind,
      attempts: answer.headSeen?.attempts ?? 1,
      callId: id,
    });
  }

  private log({ call }: R, error: UpstreamError | null): void {
    const { id: callId, traceId, userId, model, servedModel, status, latencyMs, usageSource } = call;
    const { requestId } = this.call.context;
    const line = { requestId, callId, traceId, userId, model, servedModel, status, latencyMs, usageSource };
    if (!error || error.kind === 'ABORTED') return this.deps.logger.info(line, 'call ended');
    this.deps.logger.warn(
      { ...line, upstreamError: error.kind, upstreamStatus: error.status, err: error },
      'call failed',
    );
  }
}
