import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { plausible } from '../../../src/services/ledger/bound';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import { PriceBook } from '../../../src/services/pricing/price-book';
import { Corrector } from '../../../src/services/reconciliation/corrector';
import { Reconciler } from '../../../src/services/reconciliation/reconciler';
import { Reconciliation } from '../../../src/services/reconciliation/reconciliation.service';
import { ReconciliationStore } from '../../../src/services/reconciliation/reconciliation.store';
import { Sums } from '../../../src/services/reconciliation/sums';
import { reportLimiter } from '../../../src/services/usage/report-limiter';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { LitellmStandIn } from '../../support/litellm-admin';
import { memoryLogger } from '../../support/log';
import { appendPrice } from '../../support/prices';
import type { StandInRecord } from '../../support/spend-records';
import { insertUsage, usageRow, type UsageRow } from '../usage/usage-rows';

/** The database's clock. */
export const NOW = '2026-11-21T12:00:00Z';
/** Dollars per token: what the rows and the records of this scene cost. */
export const RATES = { input: '0.000001', output: '0.00001', cacheRead: '0.0000005' };
export const FROM = new Date('2026-11-20T00:00:00Z');
export const TO = new Date('2026-11-21T00:00:00Z');

/** A database with a price book, and a proxy that keeps records. */
export class ReconciliationScene {
  readonly logger = memoryLogger();
  /** Tokens, by model; of any other nothing is known. */
  readonly contextWindows = new Map<string, number>();
  readonly store: ReconciliationStore;
  readonly reconciler: Reconciler;
  readonly corrector: Corrector;
  readonly service: Reconciliation;

  private constructor(
    readonly database: TestDatabase,
    readonly world: World,
    readonly theirs: World,
    readonly proxy: LitellmStandIn,
    readonly admin: LitellmAdmin,
    readonly prices: PriceBook,
    /** What keys and teams of ours begin with. */
    readonly prefix: string,
  ) {
    const { db } = database;
    this.store = new ReconciliationStore(db);
    this.reconciler = this.reconcilerOf(admin);
    this.corrector = new Corrector({
      store: new RecoveryStore(db),
      calls: new LedgerStore(db, prices),
      prices,
      modelOf: () => null,
      logger: this.logger,
    });
    this.service = this.serviceWithin({ calls: 10_000, ms: 60_000 });
  }

  static async open(): Promise<ReconciliationScene> {
    const database = await createTestDatabase();
    const { db } = database;
    const world = await createWorld(db);
    const theirs = await createWorld(db, { name: 'Theirs' });
    await appendPrice(db, {
      number: 1,
      model: 'm',
      source: 'PROXY',
      effectiveFrom: '2026-01-01',
      recordedAt: '2026-01-01',
      rates: RATES,
    });
    await setClock(db, NOW);
    const proxy = await LitellmStandIn.start();
    const admin = new LitellmAdmin({ baseUrl: proxy.baseUrl, masterKey: proxy.masterKey });
    const prices = new PriceBook({ db, logger: memoryLogger() });
    await prices.start();
    const [installation] = await db.query<{ id: string }>('SELECT id FROM installation');
    return new ReconciliationScene(database, world, theirs, proxy, admin, prices, `weir-${installation!.id}-`);
  }

  async close(): Promise<void> {
    await this.admin.close();
    await this.proxy.stop();
    await this.database.close();
  }

  reconcilerOf(admin: LitellmAdmin): Reconciler {
    const modelOf = (id: string): { contextWindow: number } | null =>
      this.contextWindows.has(id) ? { contextWindow: this.contextWindows.get(id)! } : null;
    return new Reconciler({ store: this.store, records: admin, plausible, modelOf });
  }

  serviceWithin(limits: { calls: number; ms: number }): Reconciliation {
    return new Reconciliation({
      reconciler: this.reconciler,
      store: this.store,
      isNightly: true,
      limiter: reportLimiter(),
      limits,
    });
  }

  /** A settled call of the member's, through the proxy: 10 and 5 tokens, 0.00006 dollars. */
  async call(
    fields: Partial<UsageRow> & {
      settled_at?: string;
      price_number?: number | null;
      raw_usage?: unknown;
      service_tier?: string;
      cost_cache_read?: string;
    } = {},
  ): Promise<UsageRow> {
    const { member } = this.world;
    const at = fields.occurred_at ?? '2026-11-20T10:00:00.123456Z';
    const row = {
      ...usageRow({
        organization_id: member.organizationId,
        user_id: member.id,
        occurred_at: at,
        upstream: 'LITELLM',
        cost: '0.00006',
        cost_input: '0.00001',
        cost_output: '0.00005',
        ...fields,
      }),
      settled_at: at,
      price_number: 1,
      ...fields,
    };
    await insertUsage(this.database.db, [row as UsageRow]);
    return row;
  }

  /** The proxy's record of a call, as it should be, but for the fields. */
  record(call: Pick<UsageRow, 'id' | 'occurred_at'>, fields: Partial<StandInRecord> = {}): void {
    const startTime = new Date(Date.parse(call.occurred_at) + 20).toISOString();
    this.proxy.record({
      callId: call.id,
      startTime,
      keyAlias: `${this.prefix}${this.world.member.id}`,
      teamId: `${this.prefix}${this.world.planId}`,
      ...fields,
    });
  }

  /** As the operator, or whoever else. */
  compare(
    args: { from?: Date; to?: Date; first?: number; after?: string } = {},
    viewer = this.world.operator.viewer,
  ): ReturnType<Reconciliation['compare']> {
    return this.service.compare(viewer, { from: FROM, to: TO, first: 100, ...args });
  }

  /** The whole span, estimates corrected, as the nightly run does it. */
  async correct(): Promise<Sums> {
    const sums = new Sums();
    for await (const step of this.reconciler.walk({
      fromMs: FROM.getTime(),
      toMs: TO.getTime(),
      organizationId: null,
      planned: () => 'planned',
      corrector: this.corrector,
    }))
      sums.add(step);
    return sums;
  }

  /** All rows of a call. */
  usage(callId: string): Promise<any[]> {
    return this.database.db.query(
      'SELECT *, trim_scale(cost)::text AS cost FROM llm_usage WHERE coalesce(corrects_id, id) = $1 ORDER BY correction, kind DESC',
      [callId],
    );
  }
}
