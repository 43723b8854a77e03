import type { ObservedPrice } from '../pricing/pricing.types';
import type { CatalogModel } from '../../domain/model';

/** What an upstream serves now, and what it says that it costs. */
export interface ModelSourceAnswer {
  models: CatalogModel[];
  prices: ObservedPrice[];
  /**
   * Why the upstream did not say what it falls back to: the models' `fallbacks` are then empty, and those that were
   * known last hold on. Left out: it said.
   */
  fallbacksUnknown?: unknown;
}

/** Whoever can be asked for models. Rejects when it cannot be asked, or when the answer is none. */
export interface ModelSourceClient {
  readonly upstream: 'LITELLM' | 'DIRECT';
  fetch(): Promise<ModelSourceAnswer>;
}
