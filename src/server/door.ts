import type { Viewer } from '../domain/principal';
import { AppError } from '../errors';

/**
 * A way into the product: one protocol, its operations and how they end. Who is asking (auth.ts), how much one token
 * may have open (`OpenCounter`) and how a connection is ended from this side (`Farewell`) is the same at all of them.
 */
export interface Door {
  /** Who is connected, or has an operation open here. */
  principals(): Viewer[];
  /**
   * Ends what these viewers have open: operations that do not end by themselves within `graceMs` (milliseconds) end
   * with UNAUTHENTICATED, then their connections are closed.
   */
  endPrincipals(match: (viewer: Viewer) => boolean, reason: string, graceMs: number): void;
  /** Ends everything; what has ended still says so. Resolves when it is gone, at the latest after some seconds. */
  close(): Promise<void>;
}

/** What the limits of the doors are counted by: a token, or a user of the identity provider. */
const keyOf = (viewer: Viewer): string => viewer.tokenId ?? viewer.userId;

/** How much each token has open at a door. */
export class OpenCounter {
  private readonly open = new Map<string, number>();

  constructor(
    private readonly max: number,
    /** For the refusal: "connections by WebSocket". */
    private readonly what: string,
  ) {}

  /** Gives what frees the place; harmless when repeated. Throws RATE_LIMITED. */
  enter(viewer: Viewer): () => void {
    const key = keyOf(viewer);
    const before = this.open.get(key) ?? 0;
    if (before >= this.max) {
      throw new AppError('RATE_LIMITED', {
        public: `A token may have at most ${this.max} ${this.what}.`,
        retryAfterMs: 1_000,
      });
    }
    this.open.set(key, before + 1);
    let isFree = false;
    return () => {
      if (isFree) return;
      isFree = true;
      const left = this.open.get(key)! - 1;
      if (left > 0) this.open.set(key, left);
      else this.open.delete(key);
    };
  }
}

/** How long an ended operation has to tell its client before its connection is closed. Milliseconds. */
const LAST_WORDS_MS = 500;

export interface Leaving {
  /** No operation is running. */
  isIdle(): boolean;
  /** Ends each operation with the error. */
  terminate(error: AppError): void;
}

/**
 * The end of a connection from this side. Its operations may end by themselves for a while, then they end with an
 * error, and what they say at their end is waited for: a client that misses it asks again, and pays again.
 */
export class Farewell {
  private timer: NodeJS.Timeout | undefined;
  private close: (() => void) | null = null;

  constructor(private readonly leaving: Leaving) {}

  /** `error` null: operations are only waited for. */
  begin({ error, graceMs, close }: { error: AppError | null; graceMs: number; close: () => void }): void {
    clearTimeout(this.timer);
    this.close = close;
    if (this.leaving.isIdle()) return close();
    const end = (): void => {
      this.timer = setTimeout(close, LAST_WORDS_MS);
      if (error) this.leaving.terminate(error);
    };
    if (graceMs > 0) this.timer = setTimeout(end, graceMs);
    else end();
  }

  /** To be called when an operation has ended. */
  ended(): void {
    if (!this.close || !this.leaving.isIdle()) return;
    clearTimeout(this.timer);
    // The last frame is sent in this turn.
    setImmediate(this.close);
  }

  /** The connection is gone. */
  cancel(): void {
    clearTimeout(this.timer);
    this.close = null;
  }
}
