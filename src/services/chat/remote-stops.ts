import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import type { RunningCalls } from '../running-calls';
import type { CallStore } from './call.store';
import type { StopReason } from './chat.types';

/** How often an owner looks for requests, and how long one is waited for. Milliseconds. */
const LOOK_EVERY_MS = 1_000;
const WAIT_MS = 5_000;
const ASK_EVERY_MS = 100;

/** Stops that cross replicas: a request is written into the call's row, and the process that runs the call looks for such rows. */
export class RemoteStops {
  private timer: NodeJS.Timeout | null = null;
  private looking: Promise<void> | null = null;

  constructor(private readonly deps: { store: CallStore; running: RunningCalls; owner: string; logger: Logger }) {}

  start(): void {
    this.timer = setInterval(() => {
      if (this.deps.running.size > 0) this.looking ??= this.look().finally(() => (this.looking = null));
    }, LOOK_EVERY_MS).unref();
  }

  async stopLooking(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await this.looking;
  }

  /** Has a call of another process stopped, and waits for its end. false: it had ended before. Throws SERVICE_UNAVAILABLE when its process does not react. */
  async stop(callId: string, reason: StopReason): Promise<boolean> {
    const { store } = this.deps;
    if (!(await store.requestStop(callId, reason))) return false;
    for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += ASK_EVERY_MS) {
      if (!(await store.isInFlight(callId))) return true;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
    throw new AppError('SERVICE_UNAVAILABLE', { public: 'The server that runs this stream does not answer; it is asked to stop it.', retryAfterMs: 5_000 });
  }

  private async look(): Promise<void> {
    try {
      for (const { id, reason } of await this.deps.store.requestedStops(this.deps.owner)) this.deps.running.find(id)?.stop(reason);
    } catch (error) {
      this.deps.logger.warn({ err: error }, 'requests to stop calls could not be looked for');
    }
  }
}
