import type { CallContext } from '../domain/call';
import type { Viewer } from '../domain/principal';
import type { ServiceStatus } from '../domain/status';
import type { PeopleService } from '../services/accounts/people.service';
import type { AuthService } from '../services/auth/auth.service';
import type { BudgetService } from '../services/budgets/budget.service';
import type { ModelService } from '../services/catalog/model.service';
import type { ConversationService } from '../services/conversations/conversation.service';
import type { ExportService } from '../services/exports/export.service';
import type { KeyService } from '../services/keys/key.service';
import type { ChatService } from '../services/pipeline/operations/chat.service';
import type { PlanService } from '../services/plans/plan.service';
import type { PriceService } from '../services/pricing/price.service';
import type { Reconciliation } from '../services/reconciliation/reconciliation.service';
import type { UsageUpdates } from '../services/usage/usage-updates';
import type { UsageService } from '../services/usage/usage.service';

/** Everything that the graph can ask for, as far as it asks. */
export interface Services {
  auth: Pick<AuthService, 'authenticate' | 'ended'>;
  people: Public<PeopleService>;
  plans: Pick<PlanService, 'list' | 'byId' | 'upsert'>;
  models: Public<ModelService>;
  prices: Pick<PriceService, 'current' | 'prices' | 'setModelPrice'>;
  keys: Pick<KeyService, 'infoOf'>;
  conversations: Pick<ConversationService, 'create' | 'rename' | 'remove' | 'list' | 'get' | 'message' | 'messages'>;
  usage: Public<UsageService>;
  usageUpdates: Pick<UsageUpdates, 'subscribe'>;
  exports: Pick<ExportService, 'link' | 'open'>;
  budgets: Public<BudgetService>;
  chat: Pick<ChatService, 'chat' | 'stream' | 'resume' | 'active' | 'stop'>;
  reconciliation: Pick<Reconciliation, 'compare'>;
  status: { status(): Promise<ServiceStatus> };
}
/** A class without what it keeps to itself. */
type Public<T> = Pick<T, keyof T>;

/** What every resolver gets, from either door. */
export interface RequestContext extends CallContext {
  viewer: Viewer;
  services: Services;
  /**
   * Where the client reaches this server, without a slash at the end; null: the request does not say. Not for
   * subscriptions.
   */
  baseUrl?: () => string | null;
  /** Dataloaders by name, made on first use, one set per operation. */
  loaders: Map<string, unknown>;
}
