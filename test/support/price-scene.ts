import { Client } from 'pg';
import { openDatabase, type Db } from '../../src/database/pool';
import { canonicalDecimal } from '../../src/lib/decimal';
import { LedgerStore } from '../../src/services/ledger/ledger.store';
import { PriceBook } from '../../src/services/pricing/price-book';
import { priceUsage } from '../../src/services/pricing/price-usage';
import { PriceService } from '../../src/services/pricing/price.service';
import type { ModelPriceEdit, PriceChangeResult } from '../../src/services/pricing/pricing.types';
import { callEnd } from './call-ends';
import { createTestDatabase, type TestDatabase } from './database';
import { createWorld, type World } from './factories';
import { memoryLogger } from './log';
import { waitFor } from './wait';
import type { Settlement } from '../../src/domain/call';

/** What one replica prices and settles with. */
export interface Replica {
  db: Db;
  book: PriceBook;
  calls: LedgerStore;
  prices: PriceService;
}

/** A price book with two replicas that settle by it. */
export class PriceScene {
  private readonly closers: (() => Promise<void>)[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly ours: World,
    readonly theirs: World,
    readonly a: Replica,
    readonly b: Replica,
  ) {}

  static async open(): Promise<PriceScene> {
    const database = await createTestDatabase();
    const other = await openDatabase({ url: database.url, poolSize: 6, applicationName: 'weir-other' }, () => {});
    const ours = await createWorld(database.db, { name: 'Ours' });
    const theirs = await createWorld(database.db, { name: 'Theirs' });
    const scene = new PriceScene(database, ours, theirs, await replicaOf(database.db), await replicaOf(other));
    scene.closers.push(() => other.close());
    return scene;
  }

  get db(): Db {
    return this.database.db;
  }

  async close(): Promise<void> {
    for (const closer of this.closers) await closer();
    await this.database.close();
  }

  /** The end of a call of our member, priced by what a replica knows. */
  end(fields: Partial<Settlement> = {}, by: Replica = this.a): Settlement {
    const end = callEnd({ organizationId: this.ours.organizationId, userId: this.ours.member.id, ...fields });
    return { ...end, ...priceUsage(end, by.book) };
  }

  /** Settles a call, priced by what replica a knows. */
  async settle(fields: Partial<Settlement> = {}): Promise<Settlement> {
    const end = this.end(fields);
    if ((await this.a.calls.settle([end])).length !== 1) throw new Error(`${end.id} was settled before`);
    return end;
  }

  setPrice(
    input: Pick<ModelPriceEdit, 'model'> & Partial<ModelPriceEdit>,
    dryRun = false,
    by: Replica = this.a,
  ): Promise<PriceChangeResult> {
    return by.prices.setModelPrice(
      this.ours.operator.viewer,
      { effectiveFrom: new Date('2026-01-01T00:00:00Z'), inputPerMillion: '1', outputPerMillion: '1', ...input },
      dryRun,
    );
  }

  /** What a model cost as it was known at a time (null: now), from the entries; and its calls without a price. */
  async figures(model: string, asOf: Date | null = null): Promise<{ cost: string; unpriced: number; priced: number }> {
    const [row] = await this.db.query<{ cost: string; unpriced: string; priced: string }>(
      `SELECT coalesce(sum(cost), 0) AS cost, coalesce(sum(unpriced_calls), 0) AS unpriced, coalesce(sum(priced_calls), 0) AS priced FROM (
         SELECT cost, unpriced_calls, priced_calls FROM weir.row_entries WHERE served_model = $1 AND ($2::timestamptz IS NULL OR settled_at <= $2)
         UNION ALL SELECT cost, unpriced_calls, priced_calls FROM weir.price_entries WHERE served_model = $1 AND ($2::timestamptz IS NULL OR (entry_at <= $2 AND settled_at <= $2))) AS e`,
      [model, asOf],
    );
    return { cost: canonicalDecimal(row!.cost), unpriced: Number(row!.unpriced), priced: Number(row!.priced) };
  }

  /** Everything that a price change writes, as one text. */
  async bookState(): Promise<string> {
    const tables = [
      'model_prices',
      'price_rates',
      'price_versions',
      'price_changes',
      'price_change_parts',
      'llm_usage',
      'usage_batches',
    ];
    const sums = tables.map(
      (table) => `(SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM ${table} AS t)`,
    );
    const [row] = await this.db.query<{ state: string }>(`SELECT concat_ws(' ', ${sums.join(', ')}) AS state`);
    return row!.state;
  }

  /** A connection of its own, for what is done in the middle of somebody else's transaction. Ends with the work. */
  async session<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({
      connectionString: this.database.url,
      application_name: 'session',
      options: '-c TimeZone=UTC',
    });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  /** Until a statement that contains the text waits for a lock. */
  async waiting(text: string): Promise<void> {
    const waits = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'`;
    await waitFor(async () => (await this.db.query(waits, [text])).length > 0, {
      what: `a statement with ${text} to wait`,
    });
  }
}

export async function replicaOf(db: Db): Promise<Replica> {
  const book = new PriceBook({ db, logger: memoryLogger() });
  await book.start();
  const people = {
    visibleOrganization: async (_viewer: unknown, id: string) =>
      (await db.query<{ id: string; name: string }>('SELECT id, name FROM organizations WHERE id = $1', [id]))[0] ??
      null,
  };
  return {
    db,
    book,
    calls: new LedgerStore(db, book),
    prices: new PriceService({ db, book, people, logger: memoryLogger() }),
  };
}
