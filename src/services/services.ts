import type { Page } from '../lib/page';
import type { Budget, BudgetAlert, BudgetEdit, BudgetScope } from './budget/budget.types';
import type { ActiveStream, CallContext, ChatEvent, ChatInput, ChatReply, Refusal } from './chat/chat.types';
import type { Conversation, Message } from './conversation/conversation.types';
import type { ListedModel, ModelListing } from './model/model.types';
import type { Plan, PlanLimits } from './plan/plan.types';
import type { ModelPriceEdit, PriceChangeResult, PriceRecord } from './pricing/pricing.types';
import type { ReconciliationPage } from './reconciliation/reconciliation.types';
import type { ExportDownload, ExportRequest } from './usage/export.types';
import type { CallRecord, Upstream, UsageFigures, UsageFilter, UsageQuery, UsageReport } from './usage/usage.types';
import type { ApiTokenRow, OrganizationRow, ProjectRow, Role, UserRef, UserRow, Viewer, VirtualKeyInfo } from './viewer/viewer.types';

export interface PageArgs { first: number; after?: string | null }
export interface PlanEdit { id?: string | null; name: string; models: string[]; defaultModel?: string | null; limits?: Partial<PlanLimits> | null }
export interface NewUser { organizationId?: string | null; name: string; email?: string | null; externalId?: string | null; role: Role; planId: string }
export interface NewApiToken { userId?: string | null; name: string; expiresAt?: Date | null }

