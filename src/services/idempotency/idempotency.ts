import { Grouped } from '../../lib/grouped';
import type { Logger } from '../../lib/logger';
import type { RunningRegister } from '../../domain/running-call';
import type { Viewer } from '../../domain/principal';
import type { IdempotencyStore, KeyName, KeyRow } from './idempotency.store';
import { IdempotencyWaiters } from './waiters';
import type { CallOutcome } from '../../domain/outcome';
import type { Upstream } from '../../domain/call';
import type { Refusal } from '../../domain/refusal';

/** What a key stands for that was used before. */
export type KeyUse =
  /** Its call has ended. */
  | { kind: 'REPLAY'; callId: string; stored: unknown }
  /** Its call runs, here or elsewhere. */
  | { kind: 'RUNNING'; callId: string }
  /** It was used with other input. */
  | { kind: 'CONFLICT'; firstUsedAt: Date };

export interface IdempotencyDeps {
  store: Pick<IdempotencyStore, 'read'>;
  running: Pick<RunningRegister, 'find'>;
  logger: Logger;
  /** The longest that a call takes. Milliseconds. */
  totalMs: number;
}

/** Beyond a call's own deadline: how long recovery may take to end what a dead process left. Milliseconds. */
const RECOVERY_MS = 600_000;

/**
 * What an idempotency key was used for. One name space per user, for whole answers and streams alike. This only reads:
 * a key is claimed in the admission's transaction, and its end is stored in the settlement's. Elsewhere, a crash
 * between the two would be billed twice.
 */
export class Idempotency {
  private readonly rows: Grouped<KeyName, KeyRow | null>;
  private readonly waits: IdempotencyWaiters;

  constructor({ store, running, logger, totalMs }: IdempotencyDeps) {
    this.rows = new Grouped((names) => store.read(names));
    this.waits = new IdempotencyWaiters({
      read: (name) => this.rows.add(name),
      running,
      logger,
      maxMs: totalMs + RECOVERY_MS,
    });
  }

  /**
   * To be asked before the call is prepared: a repetition is answered also when plan, models or conversation have moved
   * on. null: the key is free.
   */
  async find(viewer: Viewer, key: string, inputHash: string): Promise<KeyUse | null> {
    const row = await this.rows.add(nameOf(viewer, key));
    if (!row || row.expired) return null;
    const { callId, firstUsedAt, stored } = row;
    if (row.inputHash !== inputHash) return { kind: 'CONFLICT', firstUsedAt };
    return row.ended ? { kind: 'REPLAY', callId, stored } : { kind: 'RUNNING', callId };
  }

  /**
   * Waits for the end of the key's running call, and gives what is stored of it. RELEASED: nothing was spent, and the
   * key is free. Throws SERVICE_UNAVAILABLE: see IdempotencyWaiters.
   */
  async follow(
    viewer: Viewer,
    key: string,
    callId: string,
    signal?: AbortSignal,
  ): Promise<{ outcome: unknown } | 'RELEASED'> {
    const row = await this.waits.wait(nameOf(viewer, key), callId, signal);
    return row ? { outcome: row.stored } : 'RELEASED';
  }

  /**
   * The server shuts down: nobody waits for calls of other processes any more. Resolves when those who wait for calls
   * of this one have been told their end.
   */
  stop(): Promise<void> {
    return this.waits.stop();
  }
}

const nameOf = ({ organizationId, userId }: Viewer, key: string): KeyName => ({ organizationId, userId, key });

export const idempotencyConflict = (firstUsedAt: Date): Refusal => ({
  kind: 'IdempotencyConflict',
  code: 'IDEMPOTENCY_CONFLICT',
  message: 'This idempotency key was used with other input.',
  retryable: false,
  retryAfterMs: null,
  firstUsedAt,
});

/**
 * For streams that were told of a call which then ended without having spent anything: the key is free, and its own
 * next call would be another stream.
 */
export const releasedOutcome = (callId: string, upstream: Upstream): CallOutcome<never> => ({
  status: 'FAILED',
  refusal: {
    kind: 'UpstreamFailed',
    code: 'STREAM_INTERRUPTED',
    message:
      'The call with this idempotency key ended before anything was spent: repeat the request with the same key.',
    retryable: true,
    retryAfterMs: 1_000,
    upstream,
    attempts: 1,
    callId,
  },
  partial: null,
});
