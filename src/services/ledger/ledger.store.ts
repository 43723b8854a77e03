import { notifyAlerts } from '../../database/alert-notice';
import type { Db } from '../../database/pool';
import { Grouped } from '../../lib/grouped';
import {
  codeOf,
  isDatabaseAway,
  isLockTaken,
  mayPass,
  SQLSTATE,
  violatedConstraint,
} from '../../database/postgres-errors';
import { doublingWaits, retry } from '../../lib/retry';
import type { Prices } from '../pricing/price-usage';
import { admitJson, arrayOf, placed, settleJson } from './call-json';
import type { Admission, CallName, NewCall, Settlement, StopReason } from '../../domain/call';
import { readAdmissions, type AdmissionSql } from './read-admissions';
import { reprice } from './reprice';

/**
 * Waits, bounded, while somebody makes a budget or records a price (weir.share_budgets, weir.share_prices): a matter of
 * milliseconds, mostly.
 */
const whenFree = <T>(work: () => Promise<T>): Promise<T> =>
  retry(work, { waitsMs: doublingWaits({ first: 10, longest: 500, total: ADMIT_WITHIN_MS }), when: isLockTaken });

/** null: somebody else used the table for longer than the functions wait for it. */
async function unlessInUse<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (isLockTaken(error)) return null;
    throw error;
  }
}

/** A restart of Postgres takes about a second: calls wait for it, and fail closed after that. Milliseconds. */
const ADMIT_AGAIN_AFTER_MS = [50, 200, 500, 1_000];
const ADMIT_WITHIN_MS = 2_500;
const MAX_PRICINGS = 5;
/** Less than a statement of the data path may take: those that wait for the table meanwhile still succeed. */
const MOVE_MS = 3_000;
/** NOTIFY with an owner's name: somebody wants a call of it stopped. */
export const STOPS_CHANNEL = 'weir_stops';
/**
 * Asked again, the call is written once: the first try may have come to its end meanwhile, and then its row is there.
 */
const mayBeAskedAgain = (error: unknown): boolean =>
  mayPass(error) || violatedConstraint(error) === 'calls_in_flight_pkey';

/** How long the statement took until here, inside Postgres. Its commit comes after that. */
const STATEMENT_MS = `extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 * 1000 AS "statementMs"`;
const ADMIT = `SELECT weir.admit($1::json) AS answer, ${STATEMENT_MS}`;
// The notification comes with the answer: settling is one round trip.
const SETTLE = `SELECT settled, stale, extract(epoch FROM waited)::float8 * 1000 AS "waitedMs", ${STATEMENT_MS}, ${notifyAlerts('alerted')} FROM weir.settle($1::json)`;
const CORRECT = `SELECT corrected, ${notifyAlerts('alerted')} FROM weir.correct($1::json, $2)`;

interface SettlementSql {
  settled: string[];
  stale: string[] | null;
  waitedMs: number | null;
  statementMs: number;
}

/** A group of calls that shared one commit. Milliseconds. */
export interface CallGroup {
  what: 'admission' | 'settlement';
  calls: number;
  elapsedMs: number;
  /** Inside Postgres, until the commit; `waitedMs` of it for rows that others held. */
  statementMs: number;
  waitedMs: number | null;
}

/**
 * Two groups of each kind are under way while whole ones wait: Postgres writes one, and this process reads the answer
 * of the other and prepares the next. Calls of a group are granted in the order of arrival; of two groups the later one
 * may be first. 128 calls are written in some 8 ms, which bounds what others wait behind them (`npm run bench stalls`).
 */
const GROUPS = { isForAll: isDatabaseAway, lanes: 2, maxItems: 128 };

/** With its text for the database. */
interface Written<T> {
  item: T;
  json: string;
}

/** The only writer of calls in flight and of usage rows. What comes at the same time shares a commit. */
export class LedgerStore {
  private readonly admissions = new Grouped((calls: Written<NewCall>[]) => this.writeCalls(calls), GROUPS);
  /** Calls whose first try was not answered: it may have been carried out. */
  private readonly asked = new WeakSet<NewCall>();
  private reloading: Promise<void> | null = null;
  private readonly settlements = new Grouped((ends: Written<Settlement>[]) => this.writeEnds(ends), GROUPS);

