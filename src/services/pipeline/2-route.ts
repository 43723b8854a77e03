import type { Upstream } from '../../domain/call';
import type { CatalogModel, CatalogSnapshot } from '../../domain/model';
import type { Plan } from '../../domain/plan';
import type { Viewer } from '../../domain/principal';
import { badInput } from '../../errors';
import type { ModelUpstream } from '../upstream/upstream';
import type { Operation } from './operation';

/** The caller's key at an upstream. Where there is one key for all, it is that. */
export interface CallerKeys {
  keyFor(viewer: Viewer): Promise<string | null>;
  /** The upstream has refused what the plan allows: tells it again about key, team and models. */
  repair(viewer: Viewer): Promise<unknown>;
}

/** Where one call is sent: chosen for each call. */
export interface CallUpstream {
  readonly kind: Upstream;
  readonly client: ModelUpstream;
  readonly keys: CallerKeys;
  /**
   * A refusal of the key or the model may only mean that it knows less than we do: it is told once, and asked again.
   */
  readonly mayBeRepaired: boolean;
}

/** A model that could serve the call. `served` is null for a name that the upstream does not know. */
export interface Candidate {
  model: string;
  served: CatalogModel | null;
  reason: 'ASKED' | 'CONFIGURED_DEFAULT' | 'PLAN_DEFAULT';
}

export interface RouteFacts {
  operation: Pick<Operation, 'request' | 'mode' | 'modelNoun'>;
  plan: Pick<Plan, 'defaultModel'>;
  /** Configured, for calls that name none. */
  defaultModel: string | null;
  catalog: CatalogSnapshot;
}

/**
 * The models that may be tried, best first: the one that was named, else the configured default, else the plan's. Pure.
 * Throws BAD_USER_INPUT where there is none, or it is a model for something else.
 */
export function route({ operation, plan, defaultModel, catalog }: RouteFacts): Candidate[] {
  const asked = operation.request.model;
  const model = asked ?? defaultModel ?? plan.defaultModel;
  if (!model) throw badInput('model', 'name one of `models`: neither the server nor the plan has a default');
  const served = catalog.byId.get(model) ?? null;
  if (served && served.mode !== operation.mode) throw badInput('model', `${model} is not ${operation.modelNoun}`);
  const reason = asked !== null ? 'ASKED' : defaultModel !== null ? 'CONFIGURED_DEFAULT' : 'PLAN_DEFAULT';
  return [{ model, served, reason }];
}
