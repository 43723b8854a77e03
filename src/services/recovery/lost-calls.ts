import type { Logger } from '../../lib/logger';
import type { SpendRecord, SpendRecords } from '../upstream/litellm/spend-record';
import {
  atMost,
  atMostUntilDeath,
  believed,
  fromCheckpoint,
  fromRecord,
  lostEnd,
  neverAskedEnd,
  nothingUsed,
  ownerOf,
  tellsUsage,
  type BeliefDeps,
  type Known,
  type PricingDeps,
} from './lost-call';
import type { CheckpointText, FlyingCall, RecoveryStore } from './recovery.store';
import type { Settlement } from '../../domain/call';
import { isDataError } from '../../database/postgres-errors';

export interface LostCallsDeps extends PricingDeps {
  plausible: BeliefDeps['plausible'];
  store: Pick<RecoveryStore, 'lost' | 'ofOwner' | 'checkpoints'>;
  calls: { settle(ends: readonly Settlement[]): Promise<string[]> };
  /** The proxy's records; null: the upstream is asked directly, and keeps none. */
  records: SpendRecords | null;
  /** Whether a call runs in this process. */
  isRunning(callId: string): boolean;
  /** Calls that have ended, and of which the database may not know it yet. */
  pendingIds(): ReadonlySet<string>;
  /** This process. */
  owner: string;
  logger: Logger;
}

/** Milliseconds. */
export interface LostTiming {
  /** How late the proxy's records come. */
  recordDelayMs: number;
  /** In which a direct upstream notices that its caller is gone. */
  directDelayMs: number;
  /** How long behind its deadline a call of a living owner is somebody else's. */
  overdueMs: number;
  /**
   * Behind the deadline, until a call without a record counts as one without cost, if the proxy has written later ones.
   */
  withoutCostMs: number;
  /** Behind the deadline, until a proxy that has written nothing since is no longer waited for. */
  giveUpMs: number;
  /** How long a call of ours must have been nobody's. */
  nobodysForMs: number;
}

export interface LostCounts {
  reconciled: number;
  estimated: number;
  withoutCost: number;
  neverAsked: number;
  waiting: number;
  unsettled: number;
  proxyFailures: number;
}

const BATCH = 100;
/** Calls of one look. */
const MAX_A_LOOK = 1_000;
/** Questions to the proxy at a time. */
const PARALLEL = 8;
/** Milliseconds until there may be something new where nothing tells when. */
const AGAIN_MS = 60_000;

/** `overdueMs` by our clock, from the first sight on. */
type WatchedCall = FlyingCall & {
  /** Milliseconds since we first saw that it is lost. */ watchedMs: number;
  isOurs: boolean;
};

/** What is to be done about a call: an end, or to wait so many milliseconds. */
type Decision = { known: Known; warning?: string } | { waitMs: number };

/**
 * Decides how calls ended that nobody saw end, with what is known best, and has them settled: harmless, whoever else
 * does it at the same time.
 */
export class LostCalls {
  /** Where the next look goes on; empty: at the beginning. */
  private cursor = '';
  /**
   * By performance.now(): when a call was first seen to be lost here, and its deadline. Of the last look over all, and
   * of the one that is under way.
   */
  private watched = new Map<string, { sinceMs: number; deadlineMs: number }>();
  private watchedNext = new Map<string, { sinceMs: number; deadlineMs: number }>();
  private nobodysSince = new Map<string, number>();

  constructor(
    private readonly deps: LostCallsDeps,
    private readonly timing: LostTiming,
  ) {}

  /**
   * Ends calls of dead owners, and calls long past their deadline. Gives in how many milliseconds there may be
   * something to do again.
   */
  async endLost(counts: LostCounts, isStopped: () => boolean): Promise<number> {
    const pending = this.deps.pendingIds();
    let soonestMs = Infinity;
    for (let seen = 0; seen < MAX_A_LOOK && !isStopped(); seen += BATCH) {
      const batch = await this.deps.store.lost(this.cursor, this.timing.overdueMs, BATCH);
      const calls = batch
        .filter((call) => call.owner !== this.deps.owner && !pending.has(call.id))
        .map((call) => this.watch(call));
      soonestMs = Math.min(
        soonestMs,
        await this.endBatch(
          calls.filter(({ isOurs }) => isOurs),
          counts,
        ),
      );
      this.cursor = batch.length < BATCH ? '' : batch.at(-1)!.id;
      if (this.cursor !== '') continue;
      [this.watched, this.watchedNext] = [this.watchedNext, new Map()];
      return soonestMs;
    }
    return 0;
  }

