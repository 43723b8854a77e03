import type { Services } from '../services/services';
import type { CallContext } from '../services/chat/chat.types';
import type { Viewer } from '../services/viewer/viewer.types';

/** What every resolver gets, from either door. */
export interface RequestContext extends CallContext {
  viewer: Viewer;
  services: Services;
  /** Where the client reaches this server, without a slash at the end; null: the request does not say. Not for subscriptions. */
  baseUrl?: () => string | null;
  /** Dataloaders by name, made on first use, one set per operation. */
  loaders: Map<string, unknown>;
}
