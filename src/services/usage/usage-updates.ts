import { AppError } from '../../errors';
import { AbortableIterator, type Sink } from '../../lib/abortable-iterator';
import type { Logger } from '../../lib/logger';
import type { Viewer } from '../../domain/principal';
import { reportLimiter } from './report-limiter';
import type { UsageService } from './usage.service';
import type { UsageFigures } from './usage.types';
import type { Looker, UsageUpdatesStore } from './usage-updates.store';

export interface UsageUpdatesDeps {
  usage: Pick<UsageService, 'todayOf'>;
  store: Pick<UsageUpdatesStore, 'lookers'>;
  logger: Logger;
  /** Milliseconds between two values. Default 1 s. */
  everyMs?: number;
  /** Milliseconds between two looks at who those are that listen. Default 2 s, as it is with their credentials. */
  lookEveryMs?: number;
}

/** Of one user, in one process. */
const MAX_OF_USER = 100;
/** Milliseconds that a timer may be early. */
const EARLY_MS = 20;

/** One client. What it has not taken yet is replaced by what is newer. */
class Listener {
  readonly events: AsyncIterableIterator<UsageFigures>;
  scope: Scope | null = null;
  private sink: Sink<UsageFigures> | null = null;
  private sent = '';
  private sentAtMs = -Infinity;

  constructor(
    readonly viewer: Viewer,
    onStart: (listener: Listener) => void,
    onLeave: (listener: Listener) => void,
  ) {
    this.events = new AbortableIterator<UsageFigures>(
      {
        start: (sink) => {
          this.sink = sink;
          onStart(this);
        },
        onLeave: () => onLeave(this),
      },
      (_last, figures) => figures,
    );
  }

  /** What comes too early after the last one comes with the next offer. `text`: what the figures look like. */
  offer(figures: UsageFigures, text: string, everyMs: number): void {
    if (text === this.sent || performance.now() - this.sentAtMs < everyMs - EARLY_MS) return;
    this.sent = text;
    this.sentAtMs = performance.now();
    this.sink!.push(figures);
  }
}

interface ScopeDeps {
  ask(): Promise<UsageFigures>;
  everyMs: number;
  logger: Logger;
  onEmpty(): void;
}

/** All who see the same figures: asked for once for all of them, and while there is anybody. */
class Scope {
  private readonly listeners = new Set<Listener>();
  private latest: { figures: UsageFigures; text: string; atMs: number } | null = null;
  private asking = false;
  private failed = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly deps: ScopeDeps) {}

  add(listener: Listener): void {
    this.listeners.add(listener);
    listener.scope = this;
    if (this.latest && performance.now() - this.latest.atMs < this.deps.everyMs)
      listener.offer(this.latest.figures, this.latest.text, this.deps.everyMs);
    else void this.ask();
  }

  remove(listener: Listener): void {
    this.listeners.delete(listener);
    listener.scope = null;
    if (this.listeners.size > 0) return;
    clearTimeout(this.timer);
    this.deps.onEmpty();
  }

  private async ask(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    clearTimeout(this.timer);
    const { everyMs, logger } = this.deps;
    try {
      const figures = await this.deps.ask();
      this.latest = { figures, text: JSON.stringify(figures), atMs: performance.now() };
      this.failed = false;
      for (const listener of this.listeners) listener.offer(figures, this.latest.text, everyMs);
    } catch (error) {
      if (!this.failed) logger.warn({ err: error }, "today's totals could not be read and will be read again");
      this.failed = true;
    }
    this.asking = false;
    if (this.listeners.size > 0) this.timer = setTimeout(() => void this.ask(), everyMs).unref();
  }
}

/**
 * Running totals of today for those who listen. Nothing is asked while nobody does; and however many listen, one
 * question a second for each member, each organisation and all operators together.
 */
export class UsageUpdates {
  private readonly listeners = new Set<Listener>();
  private readonly scopes = new Map<string, Scope>();
  // Two at a time: with more scopes than the database can answer in a second, each has its turn later.
  private readonly limiter = reportLimiter({ max: 2, maxWaiting: 100_000, maxWaitingOfKey: 100_000, waitMs: 60_000 });
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly deps: UsageUpdatesDeps) {}

  /**
   * Running totals of today (UTC) of all that the viewer's reports are of: at once, then when they have changed, at
   * most one a second. Ends by `return()`. Throws RATE_LIMITED.
   */
  subscribe(viewer: Viewer): AsyncIterableIterator<UsageFigures> {
    let own = 0;
    for (const listener of this.listeners) if (listener.viewer.userId === viewer.userId) own += 1;
    if (own >= MAX_OF_USER)
      throw new AppError('RATE_LIMITED', {
        public: `At most ${MAX_OF_USER} subscriptions to usage updates run for one user.`,
        retryAfterMs: 1_000,
      });
    return new Listener(
      viewer,
      (listener) => void this.enter(listener),
      (listener) => this.leave(listener),
    ).events;
  }

  /** How many listen now. */
  get size(): number {
    return this.listeners.size;
  }

  private async enter(listener: Listener): Promise<void> {
    this.listeners.add(listener);
    this.timer ??= setTimeout(() => void this.look(), this.deps.lookEveryMs ?? 2_000).unref();
    await this.place([listener]);
  }

  private leave(listener: Listener): void {
    this.listeners.delete(listener);
    listener.scope?.remove(listener);
    if (this.listeners.size > 0) return;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /**
   * Somebody's role may have changed, and with it what it may see. Those who may see nothing any more are ended by
   * whoever holds the connection.
   */
  private async look(): Promise<void> {
    await this.place([...this.listeners]);
    clearTimeout(this.timer);
    this.timer =
      this.listeners.size > 0 ? setTimeout(() => void this.look(), this.deps.lookEveryMs ?? 2_000).unref() : undefined;
  }

  private async place(listeners: readonly Listener[]): Promise<void> {
    let lookers: Map<string, Looker>;
    try {
      lookers = await this.deps.store.lookers([
        ...new Map(listeners.map(({ viewer }) => [viewer.userId, viewer])).values(),
      ]);
    } catch (error) {
      // The next look finds out.
      this.deps.logger.debug({ err: error }, 'the subscribers of usage updates could not be looked up');
      return;
    }
    for (const listener of listeners) {
      if (!this.listeners.has(listener)) continue;
      const looker = lookers.get(listener.viewer.userId);
      const key = looker && keyOf(listener.viewer.userId, looker);
      const scope =
        key === undefined ? null : (this.scopes.get(key) ?? this.open(key, { ...listener.viewer, ...looker }));
      if (scope === listener.scope) continue;
      listener.scope?.remove(listener);
      scope?.add(listener);
    }
  }

  private open(key: string, viewer: Viewer): Scope {
    const { usage, logger, everyMs = 1_000 } = this.deps;
    const scope = new Scope({
      ask: () => this.limiter.run(key, () => usage.todayOf(viewer)),
      everyMs,
      logger,
      onEmpty: () => void this.scopes.delete(key),
    });
    this.scopes.set(key, scope);
    return scope;
  }
}

/** Who has the same key sees the same figures: see `scopeFilter`. */
function keyOf(userId: string, { role, organizationId }: Looker): string {
  if (role === 'OPERATOR') return 'all';
  return role === 'MEMBER' ? userId : organizationId;
}
