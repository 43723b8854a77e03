import type { Db, Tx } from '../../database/pool';
import type { ImpactRow } from './price-impact';
import type { PricePart } from './price-parts';
import { changeParts, type PriceStore } from './price.store';
import type { PriceRecord, RecordToAdd } from './pricing.types';

/** From one time until before another; milliseconds since 1970. */
export interface Time {
  fromMs: number;
  toMs: number;
}

/** Thrown to roll a preview back. */
class Done<T> extends Error {
  constructor(readonly result: T) {
    super('rolled back on purpose');
  }
}

/** What price changes do to settled calls, read from the same entries as every report. */
export class PriceImpactStore {
  constructor(
    private readonly db: Db,
    private readonly prices: Pick<PriceStore, 'appendPreview' | 'change'>,
  ) {}

  /** The months (UTC) in which there may be calls, within a span; empty: there are none. */
  async months(fromMs: number, toMs: number): Promise<Time[]> {
    const rows = await this.db.query<{ from: string; to: string }>(
      // Every call is in a cube, or in a batch that waits for it.
      `WITH first AS (SELECT least((SELECT min(day)::timestamp AT TIME ZONE 'UTC' FROM usage_daily_overall), (SELECT min(from_at) FROM usage_batches)) AS at)
       SELECT extract(epoch FROM m AT TIME ZONE 'UTC') * 1000 AS from, extract(epoch FROM (m + interval '1 month') AT TIME ZONE 'UTC') * 1000 AS to
       FROM first CROSS JOIN LATERAL generate_series(date_trunc('month', greatest(first.at, $1::timestamptz) AT TIME ZONE 'UTC'), least(weir.clock(), $2::timestamptz) AT TIME ZONE 'UTC', interval '1 month') AS m
       WHERE first.at IS NOT NULL`,
      [timeText(fromMs), timeText(toMs)],
    );
    return rows.map((row) => ({ fromMs: Number(row.from), toMs: Number(row.to) }));
  }

  /**
   * What a record that nobody has recorded would do to calls of a time. A short transaction each: none keeps the tables
   * of calls in flight from being cleaned up.
   */
  async preview(record: RecordToAdd, parts: readonly PricePart[], time: Time): Promise<ImpactRow[]> {
    try {
      return await this.db.transaction<never>(async (tx) => {
        const number = await this.prices.appendPreview(tx, record);
        await this.prices.change(tx, number, changeParts(parts));
        throw new Done(await this.sum(tx, number, record.model, time));
      });
    } catch (error) {
      if (error instanceof Done) return error.result as ImpactRow[];
      throw error;
    }
  }

  /** What a record did to calls of a time. */
  recorded(price: Pick<PriceRecord, 'number' | 'model'>, time: Time): Promise<ImpactRow[]> {
    return this.sum(this.db, String(price.number), price.model, time);
  }

  /**
   * Calls are counted by their rows' signs: of one that was corrected, the rows that do not stand take each other back.
   */
  private async sum(tx: Tx, number: string, model: string, time: Time): Promise<ImpactRow[]> {
    const rows = await tx.query<Omit<ImpactRow, 'calls' | 'pricedBefore'> & { calls: string; pricedBefore: string }>(
      // OFFSET keeps the costs of a row from being worked out again wherever they are named. The model is there to be
      // looked at before anything else of a row is.
      `SELECT organization_id AS "organizationId", sum(sign) AS calls, coalesce(sum(sign) FILTER (WHERE cost_before IS NOT NULL), 0) AS "pricedBefore",
         coalesce(sum(cost_before), 0) AS before, sum(cost_after) AS after
       FROM (SELECT organization_id, sign, cost_before, cost_after FROM weir.price_entries
             WHERE book = $1::bigint AND served_model = $2 AND occurred_at >= $3::timestamptz AND occurred_at < $4::timestamptz OFFSET 0) AS e
       WHERE cost_before IS DISTINCT FROM cost_after GROUP BY organization_id`,
      [number, model, timeText(time.fromMs), timeText(time.toMs)],
    );
    return rows.map((row) => ({ ...row, calls: Number(row.calls), pricedBefore: Number(row.pricedBefore) }));
  }
}

/** Years up to 9999 have the form of RFC 3339. */
const timeText = (ms: number): string => (ms === Infinity ? 'infinity' : new Date(ms).toISOString());
