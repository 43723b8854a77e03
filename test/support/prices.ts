import type { Tx } from '../../src/database/pool';

type Run = Pick<Tx, 'query'>;

export interface PriceFields {
  number: number;
  model: string;
  /** Dollars per token, decimal strings, as in the book. */
  rates: Record<string, unknown>;
  deployment?: string | null;
  organizationId?: string | null;
  source?: 'ADMIN' | 'PROXY' | 'FALLBACK';
  /** As Postgres reads it. Default: long ago. */
  effectiveFrom?: string;
  effectiveTo?: string | null;
  /** As Postgres reads it. Default: this moment, to the millisecond. */
  recordedAt?: string | null;
  serviceTier?: string | null;
}

/** Writes a record of the price book as it is given, past all that the product does to number and date it. */
export async function appendPrice(db: Run, fields: PriceFields): Promise<void> {
  const {
    number,
    model,
    rates,
    deployment = null,
    organizationId = null,
    source = 'ADMIN',
    effectiveFrom = '2020-01-01T00:00:00Z',
  } = fields;
  const { effectiveTo = null, recordedAt = null, serviceTier = null } = fields;
  await db.query(
    `SELECT weir.append_price(ROW(r.*)::model_prices)
     FROM (SELECT $1::bigint AS number, $2::text AS model, $3::text AS deployment, $4::text AS organization_id, $5::text AS source,
             $6::timestamptz AS effective_from, $7::timestamptz AS effective_to,
             coalesce($8::timestamptz, date_trunc('milliseconds', weir.clock())) AS recorded_at, NULL::text AS recorded_by,
             $9::text AS service_tier, $10::jsonb AS rates, NULL::text AS note) AS r`,
    [
      number,
      model,
      deployment,
      organizationId,
      source,
      effectiveFrom,
      effectiveTo,
      recordedAt,
      serviceTier,
      JSON.stringify(rates),
    ],
  );
}

export interface ChangeFields {
  book: number;
  model: string;
  from?: string;
  to?: string;
  /** The record that was in force before; null: none was. */
  previous?: number | null;
  recordedAt?: string | null;
}

/**
 * The record of that number is in force for all calls of its model that were settled until now, made in a span of time.
 */
export async function changeAllCalls(db: Run, fields: ChangeFields): Promise<void> {
  const { book, model, from = '2020-01-01T00:00:00Z', to = 'infinity', previous = null, recordedAt = null } = fields;
  await db.query(
    `INSERT INTO price_changes (book, model, recorded_at, starts_at, ends_at)
     SELECT $1::bigint, $2, coalesce($5::timestamptz, (SELECT recorded_at FROM model_prices WHERE number = $1::bigint), now()), $3, $4`,
    [book, model, from, to, recordedAt],
  );
  await db.query(
    `INSERT INTO price_change_parts (book, part, starts_at, ends_at, organizations, organizations_listed, deployments, deployments_listed,
       service_tiers, service_tiers_listed, previous)
     VALUES ($1, 1, $2, $3, '{}', false, '{}', false, '{}', false, $4)`,
    [book, from, to, previous],
  );
}
