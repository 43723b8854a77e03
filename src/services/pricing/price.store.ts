import type { Db, Tx } from '../../entities/data-source';
import { canonicalRates } from './canonical-rates';
import type { NewPrice } from './price-lookup';
import type { PriceRecord, PriceSource, Rates } from './pricing.types';

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

/** The table of the price book. Nothing is ever changed or removed in it. */
export class PriceStore {
  constructor(private readonly db: Db) {}

  /** The records with a higher number, ascending, and the time of the database. Numbers are given under a lock: none can appear below one that was seen. */
  async after(number: number, tx: Tx = this.db): Promise<{ records: PriceRecord[]; now: Date }> {
    const rows = await tx.query<PriceRow>(
      `SELECT number, model, deployment, organization_id, source, effective_from, effective_to, recorded_at, service_tier, rates
       FROM model_prices WHERE number > $1 ORDER BY number`,
      [number],
    );
    // On a connection of its own: the transaction's time is that of its beginning, and it may have waited for the lock while others appended.
    const [clock] = await this.db.query<{ now: Date }>('SELECT weir.now() AS now');
    return { records: rows.map(mapRecord), now: clock!.now };
  }

  /** One writer at a time, over all replicas, until the transaction ends. */
  async lock(tx: Tx): Promise<void> {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtext('weir.model_prices'))`);
  }

  /** Needs the lock. The records are in force from now on. */
  async append(tx: Tx, prices: readonly NewPrice[]): Promise<void> {
    await tx.query(
      `INSERT INTO model_prices (number, model, deployment, organization_id, source, effective_from, effective_to, service_tier, rates, note)
       SELECT (SELECT coalesce(max(number), 0) FROM model_prices) + row_number() OVER (ORDER BY position), model, deployment, NULL, source, weir.now(), NULL, NULL, rates, note
       FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::text[]) WITH ORDINALITY AS new (model, deployment, source, rates, note, position)`,
      [
        prices.map((price) => price.model),
        prices.map((price) => price.deployment),
        prices.map((price) => price.source),
        prices.map((price) => JSON.stringify(canonicalRates(price.rates))),
        prices.map((price) => price.note),
      ],
    );
  }
}

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