  /**
   * Ends calls of ours that neither run here nor wait to be written: the answer of their admission was lost, and nobody
   * will ever ask the upstream.
   */
  async endNobodys(counts: LostCounts): Promise<void> {
    const calls = await this.deps.store.ofOwner(this.deps.owner);
    const pending = this.deps.pendingIds();
    const nobodys = calls.filter(({ id }) => !this.deps.isRunning(id) && !pending.has(id));
    // Once is no proof: the call may begin or have ended in this moment.
    const nowMs = performance.now();
    const certain = nobodys.filter(
      ({ id }) => nowMs - (this.nobodysSince.get(id) ?? Infinity) >= this.timing.nobodysForMs,
    );
    this.nobodysSince = new Map(nobodys.map(({ id }) => [id, this.nobodysSince.get(id) ?? nowMs]));
    if (certain.length === 0) return;

    const checkpoints = await this.deps.store.checkpoints(certain);
    const ends: Settlement[] = [];
    await inParallel(certain, async (call) => {
      // One that did run after all, and whose end could be written nowhere, has left something.
      const checkpoint = checkpoints.get(call.id) ?? null;
      const found = this.hasRecords(call) ? await this.ask(call, counts) : null;
      if (found === 'UNKNOWN' && call.overdueMs < this.timing.giveUpMs) return void (counts.waiting += 1);
      if (found && found !== 'UNKNOWN' && tellsUsage(found))
        ends.push(lostEnd(call, fromRecord(found, checkpoint), this.deps));
      else if (checkpoint) ends.push(lostEnd(call, fromCheckpoint(call, checkpoint), this.deps));
      // It was asked, and how much it used cannot be told from the record.
      else if (found && found !== 'UNKNOWN' && !found.tokens)
        ends.push(lostEnd(call, { ...atMost(call), record: found }, this.deps));
      else ends.push(neverAskedEnd(call, this.deps));
    });
    await this.settle(ends, counts);
  }

  /**
   * The dead's calls are for everybody. A living owner's only when we have watched it past its deadline for longer than
   * it could have run:
   * a jump of the database's clock puts every call behind its deadline. So the database's clock is asked once for each
   * call, and then ours counts.
   */
  private watch(call: FlyingCall): WatchedCall {
    const nowMs = performance.now();
    const watched = this.watched.get(call.id) ??
      this.watchedNext.get(call.id) ?? { sinceMs: nowMs, deadlineMs: nowMs - Math.max(call.overdueMs, -call.spanMs) };
    this.watchedNext.set(call.id, watched);
    const watchedMs = nowMs - watched.sinceMs;
    return {
      ...call,
      overdueMs: nowMs - watched.deadlineMs,
      watchedMs,
      isOurs: call.deadMs !== null || watchedMs >= call.spanMs,
    };
  }

  private async endBatch(calls: WatchedCall[], counts: LostCounts): Promise<number> {
    if (calls.length === 0) return AGAIN_MS;
    const checkpoints = await this.deps.store.checkpoints(calls.filter(({ streamed }) => streamed));
    // Before any call is asked for: a record that comes between would else be one that is missing.
    const newestMs = await this.newestRecordAgeMs(calls);
    let soonestMs = AGAIN_MS;
    const ends: Settlement[] = [];
    await inParallel(calls, async (call) => {
      const checkpoint = checkpoints.get(call.id) ?? null;
      const decision = this.hasRecords(call)
        ? await this.decideByRecord(call, checkpoint, newestMs, counts)
        : this.decideDirect(call, checkpoint);
      if ('waitMs' in decision) {
        counts.waiting += 1;
        soonestMs = Math.min(soonestMs, decision.waitMs);
        return;
      }
      if (decision.warning) this.deps.logger.warn({ callId: call.id }, decision.warning);
      ends.push(lostEnd(call, decision.known, this.deps));
    });
    await this.settle(ends, counts);
    return soonestMs;
  }

