import type { Db } from '../../database/pool';
import { badInput, forbidden } from '../../errors';
import { kindOfId } from '../../lib/ids';
import { decodeTimeCursor, pageOf, type Page, type PageArgs } from '../../lib/page';
import type { Viewer } from '../../domain/principal';
import { CallsStore, type CallKey } from './calls.store';
import { reportLimiter } from './report-limiter';
import { UsageReports } from './usage-report';
import { NO_USAGE } from './usage-report.store';
import { scopeFilter } from './usage-scope';
import type { UsageDimension, UsageFigures, UsageFilter, UsageQuery, UsageReport } from './usage.types';
import type { CallRecord } from '../../domain/call';
import { isZoneName } from '../../lib/time-zone';
import { checkPage } from '../../domain/page';

// A page or a report that a client can still show; more is an export.
const MAX_GROUPS = 1_000;
/** Streams that run: more than a person looks through, and what one page of a dashboard can show. */
const MAX_STREAMING = 1_000;

/**
 * What was used and what it cost: figures over settled calls, and the calls behind them. Who sees what: `scopeFilter`.
 */
export class UsageService {
  private readonly reports: UsageReports;
  private readonly callRows: CallsStore;
  private readonly limiter = reportLimiter();
  // These come from lists, with nobody's name: a queue of their own.
  private readonly ofLists = reportLimiter({ max: 2, maxWaitingOfKey: 200 });

  constructor(deps: { db: Db }) {
    this.reports = new UsageReports(deps.db);
    this.callRows = new CallsStore(deps.db);
  }

  /**
   * Throws FORBIDDEN (organisations, for others than operators), BAD_USER_INPUT, SERVICE_UNAVAILABLE, and as all sums
   * and lists here RATE_LIMITED where too many are asked for at once.
   */
  async report(viewer: Viewer, query: UsageQuery): Promise<UsageReport> {
    const groupBy = [...new Set<UsageDimension>(query.groupBy)];
    const filter = scopeFilter(viewer, query.filter, groupBy);
    if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > MAX_GROUPS)
      throw badInput('limit', `must be between 1 and ${MAX_GROUPS}`);
    if (!isZoneName(query.timeZone))
      throw badInput('timeZone', 'must be the IANA name of a time zone, as in "Europe/Berlin", or "UTC"');
    if (query.pricesAsOf && Number.isNaN(query.pricesAsOf.getTime())) throw badInput('pricesAsOf', 'must be a time');
    return this.limiter.run(viewer.userId, () => this.reports.report({ ...query, filter, groupBy }));
  }

  /** Newest first. Throws FORBIDDEN (organisations, for others than operators) and BAD_USER_INPUT. */
  async calls(viewer: Viewer, filter: UsageFilter, { first, after }: PageArgs): Promise<Page<CallRecord>> {
    checkPage({ first });
    const key = after == null ? null : callKey(after);
    const scoped = scopeFilter(viewer, filter);
    const rows = await this.limiter.run(viewer.userId, () => this.callRows.page(scoped, first, key));
    return pageOf(
      rows,
      first,
      key !== null,
      (row) => row.key,
      (row) => row.call,
    );
  }

  /** null for a call that the viewer may not see. */
  async call(viewer: Viewer, id: string): Promise<CallRecord | null> {
    if (kindOfId(id) !== 'call') return null;
    const call = await this.callRows.find(id, viewer.role === 'OPERATOR' ? null : viewer.organizationId);
    return call && maySee(viewer, call) ? call : null;
  }

  /** Streams that run: the caller's own, or those of everybody whom the caller administers. Throws FORBIDDEN. */
  async streaming(viewer: Viewer, everyone: boolean): Promise<CallRecord[]> {
    if (everyone && viewer.role !== 'ADMIN' && viewer.role !== 'OPERATOR') throw forbidden('ADMIN');
    const { organizationId, userId } = viewer;
    const of = !everyone
      ? { organizationId, userId }
      : viewer.role === 'OPERATOR'
        ? ('EVERYBODY' as const)
        : { organizationId };
    return this.limiter.run(viewer.userId, () => this.callRows.streaming(of, MAX_STREAMING));
  }

  /**
   * Since midnight UTC, of everything that the caller's reports are of. Not counted as a report: who asks often brings
   * a limiter.
   */
  todayOf(viewer: Viewer): Promise<UsageFigures> {
    return this.reports.today(scopeFilter(viewer, {}));
  }

  /** Since midnight UTC, of the caller alone. */
  async today(viewer: Viewer): Promise<UsageFigures> {
    return this.limiter.run(viewer.userId, () =>
      this.reports.today({ organizationIds: [viewer.organizationId], userIds: [viewer.userId] }),
    );
  }

  /**
   * In the order of the ids; conversations are of one user, and so of the viewer's organisation. Who may see them is
   * the caller's to know.
   */
  async ofConversations(
    { organizationId }: Pick<Viewer, 'organizationId'>,
    conversationIds: readonly string[],
  ): Promise<UsageFigures[]> {
    if (conversationIds.length === 0) return [];
    const figures = await this.ofLists.run('', () => this.reports.byConversation(organizationId, conversationIds));
    return conversationIds.map((id) => figures.get(id) ?? NO_USAGE);
  }
}

function maySee(viewer: Viewer, call: CallRecord): boolean {
  if (viewer.role === 'OPERATOR') return true;
  if (call.organizationId !== viewer.organizationId) return false;
  return viewer.role !== 'MEMBER' || call.userId === viewer.userId;
}

function callKey(after: string): CallKey {
  const key = decodeTimeCursor(after);
  if (!key) throw badInput('after', 'is not a cursor of this list');
  return key;
}
