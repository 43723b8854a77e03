import { setTimeout as sleep } from 'node:timers/promises';
import type { Db } from '../../database/pool';
import { AppError, badInput } from '../../errors';
import { isLockTaken } from '../../database/postgres-errors';

/**
 * Milliseconds after which every transaction that settles or appends a price has ended: longer than any of its
 * statements may take.
 */
const UNSETTLED_MS = 20_000;
/**
 * Milliseconds to wait for those that have not. A settlement takes a few; a correction of prices holds its lock for its
 * commit.
 */
const WAIT_MS = 5_000;
const LOOK_MS = 5;
const RETRY_AFTER_MS = 1_000;

/**
 * Before anything is read as it stood at a time: whatever carries that time or an earlier one can be seen from then on,
 * so that the answer never changes again.
 */
export class AsOf {
  constructor(private readonly db: Db) {}

  /**
   * Waits until everything that was settled or recorded until `at` is visible. Gives the number of the newest price
   * record of that time, 0 for none. Throws BAD_USER_INPUT (`pricesAsOf`) for a time in the future, SERVICE_UNAVAILABLE
   * where something that began before does not end.
   */
  async check(at: Date): Promise<{ book: number }> {
    const [clock] = await this.db.query<{ future: boolean; recent: boolean }>(
      `SELECT $1::timestamptz > weir.clock() AS future, $1::timestamptz > weir.clock() - make_interval(secs => $2) AS recent`,
      [at.toISOString(), UNSETTLED_MS / 1_000],
    );
    if (clock!.future) throw badInput('pricesAsOf', 'must not be in the future');
    if (clock!.recent) {
      await this.settlementsEnded();
      await this.pricesEnded();
    }
    const [book] = await this.db.query<{ number: string }>(
      'SELECT coalesce(max(number), 0) AS number FROM model_prices WHERE recorded_at <= $1',
      [at.toISOString()],
    );
    return { book: Number(book!.number) };
  }

  /**
   * A settlement takes its time behind its lock on the table of batches: those of before hold it now, or have ended.
   * The folder, known by its own lock, settles nothing.
   */
  private async settlementsEnded(): Promise<void> {
    const writers = `SELECT virtualtransaction AS id FROM pg_locks
      WHERE NOT pid = ANY (ARRAY(SELECT f.pid FROM pg_locks AS f WHERE f.locktype = 'advisory' AND f.classid = 5)) AND locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = 'usage_batches'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    const deadline = performance.now() + WAIT_MS;
    const first = await this.db.query<{ id: string }>(writers);
    for (let left = first.map((row) => row.id); left.length > 0;) {
      if (performance.now() > deadline) throw busy();
      await sleep(LOOK_MS);
      left = (await this.db.query<{ id: string }>(`${writers} AND virtualtransaction = ANY ($1::text[])`, [left])).map(
        (row) => row.id,
      );
    }
  }

  /** A record takes its time and number behind the lock of the book, which is held until it is committed. */
  private async pricesEnded(): Promise<void> {
    try {
      await this.db.transaction(async (tx) => {
        await tx.query(`SET LOCAL lock_timeout = ${WAIT_MS}`);
        await tx.query(`SELECT pg_advisory_xact_lock_shared(hashtext('weir.model_prices'))`);
      });
    } catch (error) {
      throw isLockTaken(error) ? busy() : error;
    }
  }
}

const busy = (): AppError =>
  new AppError('SERVICE_UNAVAILABLE', {
    public: 'What was settled until then is still being written: ask again.',
    retryAfterMs: RETRY_AFTER_MS,
  });
