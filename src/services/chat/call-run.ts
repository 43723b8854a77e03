import type { Logger } from '../../lib/logger';
import { UpstreamError } from '../litellm/map-error';
import type { ModelUpstream } from '../litellm/upstream.types';
import type { Checkpoints } from '../ledger/checkpoints';
import type { CatalogSnapshot } from '../model/model.types';
import type { RunningCall } from '../running-calls';
import type { Viewer } from '../viewer/viewer.types';
import type { HeldCall } from './4-hold';
import { complete, type CallerKeys } from './5-complete';
import { settle, type EndState, type SettleDeps } from './7-settle';
import { Answer, type Piece } from './answer';
import type { ChatReply, Refusal, StopReason } from './chat.types';
import { mapRefusal } from './refusals';
import { outcomeOf } from './stored-outcome';

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
  totalMs: number;
}

/** One call from its hold to its end: asks the upstream, can be stopped from anywhere, ends exactly once and is then settled. */
export class CallRun implements RunningCall {
  readonly done: Promise<boolean>;
  readonly outcome: Promise<CallOutcome>;
  private readonly abort = new AbortController();
  private stopReason: StopReason | null = null;

  constructor(
    private readonly call: HeldCall,
    private readonly deps: CallRunDeps,
    /** Shows what comes. */
    stream: { add(piece: Piece): void } | null = null,
  ) {
    const checkpoint = call.streamed ? deps.checkpoints.begin(call.id) : null;
    const answer: Answer = new Answer((piece) => {
      stream?.add(piece);
      checkpoint?.piece(piece);
    }, (head) => checkpoint?.head(head.servedModel, head.deployment));
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

  stop(reason: StopReason): void {
    this.stopReason ??= reason;
    this.abort.abort();
  }

  private async run(answer: Answer, onEnd: () => void): Promise<CallOutcome> {
    const { call, deps } = this;
    const deadline = setTimeout(() => this.stop('DEADLINE'), deps.totalMs);
    let error: UpstreamError | null;
    try {
      error = await complete(call, answer, deps.upstream, deps.keys, deps.totalMs, this.abort.signal);
    } finally {
      clearTimeout(deadline);
      onEnd();
    }
    // A whole answer that did not come in time is a time-out; a stream that was cut there has something to show.
    if (error?.kind === 'ABORTED' && this.stopReason === 'DEADLINE' && answer.isEmpty) error = new UpstreamError('TIMEOUT', `no answer within ${deps.totalMs} ms`, { retryable: true });
    const refusal = error && error.kind !== 'ABORTED' ? this.refuse(error, answer) : null;
    const end: EndState = { status: refusal ? 'FAILED' : error ? 'STOPPED' : 'COMPLETED', errorCode: refusal?.code ?? null, refusal, stopReason: this.stopReason, hungUp: error?.kind === 'ABORTED' || error?.kind === 'TIMEOUT' };
    const reply = await settle(call, answer, end, deps.settle);
    this.log(reply, error);
    return outcomeOf(reply, refusal, this.stopReason);
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
