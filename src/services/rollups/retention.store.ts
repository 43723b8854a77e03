import { BackgroundConnection, type RunSql } from '../../database/background-connection';
import { isLockTaken } from '../../database/postgres-errors';

/** A month is summed up once before it is removed. Milliseconds. */
const STATEMENT_MS = 1_800_000;
/** Everybody who settles or reads waits behind somebody who waits for the table. Milliseconds. */
const LOCK_MS = 50;
const DROP_MS = 5_000;
/** Rows or cells that one statement removes. */
const PIECE = 10_000;

/**
 * A partition of `llm_usage`; its bounds as Postgres writes them, `from` being where what was removed so far ends, if
 * that is earlier.
 */
export interface OldMonth {
  partition: string;
  from: string;
  to: string;
}
/** A day of an organisation that rows and cubes do not agree on. */
export interface FoldDifference {
  organizationId: string;
  day: string;
  rows: string;
  cubes: string;
}

const REACHING = `
  SELECT CASE WHEN EXISTS (SELECT FROM usage_batches WHERE from_at < $2 AND to_at >= $1) THEN 'settled calls wait to be folded'
    WHEN EXISTS (SELECT FROM price_changes WHERE starts_at < $2 AND ends_at > $1 AND folded_before < $2) THEN 'a price change waits to be folded' END AS why`;

/** Calls and tokens by organisation and day, of the rows and of the cubes: where they differ. */
const DIFFERENCES = `
  SELECT organization_id AS "organizationId", day::text, coalesce(r.figures, 'none') AS rows, coalesce(c.figures, 'none') AS cubes
  FROM (SELECT organization_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, concat_ws('/', sum(sign), sum(prompt_tokens), sum(completion_tokens)) AS figures
        FROM llm_usage WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY 1, 2) AS r
  FULL JOIN (SELECT organization_id, day, concat_ws('/', sum(calls), sum(prompt_tokens), sum(completion_tokens)) AS figures
        FROM usage_daily WHERE day >= ($1::timestamptz AT TIME ZONE 'UTC')::date AND day < ($2::timestamptz AT TIME ZONE 'UTC')::date GROUP BY 1, 2) AS c USING (organization_id, day)
  WHERE r.figures IS DISTINCT FROM c.figures ORDER BY 2, 1 LIMIT 5`;

/** Removes what is too old, on a connection of its own. */
export class RetentionStore {
  private readonly connection: BackgroundConnection;

  constructor(url: string) {
    this.connection = new BackgroundConnection({
      url,
      applicationName: 'weir-retention',
      statementTimeoutMs: STATEMENT_MS,
    });
  }

  /** Runs it where no other process is at the same; false: one is. */
  async alone(work: () => Promise<void>): Promise<boolean> {
    try {
      const [row] = await this.connection.query<{ mine: boolean }>('SELECT pg_try_advisory_lock(5, 2) AS mine');
      if (row!.mine) await work();
      return row!.mine;
    } finally {
      // The lock goes with the connection, which nobody needs for an hour.
      this.connection.release();
    }
  }

  /** Cells by quarter of an hour, older than 60 days (UTC): a piece of them. Gives how many were removed. */
  async pruneQuarters(): Promise<number> {
    const [row] = await this.connection.query<{ n: number }>(
      `WITH gone AS (DELETE FROM usage_quarter_hourly WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM usage_quarter_hourly WHERE at < date_trunc('day', weir.now(), 'UTC') - interval '60 days' LIMIT $1)) RETURNING 1)
       SELECT count(*)::integer AS n FROM gone`,
      [PIECE],
    );
    return row!.n;
  }

  /** The oldest partition, if it ends so many whole months before the current one, or earlier. */
  async oldestMonth(keepMonths: number): Promise<OldMonth | null> {
    const [month] = await this.connection.query<OldMonth>(
      `SELECT p.partition, r.dropped_before::text AS "from", p.to_at::text AS "to"
       FROM usage_retention AS r CROSS JOIN (
         SELECT c.oid::regclass::text AS partition, substring(b.bound FROM $$FROM \\('([^']+)'\\)$$)::timestamptz AS from_at, substring(b.bound FROM $$TO \\('([^']+)'\\)$$)::timestamptz AS to_at
         FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) AS b
         WHERE i.inhparent = 'public.llm_usage'::regclass) AS p
       WHERE p.to_at <= (date_trunc('month', weir.now() AT TIME ZONE 'UTC') - make_interval(months => $1)) AT TIME ZONE 'UTC' ORDER BY p.from_at LIMIT 1`,
      [keepMonths],
    );
    return month ?? null;
  }

  /** Whether every row of a month is in the cubes: null, or why nobody can say yet, or where they differ. */
  async check(month: OldMonth): Promise<{ why: string | null; differences: FoldDifference[] }> {
    return this.connection.transaction('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', async (run) => {
      const why = await reaching(run, month);
      return { why, differences: why === null ? await run<FoldDifference>(DIFFERENCES, [month.from, month.to]) : [] };
    });
  }

  /**
   * Removes the partition and says so, in one transaction. What was settled for that month since the check and was
   * folded is in the cubes as well; what was not keeps the month. Gives why it did not: something keeps it, or the
   * table was in use at that moment (null: it is gone).
   */
  async drop(month: OldMonth): Promise<{ why: string; isBusy: boolean } | null> {
    try {
      return await this.connection.transaction('BEGIN', async (run) => {
        await run(`SET LOCAL lock_timeout = ${LOCK_MS}`);
        await run(`SET LOCAL statement_timeout = ${DROP_MS}`);
        // Whoever records a price shares it until the price is there: either it sees what was removed, or its change is
        // seen below.
        await run('SELECT FROM usage_retention FOR UPDATE');
        // Nobody writes rows from here on.
        await run('LOCK TABLE ONLY llm_usage IN ACCESS EXCLUSIVE MODE');
        const why = await reaching(run, month);
        if (why !== null) return { why, isBusy: false };
        await run(`DROP TABLE ${month.partition}`);
        await run('UPDATE usage_retention SET dropped_before = greatest(dropped_before, $1)', [month.to]);
        return null;
      });
    } catch (error) {
      if (isLockTaken(error)) return { why: 'the table is in use', isBusy: true };
      throw error;
    }
  }

  /**
   * Rows that came for a month which had been removed, and those that had no partition: a piece of what is folded.
   * Gives how many were removed.
   */
  async removeLateRows(): Promise<number> {
    const [row] = await this.connection.query<{ n: number }>(
      `WITH gone AS (DELETE FROM llm_usage_rest WHERE ctid = ANY (ARRAY(
         SELECT u.ctid FROM llm_usage_rest AS u, usage_retention AS r WHERE u.occurred_at < r.dropped_before AND NOT EXISTS (
           SELECT FROM usage_batches AS b WHERE b.organization_id = u.organization_id AND b.id = u.batch_id) LIMIT $1)) RETURNING 1)
       SELECT count(*)::integer AS n FROM gone`,
      [PIECE],
    );
    return row!.n;
  }

  close(): void {
    this.connection.close();
  }
}

async function reaching(run: RunSql, month: OldMonth): Promise<string | null> {
  const [row] = await run<{ why: string | null }>(REACHING, [month.from, month.to]);
  return row!.why;
}
