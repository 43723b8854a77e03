import type { Db } from '../../entities/data-source';
import { badInput } from '../../errors';
import { kindOfId } from '../../lib/ids';
import { decodeTimeCursor, pageOf, type Page } from '../../lib/page';
import type { PageArgs, UsageServiceApi } from '../services';
import type { Viewer } from '../viewer/viewer.types';
import { CallsStore, type CallKey } from './calls.store';
import { ReportLane } from './report-lane';
import { NO_USAGE, UsageReportStore } from './usage-report.store';
import { scopeFilter } from './usage-scope';
import type { CallRecord, UsageDimension, UsageFigures, UsageFilter, UsageInterval, UsageQuery, UsageReport } from './usage.types';

// A page or a report that a client can still show; more is an export.
const MAX_PAGE = 100;
const MAX_GROUPS = 1_000;
const MAX_ROWS = 10_000;
const MAX_HOURLY_DAYS = 31;
const DAY_MS = 86_400_000;
/** The shortest that an interval can be, for a bound before any row is read. */
const SHORTEST_MS: Record<UsageInterval, number> = { HOUR: DAY_MS / 24, DAY: DAY_MS, WEEK: 7 * DAY_MS, MONTH: 28 * DAY_MS };

/** What was used and what it cost: figures over settled calls, and the calls behind them. Who sees what: `scopeFilter`. */
export class UsageService implements UsageServiceApi {
  private readonly reports: UsageReportStore;
  private readonly callRows: CallsStore;
  private readonly lane = new ReportLane();
  // These come from lists, with nobody's name: a queue of their own.
  private readonly ofLists = new ReportLane({ max: 2, maxWaitingOfUser: 200 });

  constructor(deps: { db: Db }) {
    this.reports = new UsageReportStore(deps.db);
    this.callRows = new CallsStore(deps.db);
  }

  /** Throws FORBIDDEN (organisations, for others than operators), BAD_USER_INPUT, and as all sums and lists here RATE_LIMITED where too many are asked for at once. */
  async report(viewer: Viewer, query: UsageQuery): Promise<UsageReport> {
    const groupBy = [...new Set<UsageDimension>(query.groupBy)];
    const filter = scopeFilter(viewer, query.filter, groupBy);
    if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > MAX_GROUPS) throw badInput('limit', `must be between 1 and ${MAX_GROUPS}`);
    const clock = isZoneName(query.timeZone) ? await this.reports.clock(query.timeZone) : null;
    if (!clock) throw badInput('timeZone', 'must be the IANA name of a time zone, as in "Europe/Berlin", or "UTC"');
    // Rounded up to a whole millisecond: a call of this very moment is in.
    const to = filter.to ?? new Date(clock.now.getTime() + 1);
    const from = filter.from ?? clock.monthStart;
    if (from >= to) throw badInput(filter.from ? 'filter.from' : 'filter.to', `must leave a span: from ${from.toISOString()} is not before ${to.toISOString()}`);
    if (query.interval) checkSpan(query.interval, to.getTime() - from.getTime());
    const checkRows = (rows: number): void => {
      if (rows > MAX_ROWS) throw badInput('interval', `would make ${rows} rows (groups times intervals), at most ${MAX_ROWS} are allowed: choose a longer interval, a shorter span or a smaller limit`);
    };
    const answer = await this.lane.run(viewer.userId, () => this.reports.report({ ...query, filter: { ...filter, from, to }, groupBy }, checkRows));
    return { from, to, ...answer };
  }

  /** Newest first. Throws FORBIDDEN (organisations, for others than operators) and BAD_USER_INPUT. */
  async calls(viewer: Viewer, filter: UsageFilter, { first, after }: PageArgs): Promise<Page<CallRecord>> {
    if (!Number.isInteger(first) || first < 1 || first > MAX_PAGE) throw badInput('first', `must be between 1 and ${MAX_PAGE}`);
    const key = after == null ? null : callKey(after);
    const scoped = scopeFilter(viewer, filter);
    const rows = await this.lane.run(viewer.userId, () => this.callRows.page(scoped, first, key));
    return pageOf(rows, first, key !== null, (row) => row.key, (row) => row.call);
  }

  /** null for a call that the viewer may not see. */
  async call(viewer: Viewer, id: string): Promise<CallRecord | null> {
    if (kindOfId(id) !== 'call') return null;
    const call = await this.callRows.find(id);
    return call && maySee(viewer, call) ? call : null;
  }

  /** Since midnight UTC, of the caller alone. */
  async today(viewer: Viewer): Promise<UsageFigures> {
    return this.lane.run(viewer.userId, () => this.reports.today(viewer.organizationId, viewer.userId));
  }

  /** In the order of the ids. Who may see the conversations is the caller's to know. */
  async ofConversations(conversationIds: readonly string[]): Promise<UsageFigures[]> {
    const figures = conversationIds.length > 0 ? await this.ofLists.run('', () => this.reports.byConversation(conversationIds)) : new Map<string, UsageFigures>();
    return conversationIds.map((id) => figures.get(id) ?? NO_USAGE);
  }
}

function maySee(viewer: Viewer, call: CallRecord): boolean {
  if (viewer.role === 'OPERATOR') return true;
  if (call.organizationId !== viewer.organizationId) return false;
  return viewer.role !== 'MEMBER' || call.userId === viewer.userId;
}

function checkSpan(interval: UsageInterval, spanMs: number): void {
  // The month that ends summer time has an hour more.
  if (interval === 'HOUR' && spanMs > MAX_HOURLY_DAYS * DAY_MS + SHORTEST_MS.HOUR) throw badInput('interval', `HOUR is for spans of at most ${MAX_HOURLY_DAYS} days`);
  // Some months are longer, so that fewer may come out: that is counted exactly later, and this only keeps an endless span from being counted at all.
  if (spanMs / SHORTEST_MS[interval] > MAX_ROWS * 1.2) throw badInput('interval', `would make more than ${MAX_ROWS} rows: choose a longer interval or a shorter span`);
}

/** Only names that Intl and Postgres read alike: Postgres takes `+02:00` with the sign turned round, and `IST` for Israel. */
function isZoneName(name: string): boolean {
  if (!/^(?:UTC|GMT|[A-Za-z_]+\/[A-Za-z0-9_+\-/]+)$/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function callKey(after: string): CallKey {
  const key = decodeTimeCursor(after);
  if (!key) throw badInput('after', 'is not a cursor of this list');
  return key;
}