  /** `prices`: what ends are priced by again when the price book has changed before they were settled. */
  constructor(
    private readonly db: Db,
    private readonly prices: Prices | null = null,
    private readonly onGroup: (group: CallGroup) => void = () => {},
  ) {}

  /**
   * Admits calls, each alone or not at all: claims its idempotency key, holds its worst case at every budget that
   * applies, writes it down, with its question where it belongs to a conversation. Answers in the order of the calls,
   * which is the order in which they are granted.
   */
  async admit(calls: readonly NewCall[]): Promise<Admission[]> {
    return Promise.all(calls.map((call) => this.admitOne(call)));
  }

  /**
   * Writes usage rows and answers, books costs, releases what was held, removes the calls in flight. Gives the ids of
   * those that were not settled before.
   */
  async settle(ends: readonly Settlement[]): Promise<string[]> {
    const isNew = await Promise.all(ends.map((end) => this.settleOne(end)));
    return ends.filter((_, i) => isNew[i]).map((end) => end.id);
  }

  /**
   * Later knowledge about settled calls: a reversal and a new row each. Gives the ids of those where something
   * differed.
   */
  async correct(ends: readonly Settlement[], reason: string): Promise<string[]> {
    return whenFree(async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          const [row] = await this.db.query<{ corrected: string[] }>(CORRECT, [arrayOf(ends.map(settleJson)), reason]);
          return row!.corrected;
        } catch (error) {
          if (codeOf(error) !== SQLSTATE.pricesChanged || tries === MAX_PRICINGS) throw error;
          await this.repriceAll(ends);
        }
      }
    });
  }

  /**
   * Asks whoever runs a call to stop it, and tells its process so; of several reasons the first one counts. false: it
   * is not in flight.
   */
  async requestStop({ organizationId, id }: CallName, reason: StopReason): Promise<boolean> {
    const asked = await this.db.query(
      `WITH asked AS (UPDATE calls_in_flight SET stop_reason = coalesce(stop_reason, $2) WHERE organization_id = $3 AND id = $1 RETURNING owner) SELECT pg_notify('${STOPS_CHANNEL}', owner) FROM asked`,
      [id, reason, organizationId],
    );
    return asked.length > 0;
  }

  /** What others have asked this owner to stop. */
  async requestedStops(owner: string): Promise<{ id: string; reason: StopReason }[]> {
    return this.db.query(
      'SELECT id, stop_reason AS reason FROM calls_in_flight WHERE owner = $1 AND stop_reason IS NOT NULL',
      [owner],
    );
  }

  /** What all running calls have reserved, of everybody. Dollars, decimal string. */
  async reserved(): Promise<string> {
    const [row] = await this.db.query<{ dollars: string }>(
      'SELECT coalesce(sum(hold), 0) AS dollars FROM calls_in_flight',
    );
    return row!.dollars;
  }

  async isInFlight({ organizationId, id }: CallName): Promise<boolean> {
    return (
      (await this.db.query('SELECT FROM calls_in_flight WHERE organization_id = $1 AND id = $2', [organizationId, id]))
        .length > 0
    );
  }

  /**
   * Monthly partitions of `llm_usage`, the current month's and the following ones. Gives how many were made; null: the
   * table was in use.
   */
  async ensurePartitions(monthsAhead: number): Promise<number | null> {
    return unlessInUse(async () => {
      const [row] = await this.db.query<{ made: number }>('SELECT weir.ensure_usage_partitions($1) AS made', [
        monthsAhead,
      ]);
      return row!.made;
    });
  }

  /**
   * Gives rows of the default partition the partitions of their months. Gives those that it made; null: the table was
   * in use.
   */
  async moveDefaultUsage(): Promise<string[] | null> {
    return unlessInUse(() =>
      this.db.transaction(async (tx) => {
        await tx.query(`SET LOCAL statement_timeout = ${MOVE_MS}`);
        const [row] = await tx.query<{ made: string[] }>('SELECT weir.move_default_usage() AS made');
        return row!.made;
      }),
    );
  }

  private async admitOne(call: NewCall): Promise<Admission> {
    const startedAt = performance.now();
    const written = { item: call, json: admitJson(call) };
    for (let failures = 0; ;) {
      try {
        const admission = await this.admissions.add(written);
        // What went first in its group has ended with that group: the next round decides.
        if (admission) return admission;
      } catch (error) {
        const waitMs = ADMIT_AGAIN_AFTER_MS[failures];
        // The connection is gone, and nobody knows whether the call is written: asked for again, it is not written
        // twice.
        if (waitMs === undefined || !mayBeAskedAgain(error) || performance.now() - startedAt > ADMIT_WITHIN_MS)
          throw error;
        failures += 1;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  private async repriceAll(ends: readonly Settlement[]): Promise<void> {
    if (!this.prices) throw new Error('the price book has changed, and there is none to price by');
    // One for all that were refused together.
    this.reloading ??= this.prices.reload().finally(() => (this.reloading = null));
    await this.reloading;
    for (const end of ends) reprice(end, this.prices);
  }

  /** What else goes wrong is for the caller: it has other places to keep an end. */
  private settleOne(end: Settlement): Promise<boolean> {
    return whenFree(async () => {
      for (let tries = 1; ; tries += 1) {
        const settled = await this.settlements.add({ item: end, json: settleJson(end) });
        if (settled !== 'STALE') return settled;
        if (tries === MAX_PRICINGS)
          throw new Error(`call ${end.id} was priced ${tries} times, and each time the price book had changed`);
        await this.repriceAll([end]);
      }
    });
  }

  /** Repeated after a lost acknowledgement, a call is not written twice. */
  private async writeCalls(calls: Written<NewCall>[]): Promise<(Admission | null)[]> {
    const json = arrayOf(calls.map(({ item, json: row }, i) => placed(row, i + 1, this.asked.has(item))));
    for (const { item } of calls) this.asked.add(item);
    const startedAt = performance.now();
    const [row] = await this.db.hot<{ answer: AdmissionSql; statementMs: number }>('admit', ADMIT, [json]);
    this.report({
      what: 'admission',
      calls: calls.length,
      startedAt,
      statementMs: row!.statementMs,
      waitedMs: row!.answer.waitedMs,
    });
    for (const { item } of calls) this.asked.delete(item);
    return readAdmissions(
      row!.answer,
      calls.map(({ item }) => item),
    );
  }

  private report({ startedAt, ...group }: Omit<CallGroup, 'elapsedMs'> & { startedAt: number }): void {
    this.onGroup({ ...group, elapsedMs: performance.now() - startedAt });
  }

  /** Calls that wait for a group. */
  get waiting(): Record<CallGroup['what'], number> {
    return { admission: this.admissions.waiting, settlement: this.settlements.waiting };
  }

  /**
   * Two ends of one call in a group, as of a slow owner and of recovery: the first one is settled, and the other was
   * not the first.
   */
  private async writeEnds(all: Written<Settlement>[]): Promise<(boolean | 'STALE')[]> {
    const firsts = new Map<string, Written<Settlement>>();
    for (const end of all) if (!firsts.has(end.item.id)) firsts.set(end.item.id, end);
    const json = arrayOf([...firsts.values()].map((end) => end.json));
    const startedAt = performance.now();
    const [row] = await this.db.hot<SettlementSql>('settle', SETTLE, [json]);
    const { settled, stale, statementMs, waitedMs } = row!;
    this.report({ what: 'settlement', calls: firsts.size, startedAt, statementMs, waitedMs });
    const found = new Map<string, true | 'STALE'>();
    for (const id of settled) found.set(id, true);
    for (const id of stale ?? []) found.set(id, 'STALE');
    return all.map((end) => (firsts.get(end.item.id) === end ? (found.get(end.item.id) ?? false) : false));
  }
}
