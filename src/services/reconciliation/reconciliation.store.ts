import { pricedCall } from '../../database/priced-call';
import type { Db } from '../../database/pool';
import { canonicalDecimal } from '../../lib/decimal';
import type { PriceSource } from '../pricing/pricing.types';
import type { OurCall } from './reconciliation.types';

/** Milliseconds since 1970; `fromMs` inclusive, `toMs` exclusive, both of `occurred_at`. */
export interface Span {
  fromMs: number;
  toMs: number;
  /** null: of all. */ organizationId: string | null;
}

interface CallSql {
  id: string;
  rowId: string;
  occurredAt: string;
  organizationId: string;
  userId: string;
  status: string;
  streamed: boolean;
  usageSource: string;
  servedModel: string;
  totalTokens: number;
  uncachedPrompt: number;
  cacheRead: number;
  cacheWrite: number;
  cacheWriteOneHour: number;
  output: number;
  reasoning: number;
  rawUsage: unknown;
  cost: string | null;
  cacheReadCost: string | null;
  cacheWriteCost: string | null;
  priceNumber: number | null;
  priceSource: PriceSource | null;
  priceOwn: boolean | null;
  priceModel: string | null;
  correctedAt: Date | null;
  tokensBefore: number | null;
  costBefore: string | null;
}

/**
 * One organisation after the other by the index, since no index is by time alone; OFFSET 0 keeps the planner from
 * reading whole months instead. What was settled only now is left out: the proxy's record may still be on its way.
 */
const CALLS = `
  SELECT coalesce((x.u).corrects_id, (x.u).id) AS id, (x.u).id AS "rowId", to_char((x.u).occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "occurredAt",
    (x.u).organization_id AS "organizationId", (x.u).user_id AS "userId", (x.u).status, (x.u).streamed, (x.u).usage_source AS "usageSource", (x.u).served_model AS "servedModel", (x.u).total_tokens AS "totalTokens",
    (x.u).uncached_prompt_tokens AS "uncachedPrompt", (x.u).cache_read_tokens AS "cacheRead", (x.u).cache_write_tokens AS "cacheWrite", (x.u).cache_write_one_hour_tokens AS "cacheWriteOneHour",
    (x.u).output_tokens AS output, (x.u).reasoning_tokens AS reasoning, (x.u).raw_usage AS "rawUsage", c.cost::text, c.cost_cache_read::text AS "cacheReadCost", c.cost_cache_write::text AS "cacheWriteCost",
    p.number::float8 AS "priceNumber", p.source AS "priceSource", p.organization_id IS NOT NULL AS "priceOwn", p.model AS "priceModel",
    CASE WHEN r.id IS NOT NULL THEN (x.u).settled_at END AS "correctedAt", -r.total_tokens AS "tokensBefore", (-r.cost)::text AS "costBefore"
  FROM organizations AS o
  CROSS JOIN LATERAL (
    SELECT u FROM llm_usage AS u
    WHERE u.organization_id = o.id AND u.occurred_at >= $1::timestamptz AND u.occurred_at < $2::timestamptz AND u.upstream = 'LITELLM'
      AND (u.kind = 'CORRECTION' OR u.settled_at < weir.now() - make_interval(secs => $4::float8 / 1000))
      AND u.kind <> 'REVERSAL' AND NOT EXISTS (SELECT FROM llm_usage AS later WHERE later.corrects_id IS NOT NULL AND later.organization_id = u.organization_id
        AND later.occurred_at = u.occurred_at AND later.corrects_id = coalesce(u.corrects_id, u.id) AND later.correction > u.correction)
    OFFSET 0) AS x
  CROSS JOIN LATERAL weir.cost_as_of(${pricedCall('(x.u)')}, NULL) AS c
  LEFT JOIN model_prices AS p ON p.number = c.price_number
  LEFT JOIN llm_usage AS r ON (x.u).correction_reason = 'RECONCILIATION' AND r.kind = 'REVERSAL' AND r.organization_id = (x.u).organization_id AND r.occurred_at = (x.u).occurred_at
    AND r.corrects_id = (x.u).corrects_id AND r.correction = (x.u).correction
  WHERE $3::text IS NULL OR o.id = $3
  LIMIT $5`;

