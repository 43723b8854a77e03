import { AbortableIterator, type Sink } from '../../lib/abortable-iterator';
import { seesBudget, type Looker } from './budget.rule';
import type { AlertStore } from './alert.store';
import type { OwnedAlert } from './budget-row.store';
import type { BudgetAlert } from '../../domain/budget';

/**
 * Alerts of one page of the past, and those that may wait for a slow client: beyond that they are read from the table
 * again when it has taken those.
 */
const PAGE = 100;

export interface SubscriptionDeps {
  store: Pick<AlertStore, 'page' | 'lookers'>;
  /** The time of the newest alert that the feed has handed out. */
  handedOut(): Date;
  onStart(subscription: AlertSubscription): void;
  onEnd(subscription: AlertSubscription): void;
}

/**
 * One client's alerts, in their order and each once. It is live, and takes what the feed offers; or behind, and reads
 * the table from where it stands until it has come up to the feed. It begins behind where it has something to catch up
 * with, and falls behind where its client is slow.
 */
export class AlertSubscription {
  readonly events: AbortableIterator<BudgetAlert>;
  private sink: Sink<BudgetAlert> | null = null;
  private live = false;
  private reading = false;
  /** The time of the last alert that was looked at. */
  private seen: Date;

  constructor(
    private readonly deps: SubscriptionDeps,
    readonly userId: string,
    /** null: from now on. */
    private readonly after: Date | null,
  ) {
    this.seen = after ?? new Date(0);
    this.events = new AbortableIterator<BudgetAlert>({
      start: (sink) => this.start(sink),
      onLeave: () => deps.onEnd(this),
      onDrain: () => void (this.live || this.catchUp()),
    });
  }

  /** New alerts, oldest first. `looker`: the user as it is now; undefined where nobody has looked. */
  offer(alerts: readonly OwnedAlert[], looker: Looker | undefined): void {
    if (!this.live) return;
    // Without an await, so that nothing comes in between.
    if (!looker || this.sink!.waiting + alerts.length > PAGE) return this.fallBehind();
    for (const alert of alerts) {
      if (alert.at <= this.seen) continue;
      this.seen = alert.at;
      if (seesBudget(looker, alert)) this.sink!.push(alert);
    }
  }

  private start(sink: Sink<BudgetAlert>): void {
    this.sink = sink;
    this.deps.onStart(this);
    if (this.after === null) {
      this.seen = this.deps.handedOut();
      this.live = true;
    } else void this.catchUp();
  }

  private fallBehind(): void {
    this.live = false;
    if (this.sink!.waiting === 0) void this.catchUp();
  }

  private async catchUp(): Promise<void> {
    if (this.reading) return;
    this.reading = true;
    try {
      // What waits is taken first: then `onDrain` goes on.
      while (this.sink!.waiting === 0 && !this.live) {
        const looker = (await this.deps.store.lookers([this.userId])).get(this.userId);
        // Somebody who was blocked or deleted: whoever holds the connection ends it.
        if (!looker) return;
        const { alerts, upTo } = await this.deps.store.page(looker, this.seen, PAGE);
        for (const alert of alerts) this.sink!.push(alert);
        this.seen = alerts.length === PAGE ? alerts.at(-1)!.at : upTo;
        // Else the feed has handed out more in the meantime.
        this.live = alerts.length < PAGE && this.deps.handedOut() <= this.seen;
      }
    } catch (error) {
      this.deps.onEnd(this);
      this.sink!.fail(error);
    } finally {
      this.reading = false;
    }
  }
}
