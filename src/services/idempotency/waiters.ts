import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import type { RunningRegister } from '../../domain/running-call';
import type { KeyName, KeyRow } from './idempotency.store';

/**
 * How often calls of other processes are asked for: soon after a wait has begun, then more and more seldom.
 * Milliseconds.
 */
const FIRST_LOOK_MS = 100;
const LAST_LOOK_MS = 1_000;

export interface IdempotencyWaitersDeps {
  read(name: KeyName): Promise<KeyRow | null>;
  running: Pick<RunningRegister, 'find'>;
  logger: Logger;
  /** The longest that anybody waits. Milliseconds. */
  maxMs: number;
}

interface Follower {
  resolve(row: KeyRow | null): void;
  reject(error: unknown): void;
}
interface Wait {
  name: KeyName;
  callId: string;
  /** The call runs here: its end is told, and not asked for. */
  isLocal: boolean;
  followers: Set<Follower>;
}

/**
 * Everybody in this process who waits for the end of a call that another request has begun. However many wait, the
 * database is asked by one loop.
 */
export class IdempotencyWaiters {
  private readonly waits = new Map<string, Wait>();
  private timer: NodeJS.Timeout | null = null;
  private looking = false;
  private stopped = false;
  private intervalMs = FIRST_LOOK_MS;
  /** performance.now() of the timer. */
  private dueAt = 0;
  private onIdle = (): void => {};

  constructor(private readonly deps: IdempotencyWaitersDeps) {}

  /**
   * Resolves when the call has ended, with the key's row; null: the key is free, or another call's. Throws
   * SERVICE_UNAVAILABLE when the server shuts down, when `maxMs` are over, and when the signal says that the client has
   * left.
   */
  wait(name: KeyName, callId: string, signal?: AbortSignal): Promise<KeyRow | null> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return void reject(gone());
      const wait = this.waits.get(callId) ?? this.begin(name, callId);
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        wait.followers.delete(follower);
        if (wait.followers.size === 0 && this.waits.get(callId) === wait) this.waits.delete(callId);
        settle();
        if (this.waits.size === 0) this.onIdle();
      };
      const leave = (): void => end(() => reject(gone()));
      const follower: Follower = {
        resolve: (row) => end(() => resolve(row)),
        reject: (error) => end(() => reject(error)),
      };
      const timer = setTimeout(() => follower.reject(tooLong()), this.deps.maxMs).unref();
      signal?.addEventListener('abort', leave, { once: true });
      wait.followers.add(follower);
    });
  }

  /**
   * Nobody waits for other processes any more. Calls of this one are being ended, and who waits for them is told how:
   * resolves when everybody knows.
   */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    for (const wait of this.waits.values()) if (!wait.isLocal) rejectAll(wait, shuttingDown());
    if (this.waits.size > 0) await new Promise<void>((resolve) => (this.onIdle = resolve));
  }

  private begin(name: KeyName, callId: string): Wait {
    const wait: Wait = { name, callId, isLocal: false, followers: new Set() };
    this.waits.set(callId, wait);
    // A turn later, because a call that this process has just written down is in its register only then.
    setImmediate(async () => {
      const run = this.deps.running.find(callId);
      if (run) {
        wait.isLocal = true;
        await run.done;
        wait.isLocal = false;
      }
      // Also where it does not run here: it may have ended since it was last seen.
      if (wait.followers.size > 0) await this.look([wait]);
      // It runs elsewhere, or its end is in the journal and not yet in the database.
      if (wait.followers.size > 0) this.poll(wait);
    });
    return wait;
  }

  private poll(wait: Wait): void {
    if (this.stopped) return rejectAll(wait, shuttingDown());
    this.intervalMs = FIRST_LOOK_MS;
    // Only brought forward: waits that begin one after the other would put it off for ever.
    if (this.timer && this.dueAt > performance.now() + FIRST_LOOK_MS) {
      clearTimeout(this.timer);
      this.timer = null;
    }
    this.schedule();
  }

  private schedule(): void {
    if (this.stopped || this.timer || this.looking || ![...this.waits.values()].some(({ isLocal }) => !isLocal)) return;
    this.dueAt = performance.now() + this.intervalMs;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.looking = true;
      this.intervalMs = Math.min(this.intervalMs * 1.5, LAST_LOOK_MS);
      void this.look([...this.waits.values()].filter(({ isLocal }) => !isLocal)).finally(() => {
        this.looking = false;
        this.schedule();
      });
    }, this.intervalMs).unref();
  }

  private async look(waits: Wait[]): Promise<void> {
    const rows = await Promise.allSettled(waits.map(({ name }) => this.deps.read(name)));
    for (const [i, wait] of waits.entries()) {
      const result = rows[i]!;
      if (result.status === 'rejected') continue;
      const row = result.value;
      const isOver = !row || row.callId !== wait.callId;
      if (isOver || row.ended) for (const follower of wait.followers) follower.resolve(isOver ? null : row);
    }
    const failed = rows.find((row) => row.status === 'rejected');
    if (failed)
      this.deps.logger.warn(
        { err: failed.reason as unknown },
        'idempotency keys could not be read and will be read again',
      );
  }
}

function rejectAll(wait: Wait, error: AppError): void {
  for (const follower of wait.followers) follower.reject(error);
}
const shuttingDown = (): AppError =>
  new AppError('SERVICE_UNAVAILABLE', {
    public: 'The server is shutting down: repeat the request with the same key.',
    retryAfterMs: 1_000,
  });
const tooLong = (): AppError =>
  new AppError('SERVICE_UNAVAILABLE', {
    public: 'The call with this idempotency key has not ended in time: repeat the request with the same key.',
    retryAfterMs: 5_000,
  });
const gone = (): AppError =>
  new AppError('SERVICE_UNAVAILABLE', { internal: 'the client that waited for the end of a call has left' });
