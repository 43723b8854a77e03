import { AppError } from '../../errors';
import type { RunningCall, RunningRegister } from '../../domain/running-call';
import type { StopReason } from '../../domain/call';
import { inTime } from '../../lib/timeout';

/** The register of what runs here, so that it can be stopped from elsewhere and awaited before the process ends. */
export class RunningCalls implements RunningRegister {
  private readonly calls = new Map<string, RunningCall>();
  /** Calls that are being written down: they run in a moment, or never. */
  private readonly beginning = new Set<Promise<unknown>>();
  private accepting = true;
  /** The deadline has passed: what still comes is stopped at once. */
  private stopping = false;
  private unbooked = 0;

  get size(): number {
    return this.calls.size;
  }

  /** Whether the server is shutting down. */
  get isDraining(): boolean {
    return !this.accepting;
  }

  /** Throws SERVICE_UNAVAILABLE once the server is shutting down. */
  assertAccepting(): void {
    if (!this.accepting)
      throw new AppError('SERVICE_UNAVAILABLE', {
        public: 'The server is shutting down: repeat the request.',
        retryAfterMs: 1_000,
      });
  }

  /**
   * Runs what writes a call down and adds it here: the end of the server waits for it. Throws SERVICE_UNAVAILABLE once
   * the server is shutting down.
   */
  async begin<T>(work: () => Promise<T>): Promise<T> {
    this.assertAccepting();
    const begun = work();
    this.beginning.add(begun);
    try {
      return await begun;
    } finally {
      this.beginning.delete(begun);
    }
  }

  add(call: RunningCall): void {
    this.calls.set(call.callId, call);
    if (this.stopping) call.stop('DEPLOY');
    void call.done.then((booked) => {
      this.calls.delete(call.callId);
      if (!booked) this.unbooked += 1;
    });
  }

  find(callId: string): RunningCall | null {
    return this.calls.get(callId) ?? null;
  }

  /** The streams that run here. */
  streams(): RunningCall[] {
    return [...this.calls.values()].filter((call) => call.streamed);
  }

  /** Stops what matches and gives how many that were. */
  stopWhere(match: (call: RunningCall) => boolean, reason: StopReason): number {
    const matching = [...this.calls.values()].filter(match);
    for (const call of matching) call.stop(reason);
    return matching.length;
  }

  /**
   * No new calls; those that run may finish until the deadline, then they are stopped. Resolves when every one has
   * ended: how many of them could not be booked.
   */
  async drain(deadlineMs: number): Promise<number> {
    this.accepting = false;
    this.unbooked = 0;
    const finished = this.finished();
    await inTime(finished, deadlineMs);
    this.stopping = true;
    this.stopWhere(() => true, 'DEPLOY');
    await finished;
    return this.unbooked;
  }

  /** Looks again after each round: a call that was being written down joins late. */
  private async finished(): Promise<void> {
    while (this.calls.size + this.beginning.size > 0)
      await Promise.allSettled([...[...this.calls.values()].map((call) => call.done), ...this.beginning]);
  }
}