/** What reconciliation reads. It writes corrections through `weir.correct` only. */
export class ReconciliationStore {
  constructor(private readonly db: Db) {}

  /** By the database's clock; what is older than `keptFrom` has no rows any more (null: everything has). */
  async clock(): Promise<{ now: Date; keptFrom: Date | null }> {
    const [row] = await this.db.query<{ now: Date; keptFrom: Date | null }>(
      `SELECT weir.now() AS now, CASE WHEN dropped_before > '-infinity' THEN dropped_before END AS "keptFrom" FROM usage_retention`,
    );
    return row!;
  }

  /**
   * Calls through the proxy that ended `settledForMs` ago or earlier, in no order; more than `limit`: one too many are
   * given.
   */
  async calls({ fromMs, toMs, organizationId }: Span, settledForMs: number, limit: number): Promise<OurCall[]> {
    const rows = await this.db.query<CallSql>(CALLS, [
      new Date(fromMs),
      new Date(toMs),
      organizationId,
      settledForMs,
      limit + 1,
    ]);
    return rows.map(mapCall);
  }

  /**
   * Whose those of the ids are that are calls of ours, ended or in flight, made within a day of the span: user by call.
   */
  async ownersOf(ids: readonly string[], fromMs: number, toMs: number): Promise<Map<string, string>> {
    if (ids.length === 0) return new Map();
    const rows = await this.db.query<{ id: string; userId: string }>(
      // One look for each organisation: every index begins with it.
      `SELECT c.id, c.user_id AS "userId" FROM organizations AS o CROSS JOIN LATERAL (
         SELECT f.id, f.user_id FROM calls_in_flight AS f WHERE f.organization_id = o.id AND f.id = ANY ($1)
         UNION ALL
         SELECT u.id, u.user_id FROM llm_usage AS u WHERE u.organization_id = o.id AND u.id = ANY ($1)
           AND u.occurred_at >= $2::timestamptz - interval '1 day' AND u.occurred_at < $3::timestamptz + interval '1 day' OFFSET 0) AS c`,
      [ids, new Date(fromMs), new Date(toMs)],
    );
    return new Map(rows.map(({ id, userId }) => [id, userId]));
  }

  /** What keys and teams of ours begin with at the proxy. */
  async proxyNamePrefix(): Promise<string> {
    const [row] = await this.db.query<{ id: string }>('SELECT id FROM installation');
    return `weir-${row!.id}-`;
  }
}

const decimal = (text: string | null): string | null => (text === null ? null : canonicalDecimal(text));

const mapCall = (row: CallSql): OurCall => ({
  id: row.id,
  rowId: row.rowId,
  occurredAt: row.occurredAt,
  organizationId: row.organizationId,
  userId: row.userId,
  status: row.status as OurCall['status'],
  streamed: row.streamed,
  usageSource: row.usageSource as OurCall['usageSource'],
  servedModel: row.servedModel,
  tokens: {
    uncachedPrompt: row.uncachedPrompt,
    cacheRead: row.cacheRead,
    cacheWrite: row.cacheWrite,
    cacheWriteOneHour: row.cacheWriteOneHour,
    output: row.output,
    reasoning: row.reasoning,
  },
  totalTokens: row.totalTokens,
  rawUsage: row.rawUsage,
  cost: decimal(row.cost),
  cacheReadCost: decimal(row.cacheReadCost),
  cacheWriteCost: decimal(row.cacheWriteCost),
  price:
    row.priceNumber === null
      ? null
      : { number: row.priceNumber, source: row.priceSource!, own: row.priceOwn!, model: row.priceModel! },
  corrected:
    row.correctedAt === null
      ? null
      : { at: row.correctedAt, totalTokens: row.tokensBefore!, cost: decimal(row.costBefore) },
});
