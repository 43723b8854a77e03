import type { Db } from '../../database/pool';
import type { Logger } from '../../lib/logger';
import { knownModel } from '../pricing/fallback-prices';
import { modelLabel } from './model-label';
import { ModelListStore } from './model-list.store';
import type { ModelSourceAnswer, ModelSourceClient } from './model-source';
import type { CatalogModel, CatalogSnapshot, ModelSource } from '../../domain/model';

export interface ModelCatalogDeps {
  db: Db;
  source: ModelSourceClient;
  /** Ids that are listed while the upstream has never answered. */
  safeModeModels: readonly string[];
  /** Milliseconds between two refreshes, give or take a tenth. */
  refreshMs: number;
  logger: Logger;
  /**
   * Gets every good answer, after it is served and before `refresh` settles: prices and teams follow from it. What it
   * throws is logged.
   */
  onRefreshed?: (answer: ModelSourceAnswer) => Promise<void> | void;
}

// After a failure the upstream is asked again after this long, then twice as long, up to `refreshMs`.
const FIRST_RETRY_MS = 1_000;

/**
 * What the upstream serves, in memory: asked in the background, never by a request. The last good answer is kept in the
 * database.
 */
export class ModelCatalog {
  private readonly store: ModelListStore;
  private models: CatalogModel[] = [];
  private byId = new Map<string, CatalogModel>();
  private asOf = new Date();
  private origin: ModelSource = 'SAFE_MODE';
  /** By our own clock, in milliseconds; null: never in this process. */
  private lastSuccessMs: number | null = null;
  private failures = 0;
  private timer: NodeJS.Timeout | null = null;
  private stopped = true;
  private running: Promise<boolean> | null = null;

  constructor(private readonly deps: ModelCatalogDeps) {
    this.store = new ModelListStore(deps.db);
    this.serve(deps.safeModeModels.map(safeModeModel), new Date(), 'SAFE_MODE');
  }

  /**
   * Serves the last known list, then asks the upstream once; one that is away does not keep the product from starting.
   */
  async start(): Promise<void> {
    this.stopped = false;
    const known = await this.store.load(this.deps.source.upstream);
    if (known) this.serve(known.models, known.asOf, 'LAST_KNOWN');
    await this.refresh();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    await this.running;
  }

  /**
   * Asks the upstream now, or waits for the question that is already under way. False: it could not be asked; never
   * rejects.
   */
  refresh(): Promise<boolean> {
    this.running ??= this.ask().finally(() => {
      this.running = null;
      this.schedule();
    });
    return this.running;
  }

  snapshot(): CatalogSnapshot {
    const tooOld = this.lastSuccessMs === null || Date.now() - this.lastSuccessMs > 3 * this.deps.refreshMs;
    const stale = tooOld || this.failures > 0;
    return {
      models: this.models,
      byId: this.byId,
      asOf: this.asOf,
      stale,
      source: stale && this.origin !== 'SAFE_MODE' ? 'LAST_KNOWN' : this.origin,
    };
  }

  find(id: string): CatalogModel | null {
    return this.byId.get(id) ?? null;
  }

  private async ask(): Promise<boolean> {
    const { source, logger } = this.deps;
    let answer: ModelSourceAnswer;
    try {
      answer = await source.fetch();
      // A proxy that has just started lists nothing until it has read its own database.
      if (answer.models.length === 0) throw new Error('the upstream lists no models');
    } catch (error) {
      this.failures += 1;
      logger.warn(
        { err: error, upstream: source.upstream, failures: this.failures, source: this.snapshot().source },
        'model list could not be refreshed',
      );
      return false;
    }
    if (answer.fallbacksUnknown !== undefined) answer = this.withLastFallbacks(answer);
    let asOf = new Date();
    try {
      asOf = await this.store.save(source.upstream, answer.models);
    } catch (error) {
      logger.error({ err: error }, 'model list could not be stored');
    }
    if (this.failures > 0 || this.lastSuccessMs === null)
      logger.info({ upstream: source.upstream, models: answer.models.length }, 'model list refreshed');
    this.failures = 0;
    this.lastSuccessMs = Date.now();
    this.serve(answer.models, asOf, source.upstream === 'LITELLM' ? 'PROXY' : 'DIRECT');
    try {
      await this.deps.onRefreshed?.(answer);
    } catch (error) {
      logger.error({ err: error }, 'prices or keys could not be updated after the model list was refreshed');
    }
    return true;
  }

  /**
   * A budget holds the dearest of a model's fallbacks: not to know them for a minute must not make calls look cheaper.
   */
  private withLastFallbacks(answer: ModelSourceAnswer): ModelSourceAnswer {
    this.deps.logger.warn(
      { err: answer.fallbacksUnknown, upstream: this.deps.source.upstream },
      'the upstream does not say its fallbacks: the last known ones hold',
    );
    return {
      ...answer,
      models: answer.models.map((model) => ({ ...model, fallbacks: this.byId.get(model.id)?.fallbacks ?? [] })),
    };
  }

  private serve(models: CatalogModel[], asOf: Date, origin: ModelSource): void {
    this.models = models;
    this.byId = new Map(models.map((model) => [model.id, model]));
    this.asOf = asOf;
    this.origin = origin;
  }

  private schedule(): void {
    if (this.stopped) return;
    if (this.timer) clearTimeout(this.timer);
    const { refreshMs } = this.deps;
    const base =
      this.failures === 0 ? refreshMs : Math.min(refreshMs, FIRST_RETRY_MS * 2 ** Math.min(this.failures - 1, 20));
    // Replicas that started together do not go on asking together.
    this.timer = setTimeout(() => void this.refresh(), base * (0.9 + Math.random() * 0.2));
    this.timer.unref();
  }
}

function safeModeModel(id: string): CatalogModel {
  const known = knownModel([id]);
  return {
    id,
    label: modelLabel(id),
    // Plans name providers: one that is not known is only allowed by the model's exact id.
    provider: known?.provider ?? (id.includes('/') ? id.slice(0, id.indexOf('/')) : null),
    mode: known?.mode ?? 'CHAT',
    contextWindow: known?.contextWindow ?? null,
    maxOutputTokens: known?.maxOutputTokens ?? null,
    capabilities: known?.mode === 'EMBEDDING' ? [] : ['STREAMING'],
    fallbacks: [],
  };
}
