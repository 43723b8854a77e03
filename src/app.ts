import { hostname } from 'node:os';
import { randomBytes } from 'node:crypto';
import { openReconciliation } from './app-reconciliation';
import { openStreams } from './app-streams';
import { openUpstream } from './app-upstream';
import type { Config } from './config';
import type { Viewer } from './domain/principal';
import { openDatabase, type Db } from './database/pool';
import type { Logger } from './lib/logger';
import { Metrics } from './lib/metrics';
import { loadTokenizer } from './lib/token-estimate';
import { buildGraphSchema } from './resolvers/schema';
import { openMetricsDoor } from './server/metrics-door';
import { createServer } from './server/server';
import { AlertFeed } from './services/budgets/alert-feed';
import { AlertStore } from './services/budgets/alert.store';
import { BudgetService } from './services/budgets/budget.service';
import { BudgetStore } from './services/budgets/budget.store';
import { LedgerStore } from './services/ledger/ledger.store';
import type { CallUpstream } from './services/pipeline/2-route';
import { ChatService } from './services/pipeline/operations/chat.service';
import { Pipeline } from './services/pipeline/pipeline';
import { Partitions } from './services/ledger/partitions';
import { Idempotency } from './services/idempotency/idempotency';
import { IdempotencyStore } from './services/idempotency/idempotency.store';
import { RemoteStops } from './services/pipeline/remote-stops';
import { plausible } from './services/ledger/bound';
import { ConversationService } from './services/conversations/conversation.service';
import { ConversationStore } from './services/conversations/conversation.store';
import { RollupWorker } from './services/rollups/rollup-worker';
import { KeyService } from './services/keys/key.service';
import { CheckpointStore } from './services/recovery/checkpoint.store';
import { Checkpoints } from './services/recovery/checkpoints';
import { Journal } from './services/recovery/journal';
import { Liveness } from './services/recovery/liveness';
import { OwnersStore } from './services/recovery/owners.store';
import { Recovery } from './services/recovery/recovery';
import { RecoveryStore } from './services/recovery/recovery.store';
import { SettlementWriter } from './services/recovery/settlement-writer';
import { directHealth, litellmHealth } from './services/upstream/litellm/detect';
import { ModelCatalog } from './services/catalog/model-catalog';
import { ModelService } from './services/catalog/model.service';
import { PlanService } from './services/plans/plan.service';
import { PriceBook } from './services/pricing/price-book';
import { PriceService } from './services/pricing/price.service';
import { RunningCalls } from './services/pipeline/running-calls';
import { observeStates } from './app-metrics';
import { StatusService } from './server/health';
import { AsOf } from './services/usage/as-of.store';
import { ExportLinks } from './services/exports/export-link';
import { ExportService } from './services/exports/export.service';
import { ExportStore } from './services/exports/export.store';
import { reportLimiter } from './services/usage/report-limiter';
import { UsageService } from './services/usage/usage.service';
import { UsageUpdates } from './services/usage/usage-updates';
import { UsageUpdatesStore } from './services/usage/usage-updates.store';
import { SessionRevocation } from './services/auth/session-revocation';
import { AccessNotices } from './services/auth/access-notices';
import { AuthService } from './services/auth/auth.service';
import { PeopleService } from './services/accounts/people.service';
import type { Services } from './resolvers/context';
import { allows } from './domain/plan';
import { inTime, LATE } from './lib/timeout';

export interface App {
  /** Opens the doors. `url` is the GraphQL endpoint. */
  start(): Promise<{ url: string; port: number }>;
  /**
   * Stop listening → refuse new operations → running calls finish or are stopped at the deadline → close. Resolves when
   * everything is closed; rejects then, if calls could not be booked.
   */
  stop(): Promise<void>;
  services: Services;
  pipeline: Pipeline;
  db: Db;
  running: RunningCalls;
}

export const VERSION = '0.2.0';

/** Milliseconds that a group of calls may take before it is reported. */
const SLOW_GROUP_MS = 20;
/**
 * Milliseconds for each part to close: one that waits for a database which does not answer must not use up the time of
 * the others.
 */
const CLOSE_MS = 1_500;

/** Waits for the work, not longer than so many milliseconds; what goes wrong is only told. */
async function within(ms: number, work: Promise<void> | void, onFailure: (error: unknown) => void): Promise<void> {
  try {
    if ((await inTime(Promise.resolve(work), ms)) === LATE) onFailure(new Error(`not closed within ${ms} ms`));
  } catch (error) {
    onFailure(error);
  }
}

/**
 * The composition root: builds everything in order, against a migrated database. Each resource pushes its own end at
 * the line where it is opened.
 */