  private async decideByRecord(
    call: WatchedCall,
    checkpoint: CheckpointText | null,
    newestMs: number | null,
    counts: LostCounts,
  ): Promise<Decision> {
    const { recordDelayMs, withoutCostMs, giveUpMs } = this.timing;
    const found = await this.ask(call, counts);
    const record = found === 'UNKNOWN' ? null : found;
    if (record && tellsUsage(record)) return { known: fromRecord(record, checkpoint) };
    if (call.watchedMs < recordDelayMs) return { waitMs: recordDelayMs - call.watchedMs };
    if (checkpoint) return { known: fromCheckpoint(call, checkpoint) };
    // It failed before anything was used; or it has ended, and how much it used cannot be told from the record.
    if (record) return { known: { ...(record.tokens ? nothingUsed : atMost(call)), record } };
    if (call.overdueMs >= giveUpMs)
      return {
        known: atMost(call),
        warning:
          'the proxy has told nothing about a lost call for a day: it is booked with the most that it can have used',
      };
    // The provider may have worked until the deadline. A later record shows that the proxy writes, and so that this
    // call's is not only late.
    if (found !== 'UNKNOWN' && call.overdueMs >= withoutCostMs && newestMs !== null && newestMs < call.overdueMs)
      return { known: nothingUsed };
    return { waitMs: call.overdueMs < withoutCostMs ? withoutCostMs - call.overdueMs : AGAIN_MS };
  }

  /** A direct upstream keeps no records. */
  private decideDirect(call: WatchedCall, checkpoint: CheckpointText | null): Decision {
    const waitMs = this.timing.directDelayMs - call.watchedMs;
    if (waitMs > 0) return { waitMs };
    return { known: checkpoint ? fromCheckpoint(call, checkpoint) : atMostUntilDeath(call) };
  }

  private hasRecords(call: FlyingCall): boolean {
    return call.upstream === 'LITELLM' && this.deps.records !== null;
  }

  /** null where no call needs to know it, or the proxy does not tell. */
  private async newestRecordAgeMs(calls: readonly FlyingCall[]): Promise<number | null> {
    const overdueMs = Math.max(
      ...calls.filter((call) => this.hasRecords(call)).map((call) => call.overdueMs),
      -Infinity,
    );
    if (overdueMs < this.timing.withoutCostMs) return null;
    return this.deps.records!.newestRecordAgeMs(Math.min(overdueMs, this.timing.giveUpMs)).catch(() => null);
  }

  private async ask(call: FlyingCall, counts: LostCounts): Promise<SpendRecord | null | 'UNKNOWN'> {
    try {
      const record = await this.deps.records!.spendRecord(call.id, ownerOf(call));
      return (
        record &&
        believed(
          record,
          { model: call.model, promptBound: call.promptTokensEstimate, maxTokens: call.maxTokens },
          this.deps,
        )
      );
    } catch (error) {
      if (counts.proxyFailures === 0)
        this.deps.logger.warn({ callId: call.id, err: error }, 'the proxy could not be asked about a lost call');
      counts.proxyFailures += 1;
      return 'UNKNOWN';
    }
  }

  /** One that cannot be written keeps no other from it. */
  private async settle(ends: readonly Settlement[], counts: LostCounts): Promise<void> {
    // The proxy may have taken a while: what the journal has by now is better.
    const pending = this.deps.pendingIds();
    await Promise.all(
      ends
        .filter(({ id }) => !pending.has(id))
        .map(async (end) => {
          try {
            const isNew = (await this.settleOne(end)).length > 0;
            if (isNew) counts[countOf(end)] += 1;
          } catch (error) {
            counts.unsettled += 1;
            this.deps.logger.error(
              { callId: end.id, err: error },
              'a lost call could not be settled and will be retried',
            );
          }
        }),
    );
  }

  private async settleOne(end: Settlement): Promise<string[]> {
    try {
      return await this.deps.calls.settle([end]);
    } catch (error) {
      // "Data exception": what others wrote is left out, what was used is kept.
      if (!isDataError(error)) throw error;
      return this.deps.calls.settle([{ ...end, rawUsage: null, answer: null }]);
    }
  }
}

function countOf({ status, usageSource }: Settlement): keyof LostCounts {
  if (status === 'FAILED') return 'neverAsked';
  if (usageSource === 'NONE') return 'withoutCost';
  return usageSource === 'ESTIMATED' ? 'estimated' : 'reconciled';
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(PARALLEL, items.length) }, async () => {
      while (next < items.length) await work(items[next++]!);
    }),
  );
}
