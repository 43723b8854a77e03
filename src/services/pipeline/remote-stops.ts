import { Listener } from '../../database/listener';
import { AppError } from '../../errors';
import { Coalesced } from '../../lib/coalesced';
import type { Logger } from '../../lib/logger';
import type { RunningCalls } from './running-calls';
import { STOPS_CHANNEL, type LedgerStore } from '../ledger/ledger.store';
import type { CallName, StopReason } from '../../domain/call';

/** How often an owner looks for requests without being told. Milliseconds. */
const LOOK_EVERY_MS = 1_000;
/** How long one is waited for, and how often its end is looked for. Milliseconds. */
const WAIT_MS = 5_000;
const ASK_EVERY_MS = 100;

export interface RemoteStopsDeps {
  databaseUrl: string;
  store: Pick<LedgerStore, 'requestStop' | 'requestedStops' | 'isInFlight'>;
  running: Pick<RunningCalls, 'find' | 'size'>;
  owner: string;
  logger: Logger;
  /** Milliseconds between looks without a notification. Default 1 s. */
  lookEveryMs?: number;
  /** Milliseconds until a lost connection is made anew. Default 1 s. */
  reconnectMs?: number;
}

/**
 * Stops that cross replicas: a request is written into the call's row, once, and the process that runs the call is
 * notified. One connection per process listens; what it misses is found by looking every second, because what is wanted
 * is asked of the table and not of the notification.
 */
export class RemoteStops {
  private readonly listener: Listener;
  private timer: NodeJS.Timeout | undefined;
  /** What fails is found by the next look. */
  private readonly looks: Coalesced;

  constructor(private readonly deps: RemoteStopsDeps) {
    const { databaseUrl, owner, logger, reconnectMs } = deps;
    this.looks = new Coalesced(
      () => this.stopAsked(),
      (error) => logger.warn({ err: error }, 'stop requests could not be read'),
    );
    this.listener = new Listener({
      databaseUrl,
      applicationName: 'weir-stops',
      channel: STOPS_CHANNEL,
      reconnectMs,
      onNotification: (wanted) => {
        if (wanted === owner) void this.looks.run();
      },
      onListening: () => this.looks.run(),
      onLost: (error) => logger.warn({ err: error }, 'the connection that listens for stops was lost'),
      onRefused: (error) =>
        logger.warn(
          { err: error },
          'stop notifications cannot be received: stops from other replicas are delayed by up to a second',
        ),
    });
  }

  async start(): Promise<void> {
    this.timer = setInterval(() => {
      if (this.deps.running.size === 0) return;
      void this.listener.check();
      void this.looks.run();
    }, this.deps.lookEveryMs ?? LOOK_EVERY_MS).unref();
    await this.listener.start();
  }

  async stopLooking(): Promise<void> {
    const looked = this.looks.stop();
    clearInterval(this.timer);
    await this.listener.stop();
    await looked;
  }

  /**
   * Has a call of another process stopped, and waits for its end. false: it had ended before. Throws
   * SERVICE_UNAVAILABLE when its process does not react.
   */
  async stop(call: CallName, reason: StopReason): Promise<boolean> {
    const { store } = this.deps;
    if (!(await store.requestStop(call, reason))) return false;
    for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += ASK_EVERY_MS) {
      if (!(await store.isInFlight(call))) return true;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
    throw new AppError('SERVICE_UNAVAILABLE', {
      public: 'The server that runs this stream does not answer; it is asked to stop it.',
      retryAfterMs: 5_000,
    });
  }

  private async stopAsked(): Promise<void> {
    for (const { id, reason } of await this.deps.store.requestedStops(this.deps.owner))
      this.deps.running.find(id)?.stop(reason);
  }
}
