import type { Db, ReadTx } from '../../database/pool';
import { badInput } from '../../errors';
import { AsOf } from './as-of.store';
import { ALL_FIGURES, measuresOf } from './entries.store';
import { callsWithin, daysOf, MAX_RAW_ROWS, rowsAreGone, tooManyRows } from './raw-bound';
import { COLUMN_OF, columnsOf, DAY_MS, planReport, within, type ReportPlan, type Span } from './report-plan';
import { NO_USAGE, UsageReportStore, type Group, type Snapshot } from './usage-report.store';
import type { ScopedFilter } from './usage-scope';
import { readSnapshot } from './usage-where.store';
import type {
  UsageDimension,
  UsageFigures,
  UsageGroupRow,
  UsageInterval,
  UsageOrder,
  UsageQuery,
  UsageReport,
} from './usage.types';

const MAX_ROWS = 10_000;
const MAX_HOURLY_DAYS = 31;
/** The shortest that an interval can be, for a bound before anything is read. */
const SHORTEST_MS: Record<UsageInterval, number> = {
  HOUR: DAY_MS / 24,
  DAY: DAY_MS,
  WEEK: 7 * DAY_MS,
  MONTH: 28 * DAY_MS,
};

/** What an order looks at. */
const ORDERED_BY: Record<UsageOrder, readonly (keyof UsageFigures)[]> = {
  COST_DESC: ['cost'],
  CALLS_DESC: ['calls'],
  TOKENS_DESC: ['totalTokens'],
};

export interface ScopedQuery extends Omit<UsageQuery, 'filter'> {
  filter: ScopedFilter;
}

/**
 * Makes figures: each report in one snapshot, from the cubes, what is not in them yet, and single rows where no cube
 * answers.
 */
export class UsageReports {
  private readonly store = new UsageReportStore();
  private readonly asOf: AsOf;

  constructor(private readonly db: Db) {
    this.asOf = new AsOf(db);
  }

  /**
   * Throws BAD_USER_INPUT for spans, zones, intervals and times that it cannot answer, and where too many single rows
   * would be read; SERVICE_UNAVAILABLE.
   */
  async report(query: ScopedQuery): Promise<UsageReport> {
    if (query.pricesAsOf) await this.asOf.check(query.pricesAsOf);
    return readSnapshot(this.db, (tx) => this.read(tx, query));
  }

  /** Figures of today (UTC). */
  async today(filter: ScopedFilter): Promise<UsageFigures> {
    return readSnapshot(this.db, async (tx) => {
      const midnight = await this.store.midnight(tx);
      const report = await this.read(tx, {
        filter: { ...filter, from: midnight, to: null },
        groupBy: [],
        interval: null,
        timeZone: 'UTC',
        orderBy: 'COST_DESC',
        limit: 1,
      });
      return report.totals;
    });
  }

  /** Figures of all calls of conversations that are kept. */
  byConversation(organizationId: string, ids: readonly string[]): Promise<Map<string, UsageFigures>> {
    return readSnapshot(this.db, (tx) => this.store.byConversation(tx, organizationId, ids));
  }

  private async read(tx: ReadTx, query: ScopedQuery): Promise<UsageReport> {
    const { groupBy, interval, timeZone, orderBy, limit } = query;
    const pricesAsOf = query.pricesAsOf ?? null;
    const filter = withoutNone(query.filter);
    const snapshot = await this.store.snapshot(tx, {
      organizationIds: filter.organizationIds,
      timeZone,
      from: filter.from ?? null,
      asOf: pricesAsOf,
    });
    if (!snapshot) throw badInput('timeZone', 'must be the IANA name of a time zone, as in "Europe/Berlin", or "UTC"');
    // Rounded up to a whole millisecond: a call of this very moment is in.
    const now = new Date(snapshot.now.getTime() + 1);
    const to = filter.to ?? pricesAsOf ?? now;
    const from = filter.from ?? snapshot.monthStart;
    if (from >= to)
      throw badInput(
        filter.from ? 'filter.from' : filter.to ? 'filter.to' : 'pricesAsOf',
        `must leave a span: from ${from.toISOString()} is not before ${to.toISOString()}`,
      );
    const span = { from: from.getTime(), to: to.getTime() };
    if (interval) checkSpan(interval, span.to - span.from);

    const starts = interval && (await this.store.starts(tx, interval, timeZone, span));
    const asOf = pricesAsOf && pricesAsOf.getTime();
    const plan = planReport({
      columns: columnsOf(groupBy, filter),
      span,
      starts: starts ?? [],
      now: now.getTime(),
      asOf,
    });
    if (plan.raw.length > 0) plan.raw = await this.checkedRaw(tx, query, filter, plan, snapshot);
    const byOrganization = plan.raw.length > 0 || (plan.days.length > 0 && plan.cube !== 'usage_daily_overall');
    const named = filter.organizationIds ?? filter.userIds ?? filter.conversationId ?? null;
    const organizations = byOrganization && named === null ? await this.store.organizations(tx) : null;

    const keys = groupBy.map((dimension) => COLUMN_OF[dimension]);
    const measures = measuresOf([...(query.figures ?? ALL_FIGURES), ...ORDERED_BY[orderBy]]);
    const selection = { plan, filter, organizations, keys, starts, asOf, measures, rest: snapshot.rest };
    const { totals, groups } = await this.store.answer(tx, selection, { orderBy, limit, maxRows: MAX_ROWS });
    const shown = groups.slice(0, limit);
    if (groupBy.length === 0 && shown.length === 0) shown.push({ keys: [], figures: NO_USAGE, series: new Map() });
    const rows = shown.length * (starts?.length ?? 1);
    if (rows > MAX_ROWS)
      throw badInput(
        'interval',
        `would make ${rows} rows (groups times intervals), at most ${MAX_ROWS} are allowed: choose a longer interval, a shorter span or a smaller limit`,
      );
    return {
      from,
      to,
      totals,
      rows: shown.flatMap((group) => rowsOf(group, groupBy, starts)),
      truncated: groups.length > limit,
      pricesAsOf: pricesAsOf ?? now,
      priceBook: snapshot.book,
    };
  }

