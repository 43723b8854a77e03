import type { Db } from '../../database/pool';

export interface CubesLag {
  /** Since the oldest call that is not in the cubes was settled; 0: there is none. Seconds. */
  behindSeconds: number;
  /** Rows that wait, corrections included; 0 where the lag is not worth counting them. */
  waiting: number;
  /** The oldest price change that is not yet wholly in the cubes; `upTo` as a date (UTC), null: nothing of it is. */
  priceChange: { book: string; upTo: string | null } | null;
}

/**
 * How far the cubes are behind: asked of the tables, so that it does not matter which process folds, or that none does.
 */
export class RollupLagStore {
  constructor(private readonly db: Db) {}

  async lag(countFromSeconds: number): Promise<CubesLag> {
    const [row] = await this.db.query<{ behind: number; waiting: string; book: string | null; upTo: string | null }>(
      `SELECT b.behind, CASE WHEN b.behind >= $1 THEN (SELECT sum(rows) FROM usage_batches) ELSE 0 END::bigint AS waiting, c.book, c.up_to AS "upTo"
       FROM (SELECT coalesce((SELECT greatest(extract(epoch FROM weir.clock() - settled_at), 0) FROM usage_batches ORDER BY settled_at LIMIT 1), 0)::float8 AS behind) AS b
       LEFT JOIN (SELECT book, CASE WHEN folded_before > '-infinity' THEN to_char(folded_before AT TIME ZONE 'UTC', 'YYYY-MM-DD') END AS up_to FROM price_changes WHERE folded_before < 'infinity' ORDER BY book LIMIT 1) AS c ON true`,
      [countFromSeconds],
    );
    const { behind, waiting, book, upTo } = row!;
    return { behindSeconds: behind, waiting: Number(waiting), priceChange: book === null ? null : { book, upTo } };
  }
}
