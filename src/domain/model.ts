export type ModelMode = 'CHAT' | 'EMBEDDING' | 'COMPLETION' | 'IMAGE' | 'AUDIO' | 'OTHER';
export type ModelCapability =
  'TOOLS' | 'VISION' | 'REASONING' | 'STRUCTURED_OUTPUT' | 'PROMPT_CACHE' | 'WEB_SEARCH' | 'STREAMING';
export type ModelSource = 'PROXY' | 'LAST_KNOWN' | 'SAFE_MODE' | 'DIRECT';

/** A model as the upstream serves it now, before any plan. */
export interface CatalogModel {
  /** Its public name at the proxy. */
  id: string;
  label: string;
  provider: string | null;
  mode: ModelMode;
  /** Tokens. */
  contextWindow: number | null;
  /** Tokens. */
  maxOutputTokens: number | null;
  capabilities: ModelCapability[];
  /**
   * Public names of the models that the upstream may answer with instead, directly or one after another; nearest first.
   */
  fallbacks: string[];
}
export interface CatalogSnapshot {
  models: CatalogModel[];
  byId: Map<string, CatalogModel>;
  asOf: Date;
  stale: boolean;
  source: ModelSource;
}

/** A model as one caller sees it. */
export interface ListedModel extends CatalogModel {
  available: boolean;
  unavailableReason: 'NOT_ON_PLAN' | 'UNHEALTHY' | 'UNPRICED_UNDER_BUDGET' | 'GONE' | null;
}
export interface ModelListing {
  items: ListedModel[];
  stale: boolean;
  asOf: Date;
  source: ModelSource;
}