  /** What is left to read row by row: not what was removed and empty before, and not more than the bound. */
  private async checkedRaw(
    tx: ReadTx,
    query: ScopedQuery,
    filter: ScopedFilter,
    plan: ReportPlan,
    { droppedBefore, tailRows, rest }: Snapshot,
  ): Promise<Span[]> {
    const asked = { ...query, filter };
    const scope = filter.userIds || filter.organizationIds ? filter : null;
    const callsOf = async (spans: readonly Span[], of: ScopedFilter | null): Promise<number> =>
      callsWithin(spans, await this.store.callsByDay(tx, daysOf(spans), of));
    const gone = within(plan.raw, { from: -Infinity, to: droppedBefore });
    if (gone.length > 0 && ((rest.tail && within(gone, rest.tail).length > 0) || (await callsOf(gone, scope)) > 0))
      throw rowsAreGone(asked, plan, droppedBefore);
    const raw = within(plan.raw, { from: droppedBefore, to: Infinity });
    // A conversation has an index of its own, and never that many calls.
    if (raw.length === 0 || filter.conversationId != null) return raw;
    // First of all organisations, which is asked in no time, and seldom more.
    let rows = tailRows + (await callsOf(raw, null));
    if (rows > MAX_RAW_ROWS && scope) rows = tailRows + (await callsOf(raw, scope));
    if (rows > MAX_RAW_ROWS) throw tooManyRows(asked, plan, rows);
    return raw;
  }
}

/** In the tables '' is none, which nobody can ask for. */
const withoutNone = (filter: ScopedFilter): ScopedFilter => ({
  ...filter,
  projectIds: filter.projectIds?.filter(Boolean),
  providers: filter.providers?.filter(Boolean),
});

function checkSpan(interval: UsageInterval, spanMs: number): void {
  // The month that ends summer time has an hour more.
  if (interval === 'HOUR' && spanMs > MAX_HOURLY_DAYS * DAY_MS + SHORTEST_MS.HOUR)
    throw badInput('interval', `HOUR is for spans of at most ${MAX_HOURLY_DAYS} days`);
  // Some months are longer, so that fewer may come out: that is counted exactly later, and this only keeps an endless
  // span from being counted at all.
  if (spanMs / SHORTEST_MS[interval] > MAX_ROWS * 1.2)
    throw badInput('interval', `would make more than ${MAX_ROWS} rows: choose a longer interval or a shorter span`);
}

function rowsOf(group: Group, groupBy: readonly UsageDimension[], starts: readonly number[] | null): UsageGroupRow[] {
  const key = (dimension: UsageDimension): string | null => group.keys[groupBy.indexOf(dimension)] ?? null;
  const row: UsageGroupRow = {
    at: null,
    organizationId: key('ORGANIZATION'),
    userId: key('USER'),
    projectId: key('PROJECT'),
    model: key('MODEL'),
    provider: key('PROVIDER'),
    scenario: key('SCENARIO') as UsageGroupRow['scenario'],
    agent: key('AGENT'),
    upstream: key('UPSTREAM') as UsageGroupRow['upstream'],
    status: key('STATUS') as UsageGroupRow['status'],
    figures: group.figures,
  };
  if (!starts) return [row];
  return starts.map((start, index) => ({
    ...row,
    at: new Date(start),
    figures: group.series.get(index + 1) ?? NO_USAGE,
  }));
}
