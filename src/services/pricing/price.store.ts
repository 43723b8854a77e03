import type { Db, Tx } from '../../database/pool';
import { AppError } from '../../errors';
import { canonicalRates } from './canonical-rates';
import type { PricePart } from './price-parts';
import type { PriceRecord, PriceSource, Rates, RecordToAdd } from './pricing.types';
import { codeOf, isLockTaken, SQLSTATE } from '../../database/postgres-errors';

interface PriceRow {
  number: string;
  model: string;
  deployment: string | null;
  organization_id: string | null;
  source: PriceSource;
  effective_from: Date;
  effective_to: Date | null;
  recorded_at: Date;
  service_tier: string | null;
  rates: Rates;
}
export interface Numbered {
  number: number;
  recordedAt: Date;
}

/**
 * Milliseconds to wait until the settlements that run have ended, for all models together: those that come meanwhile
 * are turned away, and come again.
 */
const SETTLEMENTS_END_MS = 500;
/**
 * Milliseconds that a statement may take, and that its caller may be silent, while settlements are turned away: one
 * that hangs keeps nobody from settling for longer.
 */
const ALONE_MS = 2_000;
/** Milliseconds to wait for a clock that is behind what it has told, as after it was set back. */
const CLOCK_CATCHES_UP_MS = 1_000;
const CLOCK_STEP_MS = 5;
/**
 * A clock that was set back by more than this was wrong before: then the new time counts. Prices must not begin in the
 * far future.
 */
const SET_BACK_MS = 60_000;
/**
 * Milliseconds from a time of recording back to the moment at which it was given, and a bit for a clock that stands
 * still.
 */
const UNTIL_RECORDED_MS = 2;
/** Milliseconds to wait until a writer of the book has ended. */
const WRITERS_END_MS = 5_000;

const RECORDS_AFTER = `SELECT number, model, deployment, organization_id, source, effective_from, effective_to, recorded_at, service_tier, rates
  FROM model_prices WHERE number > $1 ORDER BY number`;

/** The table of the price book. Nothing is ever changed or removed in it. */
export class PriceStore {
  constructor(private readonly db: Db) {}

  /**
   * The records with a higher number, ascending, and the time of the database in milliseconds since 1970. Numbers are
   * given under a lock: none can appear below one that was seen. Settlements wait for this: outside of a transaction it
   * takes a connection of the data path, which no report can keep it from.
   */
  async after(number: number, tx?: Tx): Promise<{ records: PriceRecord[]; nowMs: number }> {
    const [rows, nowMs] = [await this.ask<PriceRow>('price_book', RECORDS_AFTER, [number], tx), await this.nowMs(tx)];
    return { records: rows.map(mapRecord), nowMs };
  }

  /**
   * The time of this moment, not of the transaction's beginning: it may have waited for a lock while others appended.
   */
  async nowMs(tx?: Tx): Promise<number> {
    const [clock] = await this.ask<{ ms: string }>(
      'price_clock',
      'SELECT extract(epoch FROM weir.clock()) * 1000 AS ms',
      [],
      tx,
    );
    return Number(clock!.ms);
  }

