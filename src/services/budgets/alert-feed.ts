import { ALERTS_CHANNEL } from '../../database/alert-notice';
import { Listener } from '../../database/listener';
import { Coalesced } from '../../lib/coalesced';
import type { Logger } from '../../lib/logger';
import type { AlertStore } from './alert.store';
import { AlertSubscription } from './alert-subscription';
import type { Looker } from './budget.rule';
import type { BudgetAlert } from '../../domain/budget';

export interface AlertFeedDeps {
  databaseUrl: string;
  store: AlertStore;
  logger: Logger;
  /** Milliseconds between looks without a notification. Default 5 s. */
  pollMs?: number;
  /** Milliseconds until a lost connection is made anew. Default 1 s. */
  reconnectMs?: number;
}

/** Alerts that are read at once. */
const BATCH = 500;

/**
 * Brings the alerts of all replicas to the subscribers of this one. One connection per process listens; whatever it
 * misses (it was cut, a notification was lost) is found by looking every few seconds, because what is new is asked of
 * the table and not of the notification.
 */
export class AlertFeed {
  private readonly subscriptions = new Set<AlertSubscription>();
  /** Everything until here has been handed out. */
  private last = new Date(0);
  private readonly listener: Listener;
  /** What fails is found by the next look. */
  private readonly looks: Coalesced;
  private poll: NodeJS.Timeout | undefined;

  constructor(private readonly deps: AlertFeedDeps) {
    const { databaseUrl, logger, reconnectMs } = deps;
    this.looks = new Coalesced(
      () => this.handOut(),
      (error) => logger.warn({ err: error }, 'budget alerts could not be read'),
    );
    this.listener = new Listener({
      databaseUrl,
      applicationName: 'weir-alerts',
      channel: ALERTS_CHANNEL,
      reconnectMs,
      onNotification: () => void this.looks.run(),
      onListening: () => this.looks.run(),
      onLost: (error) => logger.warn({ err: error }, 'the connection that listens for budget alerts was lost'),
      onRefused: (error) =>
        logger.warn(
          { err: error },
          'budget alert notifications cannot be received: alerts are delayed by some seconds',
        ),
    });
  }

  async start(): Promise<void> {
    this.last = (await this.deps.store.newest()) ?? this.last;
    this.poll = setInterval(() => {
      void this.listener.check();
      void this.looks.run();
    }, this.deps.pollMs ?? 5_000).unref();
    await this.listener.start();
  }

  async stop(): Promise<void> {
    const looked = this.looks.stop();
    clearInterval(this.poll);
    await this.listener.stop();
    await looked;
  }

  /** The alerts that a user may see: those after a time, then what comes; null: only what comes. Ends by `return()`. */
  subscribe(userId: string, after: Date | null): AsyncIterableIterator<BudgetAlert> {
    return new AlertSubscription(
      {
        store: this.deps.store,
        handedOut: () => this.last,
        onStart: (subscription) => this.subscriptions.add(subscription),
        onEnd: (subscription) => this.subscriptions.delete(subscription),
      },
      userId,
      after,
    ).events;
  }

  /** null for an alert that the looker may not see. */
  find(looker: Looker, id: string): Promise<BudgetAlert | null> {
    return this.deps.store.find(looker, id);
  }

  /** How many listen now. */
  get size(): number {
    return this.subscriptions.size;
  }

  /** Hands out what is new. Gives whether there is more. */
  private async handOut(): Promise<boolean> {
    const alerts = await this.deps.store.after(this.last, BATCH);
    if (alerts.length === 0) return false;
    const lookers =
      this.subscriptions.size > 0
        ? await this.deps.store.lookers([...new Set([...this.subscriptions].map(({ userId }) => userId))])
        : new Map();
    // From here to the end without a pause: a subscription that begins sees either the time before or the one after.
    this.last = alerts.at(-1)!.at;
    for (const subscription of this.subscriptions) subscription.offer(alerts, lookers.get(subscription.userId));
    return alerts.length === BATCH;
  }
}