/** Who is it? Used by both doors before anything else. */
export interface AuthServiceApi {
  /** The viewer of an `Authorization` header (or `connection_init` value). Throws UNAUTHENTICATED. */
  authenticate(authorization: string | null | undefined): Promise<Viewer>;
  /** Those of the viewers whose credential or user has ended since (revoked, expired, blocked, deleted): asked of the database. */
  ended(viewers: Viewer[]): Promise<Set<Viewer>>;
}
/** Organisations, projects, users and their tokens. Every method checks role and organisation itself. */
export interface PeopleServiceApi {
  organizationsById(ids: readonly string[]): Promise<(OrganizationRow | null)[]>;
  /** Of the organisation; null: of any. Deleted users come as empty rows. */
  usersById(ids: readonly string[], organizationId: string | null): Promise<(UserRow | null)[]>;
  /** Of the organisation; null: of any. */
  projectsById(ids: readonly string[], organizationId: string | null): Promise<(ProjectRow | null)[]>;
  /** As `node(id)` and references by id see them: null for what the viewer may not see. Members see themselves; others their organisation; operators all. */
  visibleUser(viewer: Viewer, id: string): Promise<UserRow | null>;
  visibleProject(viewer: Viewer, id: string): Promise<ProjectRow | null>;
  visibleOrganization(viewer: Viewer, id: string): Promise<OrganizationRow | null>;
  visibleApiToken(viewer: Viewer, id: string): Promise<ApiTokenRow | null>;
  createOrganization(viewer: Viewer, name: string): Promise<OrganizationRow>;
  createProject(viewer: Viewer, name: string): Promise<ProjectRow>;
  projects(viewer: Viewer, page: PageArgs): Promise<Page<ProjectRow>>;
  users(viewer: Viewer, args: PageArgs & { search?: string | null }): Promise<Page<UserRow>>;
  createUser(viewer: Viewer, input: NewUser): Promise<UserRow>;
  setUserPlan(viewer: Viewer, userId: string, planId: string): Promise<UserRow>;
  setUserRole(viewer: Viewer, userId: string, role: Role): Promise<UserRow>;
  setUserBlocked(viewer: Viewer, userId: string, blocked: boolean): Promise<UserRow>;
  deleteUser(viewer: Viewer, id: string): Promise<string>;
  createApiToken(viewer: Viewer, input: NewApiToken): Promise<{ token: ApiTokenRow; secret: string }>;
  revokeApiToken(viewer: Viewer, id: string): Promise<ApiTokenRow>;
  /** Tokens of each user, newest first; empty for users whose tokens the viewer may not see. */
  apiTokensOf(viewer: Viewer, users: readonly UserRef[]): Promise<ApiTokenRow[][]>;
}
export interface PlanServiceApi {
  /** All plans, by name; from memory. */
  list(): Promise<Plan[]>;
  byId(id: string): Promise<Plan | null>;
  upsert(viewer: Viewer, input: PlanEdit): Promise<Plan>;
}
export interface ModelServiceApi {
  list(viewer: Viewer, includeUnavailable: boolean): Promise<ModelListing>;
  get(viewer: Viewer, id: string): Promise<ListedModel | null>;
  /** Plans whose rule allows the model. */
  plansThatAllow(modelId: string): Promise<Plan[]>;
}
export interface PriceServiceApi {
  /** The record in force now for a model as this organisation pays it; from memory. */
  current(model: string, organizationId: string): PriceRecord | null;
  /** The price book in force at a time, as it stood at another: general records and those of the viewer's organisation. */
  prices(viewer: Viewer, args: { model?: string | null; at?: Date | null; asOf?: Date | null }): Promise<PriceRecord[]>;
  /** Appends a record, or with `dryRun` only says what it would change. Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  setModelPrice(viewer: Viewer, input: ModelPriceEdit, dryRun: boolean): Promise<PriceChangeResult>;
}
export interface KeyServiceApi {
  /** Per user: what may be shown of the key at the proxy; null before the first call. */
  infoOf(users: readonly UserRef[]): Promise<(VirtualKeyInfo | null)[]>;
}
export interface ConversationServiceApi {
  create(viewer: Viewer, input: { title?: string | null; projectId?: string | null }): Promise<Conversation>;
  rename(viewer: Viewer, id: string, title: string): Promise<Conversation>;
  remove(viewer: Viewer, id: string): Promise<string>;
  /** The caller's own, newest first. */
  list(viewer: Viewer, page: PageArgs): Promise<Page<Conversation>>;
  /** Only the owner sees a conversation; null for everybody else. */
  get(viewer: Viewer, id: string): Promise<Conversation | null>;
  message(viewer: Viewer, id: string): Promise<Message | null>;
  /** In the order in which they were written, superseded ones included. */
  messages(viewer: Viewer, conversationId: string, page: PageArgs): Promise<Page<Message>>;
}
export interface UsageServiceApi {
  report(viewer: Viewer, query: UsageQuery): Promise<UsageReport>;
  calls(viewer: Viewer, filter: UsageFilter, page: PageArgs): Promise<Page<CallRecord>>;
  call(viewer: Viewer, id: string): Promise<CallRecord | null>;
  /** Streams that run, newest first, at most 1,000: the caller's own, or those of everybody whom the caller administers. Throws FORBIDDEN. */
  streaming(viewer: Viewer, everyone: boolean): Promise<CallRecord[]>;
  /** Today (UTC) of the caller. */
  today(viewer: Viewer): Promise<UsageFigures>;
  /** All time, of a conversation that the caller has been shown. */
  ofConversations(viewer: Pick<Viewer, 'organizationId'>, conversationIds: readonly string[]): Promise<UsageFigures[]>;
}
/** Files of single calls, by links that need no other credential. */
export interface ExportServiceApi {
  /** A path of this server, with the credential in it. Throws FORBIDDEN, BAD_USER_INPUT, SERVICE_UNAVAILABLE. */
  link(viewer: Viewer, filter: UsageFilter, pricesAsOf: Date | null): Promise<{ path: string; expiresAt: Date }>;
  /** Throws ExportLinkError, RATE_LIMITED, SERVICE_UNAVAILABLE. What it gives has to be closed. */
  open(token: string, request: ExportRequest): Promise<ExportDownload>;
}
export interface UsageUpdatesApi {
  /** Running totals of today (UTC) of all that the viewer's reports are of: at once, then when they have changed, at most one a second. Ends by `return()`. Throws RATE_LIMITED. */
  subscribe(viewer: Viewer): AsyncIterableIterator<UsageFigures>;
}
/** Our figures against the proxy's. It writes nothing. */
export interface ReconciliationServiceApi {
  /** Throws FORBIDDEN, BAD_USER_INPUT, NOT_FOUND (no proxy), SERVICE_UNAVAILABLE, RATE_LIMITED. */
  compare(viewer: Viewer, args: PageArgs & { from: Date; to: Date }): Promise<ReconciliationPage>;
}
/** Limits of money. Every method checks role and organisation itself. */
export interface BudgetServiceApi {
  /** Without arguments: every budget that applies to the caller (organisation, user, token used). Subjects that the caller may not see have none. */
  list(viewer: Viewer, args: { scope?: BudgetScope | null; subjectId?: string | null }): Promise<Budget[]>;
  /** null for what the viewer may not see. */
  get(viewer: Viewer, id: string): Promise<Budget | null>;
  alert(viewer: Viewer, id: string): Promise<BudgetAlert | null>;
  /** Today's costs in each budget's own zone, for budgets that the caller has been shown. */
  spentToday(budgets: readonly Budget[]): Promise<string[]>;
  /** Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  set(viewer: Viewer, input: BudgetEdit): Promise<Budget>;
  remove(viewer: Viewer, id: string): Promise<string>;
  /** Alerts of budgets that the caller may see: those after `after`, then what comes, from every replica. Ends by `return()`. */
  alerts(viewer: Viewer, after: Date | null): AsyncIterableIterator<BudgetAlert>;
}
export interface ChatServiceApi {
  chat(viewer: Viewer, input: ChatInput, context: CallContext): Promise<ChatReply | Refusal>;
  /** Validates (throws BAD_USER_INPUT, NOT_FOUND) and returns the events; route, plan and hold happen on the first `next()`, and their refusals are events. */
  stream(viewer: Viewer, input: ChatInput, context: CallContext): Promise<AsyncIterableIterator<ChatEvent>>;
  /** The rest of one's own stream behind number `afterSeq`, then what comes. Throws NOT_FOUND, BAD_USER_INPUT, SERVICE_UNAVAILABLE. */
  resume(viewer: Viewer, streamId: string, afterSeq: number): Promise<AsyncIterableIterator<ChatEvent>>;
  /** Streams that run: the caller's own, or those of everybody whom the caller administers. Throws FORBIDDEN. */
  active(viewer: Viewer, everyone: boolean): Promise<ActiveStream[]>;
  /** Throws NOT_FOUND for streams that the caller may not stop. */
  stop(viewer: Viewer, streamId: string): Promise<{ streamId: string; stopped: boolean }>;
}
export type ComponentState = 'UP' | 'DEGRADED' | 'DOWN' | 'OFF';
export interface ComponentStatus { state: ComponentState; since: Date; detail: string | null }
/** `cubes`: how far figures that are kept ready are behind; reports are exact all the same. */
export interface ServiceStatus { version: string; upstream: Upstream; database: ComponentStatus; proxy: ComponentStatus; cubes: ComponentStatus; /** What replicas share the events of streams by. */ streamLog: ComponentStatus }
export interface StatusServiceApi {
  status(): Promise<ServiceStatus>;
}

/** Everything that the graph can ask for. */
export interface Services {
  auth: AuthServiceApi;
  people: PeopleServiceApi;
  plans: PlanServiceApi;
  models: ModelServiceApi;
  prices: PriceServiceApi;
  keys: KeyServiceApi;
  conversations: ConversationServiceApi;
  usage: UsageServiceApi;
  usageUpdates: UsageUpdatesApi;
  exports: ExportServiceApi;
  budgets: BudgetServiceApi;
  chat: ChatServiceApi;
  reconciliation: ReconciliationServiceApi;
  status: StatusServiceApi;
}