  private ask<R>(name: string, sql: string, values: readonly unknown[], tx?: Tx): Promise<R[]> {
    return tx ? tx.query<R>(sql, values) : this.db.hot<R>(name, sql, values);
  }

  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.db.transaction(work);
  }

  /**
   * One writer at a time, over all replicas, until the transaction ends. To be taken before the prices of any model
   * are.
   */
  async lock(tx: Tx): Promise<void> {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtext('weir.model_prices'))`);
  }

  /**
   * Resolves when every writer of now has ended: what has a time of recording up to now is there to be read then.
   * Throws SERVICE_UNAVAILABLE where one does not end.
   */
  async writersEnded(): Promise<void> {
    try {
      await this.db.transaction(async (tx) => {
        await tx.query(`SET LOCAL lock_timeout = ${WRITERS_END_MS}`);
        await tx.query(`SELECT pg_advisory_xact_lock_shared(hashtext('weir.model_prices'))`);
      });
    } catch (error) {
      if (!isLockTaken(error)) throw error;
      throw new AppError('SERVICE_UNAVAILABLE', { internal: 'a writer of the price book does not end', cause: error });
    }
  }

  /**
   * Until the clock is past the last time of recording, which is where it always is unless it was set back. One that
   * does not move, or was set back far, is not waited for. Needs the lock of the book.
   */
  async clockPassedLast(tx: Tx): Promise<void> {
    for (let waitedMs = 0, before = Number.NaN; waitedMs < CLOCK_CATCHES_UP_MS; waitedMs += CLOCK_STEP_MS) {
      const [clock] = await tx.query<{ ms: string; last: string | null }>(
        `SELECT extract(epoch FROM weir.clock()) * 1000 AS ms, ${LAST_RECORDED_MS} AS last`,
      );
      const [ms, behindMs] = [Number(clock!.ms), Number(clock!.last) - Number(clock!.ms)];
      if (clock!.last === null || behindMs < 0 || behindMs > CLOCK_CATCHES_UP_MS || ms === before) return;
      before = ms;
      await tx.query('SELECT pg_sleep($1)', [CLOCK_STEP_MS / 1_000]);
    }
  }

  /**
   * Keeps calls of these models from being settled until the transaction ends, which must be soon: nothing but writing
   * records is to be done from here on, and Postgres ends a transaction that takes long. Needs the lock of the book.
   * Gives the first whole millisecond, since 1970, that is not before any call that has been settled, and, where the
   * clock was just set back, not before the last record. Fails with
   * 55P03 where a settlement takes too long.
   */
  async lockPrices(tx: Tx, models: readonly string[]): Promise<number> {
    await limit(tx, { lock: SETTLEMENTS_END_MS, statement: SETTLEMENTS_END_MS, idle: ALONE_MS });
    try {
      await tx.query('SELECT weir.lock_prices($1)', [models]);
    } catch (error) {
      // Several settlements in a row took it all.
      if (codeOf(error) === SQLSTATE.statementTimeout)
        throw Object.assign(new Error('the prices of the models are in use', { cause: error }), {
          code: SQLSTATE.lockNotAvailable,
        });
      throw error;
    }
    await limit(tx, { lock: SETTLEMENTS_END_MS, statement: ALONE_MS, idle: ALONE_MS });
    const [clock] = await tx.query<{ ms: string; last: string | null }>(
      `SELECT ceil(extract(epoch FROM weir.clock()) * 1000) AS ms, ${LAST_RECORDED_MS} AS last`,
    );
    return notBefore(Number(clock!.ms), clock!.last === null ? null : Number(clock!.last));
  }

  /**
   * The one place where records are written. Needs the lock of the book, and the prices of their models. All of them
   * have one time of recording, a whole millisecond: later than that of every record before them, so that each time
   * says which records were there, and later than this moment, so that the book as of any time that has passed is
   * fixed. When it gives their numbers that time has come: nothing is settled by them earlier.
   */
  async append(tx: Tx, records: readonly RecordToAdd[]): Promise<Numbered[]> {
    const rows = await tx.query<{ number: string; recorded_at: Date }>(
      `WITH last AS (SELECT coalesce(max(number), 0) AS number, coalesce(max(recorded_at), '-infinity') AS recorded_at FROM model_prices),
       this AS MATERIALIZED (SELECT number, greatest(date_trunc('milliseconds', weir.clock()), date_trunc('milliseconds', recorded_at)) + interval '1 millisecond' AS recorded_at FROM last)
       SELECT r.number, r.recorded_at, weir.append_price(ROW(r.*)::model_prices)
       FROM (SELECT this.number + new.position AS number, model, deployment, organization_id, source, effective_from, effective_to, this.recorded_at,
               recorded_by, service_tier, rates, note
             FROM this, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::jsonb[], $9::text[], $10::text[])
               WITH ORDINALITY AS new (model, deployment, organization_id, source, effective_from, effective_to, service_tier, rates, note, recorded_by, position)
             ORDER BY position) AS r`,
      columnsOf(records),
    );
    if (rows.length > 0)
      await tx.query('SELECT pg_sleep(least(greatest(extract(epoch FROM $1::timestamptz - weir.clock()), 0), $2))', [
        rows[0]!.recorded_at.toISOString(),
        UNTIL_RECORDED_MS / 1_000,
      ]);
    return rows.map((row) => ({ number: Number(row.number), recordedAt: row.recorded_at }));
  }

  /**
   * For the price entries of a record in its own transaction: calls that were settled before it, in these parts, cost
   * what it says. `number` as text: that of a preview is no JavaScript number.
   */
  async change(tx: Tx, number: string, parts: ChangeParts): Promise<void> {
    await tx.query(
      `WITH parts AS (SELECT * FROM json_populate_recordset(NULL::price_change_parts, $2::json)),
       change AS (
         INSERT INTO price_changes (book, model, organization_id, recorded_at, starts_at, ends_at)
         SELECT r.number, r.model, r.organization_id, r.recorded_at, min(p.starts_at), max(p.ends_at) FROM model_prices AS r, parts AS p WHERE r.number = $1::bigint GROUP BY r.number
         RETURNING book)
       INSERT INTO price_change_parts (book, part, starts_at, ends_at, organizations, organizations_listed, deployments, deployments_listed, service_tiers, service_tiers_listed, previous)
       SELECT c.book, p.part, p.starts_at, p.ends_at, p.organizations, p.organizations_listed, p.deployments, p.deployments_listed, p.service_tiers, p.service_tiers_listed, p.previous
       FROM change AS c, parts AS p`,
      [number, parts],
    );
  }

  /**
   * A record that nobody else will ever see: its transaction must not be committed. Numbers from 2^62 on keep no
   * settlement waiting. Gives its number.
   */
  async appendPreview(tx: Tx, record: RecordToAdd): Promise<string> {
    const [row] = await tx.query<{ number: string }>(
      `SELECT r.number, weir.append_price(ROW(r.*)::model_prices)
       FROM (SELECT 4611686018427387904 + floor(random() * 4e18)::bigint AS number, model, deployment, organization_id, source, effective_from,
               effective_to, weir.clock() AS recorded_at, recorded_by, service_tier, rates, note
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::jsonb[], $9::text[], $10::text[])
               AS new (model, deployment, organization_id, source, effective_from, effective_to, service_tier, rates, note, recorded_by)) AS r`,
      columnsOf([record]),
    );
    return row!.number;
  }

  /**
   * Milliseconds since 1970 before which calls have been removed; -Infinity: none have. Until the transaction ends
   * nothing more is removed.
   */
  async droppedBeforeMs(tx: Tx = this.db): Promise<number> {
    const [row] = await tx.query<{ dropped_before: Date | number }>(
      'SELECT dropped_before FROM usage_retention FOR SHARE',
    );
    return Number(row!.dropped_before);
  }
}

/** The parts of a change as they are written. Made beforehand: there may be thousands of names in them. */
export type ChangeParts = string & { readonly changeParts: unique symbol };
export const changeParts = (parts: readonly PricePart[]): ChangeParts =>
  JSON.stringify(
    parts.map((part, index) => ({
      part: index + 1,
      starts_at: timeText(part.startsAtMs),
      ends_at: timeText(part.endsAtMs),
      organizations: part.organizations.names,
      organizations_listed: part.organizations.listed,
      deployments: part.deployments.names,
      deployments_listed: part.deployments.listed,
      service_tiers: part.serviceTiers.names,
      service_tiers_listed: part.serviceTiers.listed,
      previous: part.previous,
    })),
  ) as ChangeParts;

/**
 * Milliseconds since 1970 at which a record may begin by the clock and the time of the last record: not before that one
 * where the clock was just set back.
 */
export const notBefore = (clockMs: number, lastRecordedMs: number | null): number =>
  lastRecordedMs !== null && lastRecordedMs > clockMs && lastRecordedMs <= clockMs + SET_BACK_MS
    ? lastRecordedMs
    : clockMs;

/** Numbers and times of recording go up together. */
const LAST_RECORDED_MS =
  '(SELECT extract(epoch FROM recorded_at) * 1000 FROM model_prices ORDER BY number DESC LIMIT 1)';

/** Milliseconds, for the rest of the transaction. */
const limit = (tx: Tx, ms: { lock: number; statement: number; idle: number }): Promise<unknown> =>
  tx.query(
    `SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $3, true)`,
    [String(ms.lock), String(ms.statement), String(ms.idle)],
  );

const columnsOf = (records: readonly RecordToAdd[]): unknown[] => [
  records.map((record) => record.model),
  records.map((record) => record.deployment),
  records.map((record) => record.organizationId),
  records.map((record) => record.source),
  records.map((record) => record.effectiveFrom.toISOString()),
  records.map((record) => record.effectiveTo?.toISOString() ?? null),
  records.map((record) => record.serviceTier),
  records.map((record) => JSON.stringify(canonicalRates(record.rates))),
  records.map((record) => record.note),
  records.map((record) => record.recordedBy ?? null),
];

/** As Postgres reads it; years up to 9999 have the form of RFC 3339. */
const timeText = (ms: number): string => (ms === Infinity ? 'infinity' : new Date(ms).toISOString());

const mapRecord = (row: PriceRow): PriceRecord => ({
  number: Number(row.number),
  model: row.model,
  deployment: row.deployment,
  organizationId: row.organization_id,
  source: row.source,
  effectiveFrom: row.effective_from,
  effectiveTo: row.effective_to,
  recordedAt: row.recorded_at,
  serviceTier: row.service_tier,
  rates: canonicalRates(row.rates),
});
