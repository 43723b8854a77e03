import type { Db, Tx } from '../../entities/data-source';
import { AppError } from '../../errors';
import { canonicalRates } from './canonical-rates';
import type { PricePart } from './price-parts';
import type { PriceRecord, PriceSource, Rates, RecordToAdd } from './pricing.types';

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
export interface Numbered { number: number; recordedAt: Date }

/** Milliseconds to wait until the settlements that run have ended: those that come meanwhile queue behind. */
const SETTLEMENTS_END_MS = 1_000;
/** Milliseconds to wait until a writer of the book has ended. */
const WRITERS_END_MS = 5_000;
export const LOCK_NOT_AVAILABLE = '55P03';

const RECORDS_AFTER = `SELECT number, model, deployment, organization_id, source, effective_from, effective_to, recorded_at, service_tier, rates
  FROM model_prices WHERE number > $1 ORDER BY number`;

/** The table of the price book. Nothing is ever changed or removed in it. */
export class PriceStore {
  constructor(private readonly db: Db) {}

  /**
   * The records with a higher number, ascending, and the time of the database in milliseconds since 1970. Numbers are given under a lock: none can appear
   * below one that was seen. Settlements wait for this: outside of a transaction it takes a connection of the data path, which no report can keep it from.
   */
  async after(number: number, tx?: Tx): Promise<{ records: PriceRecord[]; nowMs: number }> {
    const [rows, nowMs] = [await this.ask<PriceRow>('price_book', RECORDS_AFTER, [number], tx), await this.nowMs(tx)];
    return { records: rows.map(mapRecord), nowMs };
  }

  /** The time of this moment, not of the transaction's beginning: it may have waited for a lock while others appended. */
  async nowMs(tx?: Tx): Promise<number> {
    const [clock] = await this.ask<{ ms: string }>('price_clock', 'SELECT extract(epoch FROM weir.clock()) * 1000 AS ms', [], tx);
    return Number(clock!.ms);
  }

  private ask<R>(name: string, sql: string, values: readonly unknown[], tx?: Tx): Promise<R[]> {
    return tx ? tx.query<R>(sql, values) : this.db.hot<R>(name, sql, values);
  }

  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.db.transaction(work);
  }

  /** One writer at a time, over all replicas, until the transaction ends. To be taken before the prices of any model are. */
  async lock(tx: Tx): Promise<void> {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtext('weir.model_prices'))`);
  }

  /** Resolves when every writer of now has ended: what has a time of recording up to now is there to be read then. Throws SERVICE_UNAVAILABLE where one does not end. */
  async writersEnded(): Promise<void> {
    try {
      await this.db.transaction(async (tx) => {
        await tx.query(`SET LOCAL lock_timeout = ${WRITERS_END_MS}`);
        await tx.query(`SELECT pg_advisory_xact_lock_shared(hashtext('weir.model_prices'))`);
      });
    } catch (error) {
      if ((error as { code?: unknown }).code !== LOCK_NOT_AVAILABLE) throw error;
      throw new AppError('SERVICE_UNAVAILABLE', { internal: 'a writer of the price book does not end', cause: error });
    }
  }

  /**
   * Keeps calls of these models from being settled until the transaction ends, which must be soon. Needs the lock of the book. Gives the first
   * whole millisecond, since 1970, that is not before any call that has been settled. Fails with 55P03 where a settlement takes too long.
   */
  async lockPrices(tx: Tx, models: readonly string[]): Promise<number> {
    await tx.query(`SET LOCAL lock_timeout = ${SETTLEMENTS_END_MS}`);
    const [clock] = await tx.query<{ ms: string }>(`SELECT ceil(extract(epoch FROM weir.clock()) * 1000) AS ms FROM weir.lock_prices($1)`, [models]);
    return Number(clock!.ms);
  }

  /**
   * The one place where records are written. Needs the lock of the book, and the prices of their models. Times of recording are whole
   * milliseconds and strictly increasing, so that each says which records were there; the first of them is after this moment, so that the
   * book as of any time that has passed is fixed.
   */
  async append(tx: Tx, records: readonly RecordToAdd[]): Promise<Numbered[]> {
    const rows = await tx.query<{ number: string; recorded_at: Date }>(
      `WITH last AS (SELECT coalesce(max(number), 0) AS number, coalesce(max(recorded_at), '-infinity') AS recorded_at FROM model_prices)
       INSERT INTO model_prices (number, model, deployment, organization_id, source, effective_from, effective_to, recorded_at, service_tier, rates, note)
       SELECT last.number + new.position, model, deployment, organization_id, source, effective_from, effective_to,
         greatest(date_trunc('milliseconds', weir.clock()), date_trunc('milliseconds', last.recorded_at)) + new.position * interval '1 millisecond', service_tier, rates, note
       FROM last, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::jsonb[], $9::text[])
         WITH ORDINALITY AS new (model, deployment, organization_id, source, effective_from, effective_to, service_tier, rates, note, position)
       ORDER BY position RETURNING number, recorded_at`,
      columnsOf(records),
    );
    return rows.map((row) => ({ number: Number(row.number), recordedAt: row.recorded_at }));
  }

  /** For the price entries of a record in its own transaction: calls that were settled before it, in these parts, cost what it says. `number` as text: that of a preview is no JavaScript number. */
  async change(tx: Tx, number: string, parts: readonly PricePart[]): Promise<void> {
    const rows = parts.map((part, index) => ({
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
    }));
    await tx.query(
      `WITH parts AS (SELECT * FROM json_populate_recordset(NULL::price_change_parts, $2::json)),
       change AS (
         INSERT INTO price_changes (book, model, recorded_at, starts_at, ends_at)
         SELECT r.number, r.model, r.recorded_at, min(p.starts_at), max(p.ends_at) FROM model_prices AS r, parts AS p WHERE r.number = $1::bigint GROUP BY r.number
         RETURNING book)
       INSERT INTO price_change_parts (book, part, starts_at, ends_at, organizations, organizations_listed, deployments, deployments_listed, service_tiers, service_tiers_listed, previous)
       SELECT c.book, p.part, p.starts_at, p.ends_at, p.organizations, p.organizations_listed, p.deployments, p.deployments_listed, p.service_tiers, p.service_tiers_listed, p.previous
       FROM change AS c, parts AS p`,
      [number, JSON.stringify(rows)],
    );
  }

  /** A record that nobody else will ever see: its transaction must not be committed. Numbers from 2^62 on keep no settlement waiting. Gives its number. */
  async appendPreview(tx: Tx, record: RecordToAdd): Promise<string> {
    const [row] = await tx.query<{ number: string }>(
      `INSERT INTO model_prices (number, model, deployment, organization_id, source, effective_from, effective_to, recorded_at, service_tier, rates, note)
       SELECT 4611686018427387904 + floor(random() * 4e18)::bigint, model, deployment, organization_id, source, effective_from, effective_to, weir.clock(), service_tier, rates, note
       FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::jsonb[], $9::text[])
         AS new (model, deployment, organization_id, source, effective_from, effective_to, service_tier, rates, note)
       RETURNING number`,
      columnsOf([record]),
    );
    return row!.number;
  }

  /** Milliseconds since 1970 before which calls have been removed; -Infinity: none have. Until the transaction ends nothing more is removed. */
  async droppedBeforeMs(tx: Tx = this.db): Promise<number> {
    const [row] = await tx.query<{ dropped_before: Date | number }>('SELECT dropped_before FROM usage_retention FOR SHARE');
    return Number(row!.dropped_before);
  }
}

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