export async function createApp(config: Config, logger: Logger): Promise<App> {
  const closers: (() => Promise<void> | void)[] = [];
  const onClose = (close: () => Promise<void> | void): void => void closers.push(close);
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse())
      await within(CLOSE_MS, close(), (error) =>
        logger.warn({ err: error }, 'a part of the server did not close properly'),
      );
  };
  try {
    const db = await openDatabase({ url: config.databaseUrl, poolSize: config.databasePoolSize }, (error) =>
      logger.warn({ err: error }, 'a database connection was lost'),
    );
    onClose(() => db.close());

    const running = new RunningCalls();
    const prices = new PriceBook({ db, logger });
    await prices.start();
    const metrics = new Metrics({ version: VERSION });
    const callStore = new LedgerStore(db, prices, (group) => {
      metrics.groupSize.observe({ kind: group.what }, group.calls);
      metrics.groupSeconds.observe({ kind: group.what }, group.elapsedMs / 1_000);
      if (group.elapsedMs > SLOW_GROUP_MS) logger.warn(group, 'a group of calls took long to write');
    });
    const partitions = new Partitions({ store: callStore, logger });
    await partitions.start();
    onClose(() => partitions.stop());
    const owners = new OwnersStore(db);
    const installation = await owners.installation();
    // What an earlier process could not write is written before anybody looks for calls without an end.
    const writer = new SettlementWriter({
      store: callStore,
      journal: new Journal({ home: config.home, database: installation, logger }),
      logger,
    });
    await writer.start();
    onClose(async () => void (await writer.stop()));
    const checkpoints = new Checkpoints({ store: new CheckpointStore(db), logger });
    onClose(() => checkpoints.stop());
    const alerts = new AlertFeed({ databaseUrl: config.databaseUrl, store: new AlertStore(db), logger });
    await alerts.start();
    onClose(() => alerts.stop());

    const { admin, client, source, target } = openUpstream(config, onClose);

    // Plans, models and keys know each other: a plan's models are known when the catalogue is, and the proxy is told of
    // both.
    const plans: PlanService = new PlanService({ db, logger, onChanged: (plan) => keys.syncPlan(plan) });
    const catalog: ModelCatalog = new ModelCatalog({
      db,
      logger,
      source,
      safeModeModels: config.safeModeModels,
      refreshMs: config.modelRefreshMs,
      onRefreshed: async (listed) => {
        await Promise.all([prices.record(listed.prices), keys.syncAll()]);
      },
    });
    const keys: KeyService = new KeyService({
      db,
      admin,
      secretKey: config.secretKey,
      plans,
      modelsOf: (plan) =>
        catalog
          .snapshot()
          .models.filter((model) => allows(plan, model))
          .map((model) => model.id),
      logger,
    });
    await plans.start();
    onClose(() => plans.stop());
    await catalog.start();
    onClose(() => catalog.stop());
    keys.start();
    onClose(() => keys.stop());

    const auth = new AuthService({ db, config: config.auth, logger, plans });
    onClose(() => auth.stop());
    const revocation = new SessionRevocation({ auth, running, logger });
    onClose(() => revocation.stop());
    const accessNotices = new AccessNotices({ databaseUrl: config.databaseUrl, auth, ends: revocation, logger });
    onClose(() => accessNotices.stop());
    await accessNotices.start();
    const people = new PeopleService({
      db,
      plans,
      keys,
      auth,
      logger,
      onAccessEnded: (userId) => revocation.endUser(userId),
    });
    const conversations = new ConversationService({ store: new ConversationStore(db), people });
    const usage = new UsageService({ db });
    const usageUpdates = new UsageUpdates({ usage, store: new UsageUpdatesStore(db), logger });
    const figures = new RollupWorker({
      databaseUrl: config.databaseUrl,
      db,
      retentionMonths: config.usageRetentionMonths,
      logger,
    });
    figures.start();
    onClose(() => figures.stop());
    const exporter = new ExportService({
      store: new ExportStore(db),
      links: new ExportLinks(config.secretKey),
      asOf: new AsOf(db),
      auth,
      people,
      logger,
    });
    const budgets = new BudgetService({
      store: new BudgetStore(db),
      people,
      alerts,
      logger,
      limiter: reportLimiter({ max: 2, maxWaitingOfKey: 200 }),
    });
    const idempotency = new Idempotency({
      store: new IdempotencyStore(db),
      running,
      logger,
      totalMs: config.timeouts.totalMs,
    });
    onClose(() => idempotency.stop());
    const owner = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const remoteStops = new RemoteStops({ databaseUrl: config.databaseUrl, store: callStore, running, owner, logger });
    onClose(() => remoteStops.stopLooking());
    await remoteStops.start();
    const liveness = new Liveness({ store: owners, owner, logger, ...config.ledger });
    await liveness.start();
    onClose(() => liveness.stop());
    const recovery = new Recovery({
      store: new RecoveryStore(db),
      calls: callStore,
      liveness,
      records: admin,
      prices,
      modelOf: (id) => catalog.find(id),
      plausible,
      isRunning: (id) => running.find(id) !== null,
      pendingIds: () => writer.pendingIds(),
      owner,
      logger,
      lookEveryMs: config.ledger.lookEveryMs,
      keptMs: config.streams.keptMs,
    });
    recovery.start();
    onClose(() => recovery.stop());
    const reconciliation = openReconciliation({
      db,
      admin,
      calls: callStore,
      prices,
      modelOf: (id) => catalog.find(id),
      hour: config.reconcileAtHour,
      owner,
      logger,
      onClose,
    });
    const lookups = {
      call: (viewer: Viewer, id: string) => usage.call(viewer, id),
      conversation: (viewer: Viewer, id: string) => conversations.get(viewer, id),
    };
    const { streams, kept, shared, loopLoad } = await openStreams({
      config,
      db,
      installation,
      lookups,
      logger,
      onClose,
    });
    const upstream: CallUpstream = {
      kind: client.kind,
      client,
      keys: admin
        ? keys
        : { keyFor: async () => (target.kind === 'DIRECT' ? target.apiKey : null), repair: async () => undefined },
      mayBeRepaired: admin !== null,
    };
    const pipeline = new Pipeline({
      plans,
      catalog,
      people,
      idempotency,
      running,
      remoteStops,
      streams,
      metrics,
      records: usage,
      conversation: (viewer, id) => conversations.get(viewer, id),
      limit: { writer },
      admit: { store: callStore, prices, catalog, owner, totalMs: config.timeouts.totalMs },
      run: {
        settle: { writer, prices, modelOf: (id) => catalog.find(id) },
        catalog,
        checkpoints,
        logger,
        metrics,
        installation,
        totalMs: config.timeouts.totalMs,
      },
      upstreamOf: () => upstream,
      defaultModel: config.defaultModel,
    });
    const chat = new ChatService({ pipeline, sources: conversations });
    const status = new StatusService({
      version: VERSION,
      upstream: target.kind,
      checkDatabase: async () => {
        await db.query('SELECT 1');
        return { state: 'UP', detail: null };
      },
      checkCubes: () => figures.cubesStatus(),
      checkStreamLog: async () => shared?.status() ?? { state: 'OFF', detail: null },
      checkProxy: () =>
        target.kind === 'LITELLM' ? litellmHealth(target.baseUrl) : directHealth(target.baseUrl, target.apiKey),
    });

    observeStates({ metrics, db, running, callStore, writer, catalog, streams, loopLoad, figures, status });

    const priceService = new PriceService({ db, book: prices, people, limiter: reportLimiter({ max: 2 }), logger });
    const services: Services = {
      auth,
      people,
      plans,
      models: new ModelService({ catalog, plans, prices: priceService, budgets }),
      prices: priceService,
      keys,
      conversations,
      usage,
      usageUpdates,
      exports: exporter,
      budgets,
      chat,
      reconciliation,
      status,
    };
    const doors = await createServer({
      config,
      schema: await buildGraphSchema(),
      services,
      logger,
      metrics,
      readiness: () => status.readiness(),
    });
    revocation.start(doors);
    let metricsDoor: { close(): Promise<void> } | null = null;
    return {
      services,
      pipeline,
      db,
      running,
      start: async () => {
        loadTokenizer();
        if (config.metrics) {
          const door = await openMetricsDoor(config.metrics, metrics, logger);
          metricsDoor = door;
          logger.info({ url: door.url }, 'metrics');
        }
        return doors.listen();
      },
      stop: async () => {
        await doors.stopAccepting();
        // Who waits for a call of another replica would keep the doors open.
        const told = idempotency.stop();
        kept.stop();
        await running.drain(config.shutdownMs);
        await told;
        // Terminal events are shown when they are kept.
        await within(CLOSE_MS, streams.flush(), (error) =>
          logger.warn({ err: error }, 'the ends of streams are not kept in Redis'),
        );
        await doors.close();
        await metricsDoor?.close();
        const unbooked = await writer.stop();
        await closeAll();
        if (unbooked > 0) throw new Error(`${unbooked} calls could be booked nowhere: recovery will end them`);
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}
