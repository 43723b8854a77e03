import type { Logger } from '../../lib/logger';
import { lostOutcome } from '../../domain/outcome';
import type { Journal } from './journal';
import { writeFailureOf } from '../../database/postgres-errors';
import type { Settlement } from '../../domain/call';

/**
 * What a settlement is written with; `correct` books the difference to what is there, and nothing where there is none.
 */
export interface SettlementStore {
  /** Gives the ids of the calls that were not settled before. */
  settle(ends: readonly Settlement[]): Promise<string[]>;
  correct(ends: readonly Settlement[], reason: string): Promise<unknown>;
}
export interface SettlerDeps {
  store: SettlementStore;
  /** Takes what the database refuses. */
  journal: Pick<Journal, 'setAside'>;
  logger: Logger;
}

/**
 * Failures in a row of one end, none of them a lost connection, after which it is taken for one that will never be
 * settled.
 */
const MAX_STRIKES = 5;

/**
 * Why a booked call is corrected: its end was in the journal while somebody else settled it, or its owner was only
 * slow.
 */
export type CorrectionReason = 'JOURNAL' | 'OWNER';
/** KNOWN: it was settled before. REFUSED: it will never be. */
export type Settled = 'NEW' | 'KNOWN' | 'REFUSED';

/**
 * The database's side of ending calls: who was first, what has to be corrected, and what Postgres will take at no time.
 */
export class Settler {
  /** One at a time for each call: its end may not be twice in one group of the store. */
  private readonly attempts = new Map<string, Promise<Settled>>();
  private readonly strikes = new Map<string, number>();

  constructor(private readonly deps: SettlerDeps) {}

  /**
   * Settles one call, or books the difference to what somebody else settled. With no reason given, that is left to the
   * caller.
   */
  settle(end: Settlement, reason: CorrectionReason | null): Promise<Settled> {
    const earlier = this.attempts.get(end.id);
    const work = (async () => {
      await earlier?.catch(() => {});
      return this.settleNow(end, reason);
    })();
    this.attempts.set(end.id, work);
    const done = (): void => {
      if (this.attempts.get(end.id) === work) this.attempts.delete(end.id);
    };
    work.then(done, done);
    return work;
  }

  /**
   * Settles all, or books the differences; puts aside what the database refuses. Throws where the database is away, or
   * nothing can be put aside. What is settled by then is settled, and asking again is harmless.
   */
  async settleAll(ends: readonly Settlement[]): Promise<void> {
    // One goes ahead: while the database is away, a look costs one statement and not two hundred.
    const [first, ...others] = ends.map((end) => () => this.settle(end, null));
    const settled = [await first!(), ...(await allOf(others))];
    const those = (state: Settled): Settlement[] => ends.filter((_, i) => settled[i] === state);
    const refused = [...those('REFUSED'), ...(await this.correctAll(those('KNOWN')))];
    if (refused.length > 0) await this.setAside(refused);
  }

  /** Rejects where no file can be written. */
  async setAside(ends: Settlement[]): Promise<void> {
    const file = await this.deps.journal.setAside(ends);
    this.deps.logger.error(
      { calls: ends.map(({ id }) => id), file },
      'settlements that the database refuses were set aside in a file',
    );
  }

  private async settleNow(end: Settlement, reason: CorrectionReason | null): Promise<Settled> {
    // Postgres will not take some values at any time: then what others wrote is left out, and what was used is kept.
    for (const row of [end, withoutContent(end)]) {
      try {
        const isNew = (await this.deps.store.settle([row])).includes(end.id);
        if (!isNew && reason) await this.deps.store.correct([row], reason);
        // What is left to the caller may yet fail.
        if (isNew || reason) this.strikes.delete(end.id);
        return isNew ? 'NEW' : 'KNOWN';
      } catch (cause) {
        if (!this.isRefusal(end, cause)) throw cause;
        this.deps.logger.error(
          { callId: end.id, withContent: row === end, err: cause },
          'the database refused a settlement',
        );
      }
    }
    this.strikes.delete(end.id);
    return 'REFUSED';
  }

  private isRefusal(end: Settlement, cause: unknown): boolean {
    const failure = writeFailureOf(cause);
    if (failure !== 'SUSPECT') return failure === 'REFUSED';
    const strikes = (this.strikes.get(end.id) ?? 0) + 1;
    this.strikes.set(end.id, strikes);
    return strikes >= MAX_STRIKES;
  }

  /** Gives those that the database refuses. */
  private async correctAll(ends: Settlement[]): Promise<Settlement[]> {
    if (ends.length === 0) return [];
    try {
      await this.deps.store.correct(ends, 'JOURNAL' satisfies CorrectionReason);
      for (const { id } of ends) this.strikes.delete(id);
      return [];
    } catch (cause) {
      if (writeFailureOf(cause) === 'AWAY') throw cause;
      const [end, ...others] = ends as [Settlement, ...Settlement[]];
      if (others.length > 0) {
        const refused: Settlement[] = [];
        for (const one of ends) refused.push(...(await this.correctAll([one])));
        return refused;
      }
      if (!this.isRefusal(end, cause)) throw cause;
      this.deps.logger.error({ callId: end.id, err: cause }, 'the database refused a correction');
      return ends;
    }
  }
}

/** The key stays used, and repetitions learn that the call ended and that its answer is not to be had. */
const withoutContent = (end: Settlement): Settlement => ({
  ...end,
  rawUsage: null,
  proxyCost: null,
  answer: null,
  idempotency: end.idempotency && {
    ...end.idempotency,
    stored: end.idempotency.stored === null ? null : lostOutcome(end.id, end.upstream, end.streamed),
  },
});

/** Waits for all, also where one fails; then fails like the first. */
async function allOf<T>(work: (() => Promise<T>)[]): Promise<T[]> {
  const results = await Promise.allSettled(work.map((one) => one()));
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
