import { BackgroundConnection } from '../../database/background-connection';

/**
 * A slice is made to take seconds; the first one of a price change may be of a day that has millions of calls.
 * Milliseconds.
 */
const STATEMENT_MS = 600_000;

export interface PriceSlice {
  /** The price change, by the number of its record. */
  book: string;
  /** As Postgres writes it; infinity: the last slice. */
  upTo: string;
  isLast: boolean;
}

/** Where to begin, whatever a record says of its beginning: what is older than all partitions is in the first slice. */
const OLDEST = `(SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \\('([^']+)'\\)$$)::timestamptz) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'public.llm_usage'::regclass)`;

/** Folds the differences that price changes make for older calls, on a connection of its own. */
export class PriceFolderStore {
  private readonly connection: BackgroundConnection;

  constructor(url: string) {
    this.connection = new BackgroundConnection({
      url,
      applicationName: 'weir-price-folder',
      statementTimeoutMs: STATEMENT_MS,
    });
  }

  /**
   * The next slice of the oldest price change that is not yet in the cubes: so many milliseconds long, never beyond the
   * end of a month (UTC).
   */
  async next(sliceMs: number): Promise<PriceSlice | null> {
    const [row] = await this.connection.query<PriceSlice>(
      `SELECT p.book, s.is_last AS "isLast", CASE WHEN s.is_last THEN 'infinity' ELSE s.up_to::text END AS "upTo"
       FROM (SELECT *, greatest(folded_before, starts_at, coalesce(${OLDEST}, weir.now())) AS from_at FROM price_changes WHERE folded_before < 'infinity' ORDER BY book LIMIT 1) AS p
       CROSS JOIN LATERAL (SELECT least(p.from_at + $1 * interval '1 millisecond', (date_trunc('month', p.from_at AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC') AS up_to) AS m
       -- All calls that it concerns had been settled when it was recorded.
       CROSS JOIN LATERAL (SELECT m.up_to, m.up_to >= p.ends_at OR m.up_to > p.recorded_at AS is_last) AS s`,
      [sliceMs],
    );
    return row ?? null;
  }

  /** false: another process is folding a price change. */
  async fold(slice: PriceSlice): Promise<boolean> {
    const [row] = await this.connection.query<{ folded: boolean }>('SELECT weir.fold_price_change($1, $2) AS folded', [
      slice.book,
      slice.upTo,
    ]);
    return row!.folded;
  }

  close(): void {
    this.connection.close();
  }
}
