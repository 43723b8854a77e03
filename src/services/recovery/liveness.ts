import type { Logger } from '../../lib/logger';
import type { OwnersStore } from './owners.store';

export interface LivenessDeps {
  store: Pick<OwnersStore, 'renew' | 'list' | 'declareDead' | 'leave' | 'forget'>;
  /** Names this process in the rows of its calls. */
  owner: string;
  logger: Logger;
  /** Milliseconds between two renewals, and between two looks at the others. */
  renewMs?: number;
  /**
   * An owner is dead when it has not renewed for so many milliseconds of our own unbroken contact with Postgres. The
   * same on all replicas.
   */
  deadAfterMs?: number;
  /** A monotonic clock in milliseconds. */
  now?: () => number;
}

/**
 * Says in the database that this process lives, and finds those that do not. No clock of another machine is compared,
 * nor the database's:
 * an owner is dead when its count of renewals stands still for `deadAfterMs` on our own monotonic clock, while we have
 * had Postgres all along.
 * A look that fails or is late ends the contact, and every observation with it: the first process back after an outage
 * must not declare those dead that were cut off as well, and have not had the same time to renew.
 */
export class Liveness {
  private readonly renewMs: number;
  private readonly deadAfterMs: number;
  private readonly now: () => number;
  private readonly seen = new Map<string, { renewals: string; sinceMs: number }>();
  private dead: string[] = [];
  private lastContactMs = -Infinity;
  private timer: NodeJS.Timeout | null = null;
  private looking: Promise<void> = Promise.resolve();
  private stopped = false;
  private readonly listeners: ((ids: string[]) => void)[] = [];

  constructor(private readonly deps: LivenessDeps) {
    this.deadAfterMs = deps.deadAfterMs ?? 30_000;
    // Whoever is given little time renews more often: several renewals must be missed before anybody is dead.
    this.renewMs = Math.min(deps.renewMs ?? 5_000, this.deadAfterMs / 6);
    this.now = deps.now ?? (() => performance.now());
  }

  /** Writes our row, before the first call does. A failure is told and tried again. */
  async start(): Promise<void> {
    await this.look();
    this.plan();
  }

  /** Removes our row, unless calls of ours are still in flight. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    await this.looking;
    await this.deps.store
      .leave(this.deps.owner)
      .catch((error: unknown) =>
        this.deps.logger.warn(
          { err: error },
          'the lease of this process could not be removed: other processes will declare it dead',
        ),
      );
  }

  /** Those whom anybody has declared dead, as of the last look. */
  deadOwners(): string[] {
    return this.dead;
  }

  /** Calls back with those whom this process has just declared dead. */
  onDeath(listener: (ids: string[]) => void): void {
    this.listeners.push(listener);
  }

  /** Renews, and looks at the others. Never throws. */
  async look(): Promise<void> {
    const begunMs = this.now();
    try {
      if (await this.deps.store.renew(this.deps.owner))
        this.deps.logger.warn(
          { owner: this.deps.owner },
          'other processes had declared this one dead: calls that they settled meanwhile are corrected when they end here',
        );
      const owners = await this.deps.store.list();
      const answeredMs = this.now();
      if (answeredMs - this.lastContactMs > 2 * this.renewMs) this.seen.clear();
      this.lastContactMs = answeredMs;

      const overdue = owners.filter(({ id, renewals, dead }) => {
        if (id === this.deps.owner || dead) return false;
        const before = this.seen.get(id);
        // From the moment when the count was certainly read, to one at which it certainly was not yet read again.
        if (before?.renewals === renewals) return begunMs - before.sinceMs >= this.deadAfterMs;
        this.seen.set(id, { renewals, sinceMs: answeredMs });
        return false;
      });
      const living = new Set(owners.filter(({ dead }) => !dead).map(({ id }) => id));
      for (const id of this.seen.keys()) if (!living.has(id)) this.seen.delete(id);
      this.dead = owners.filter(({ dead }) => dead).map(({ id }) => id);
      if (overdue.length > 0) await this.declare(overdue);
      if (this.dead.length > 0) await this.deps.store.forget();
    } catch (error) {
      this.seen.clear();
      this.lastContactMs = -Infinity;
      this.deps.logger.warn({ err: error }, 'this process could not renew its lease');
    }
  }

  private async declare(overdue: readonly { id: string; renewals: string }[]): Promise<void> {
    const declared: string[] = [];
    for (const { id, renewals } of overdue) if (await this.deps.store.declareDead(id, renewals)) declared.push(id);
    if (declared.length === 0) return;
    this.deps.logger.warn(
      { owners: declared, silentMs: this.deadAfterMs },
      'processes were declared dead: their calls are ended by others',
    );
    this.dead = [...this.dead, ...declared];
    for (const listener of this.listeners) listener(declared);
  }

  /** From the end of one look to the beginning of the next, so that looks never overlap. */
  private plan(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.looking = this.look().then(() => this.plan());
    }, this.renewMs).unref();
  }
}
