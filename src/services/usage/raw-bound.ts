import { badInput, type AppError } from '../../errors';
import {
  ceilTo,
  columnsOf,
  COLUMN_OF,
  DAY_MS,
  dayCubeOf,
  FILTER_COLUMNS,
  FILTER_FIELDS,
  floorTo,
  joined,
  within,
  type Column,
  type ReportPlan,
  type Span,
} from './report-plan';
import type { ScopedFilter } from './usage-scope';
import type { UsageDimension, UsageInterval } from './usage.types';

/**
 * Rows that one report may read where no cube answers. So many took five seconds, half of what a statement has, on two
 * cores that others kept busy.
 */
export const MAX_RAW_ROWS = 500_000;

const SUMMARIES =
  'Summed up by day (UTC) are MODEL, PROVIDER, UPSTREAM, SCENARIO and STATUS together, PROJECT with MODEL, and USER with MODEL';

/** The days (UTC) of which spans are parts. */
export const daysOf = (spans: readonly Span[]): Span[] =>
  joined(spans.map(({ from, to }) => ({ from: floorTo(DAY_MS, from), to: ceilTo(DAY_MS, to) })));

/** Calls of spans, about: those of a day are spread over it, more or less. */
export function callsWithin(spans: readonly Span[], byDay: readonly { day: number; calls: number }[]): number {
  const share = (day: number): number =>
    within(spans, { from: day, to: day + DAY_MS }).reduce((sum, { from, to }) => sum + (to - from) / DAY_MS, 0);
  return byDay.reduce((sum, { day, calls }) => sum + calls * share(day), 0);
}

export interface AskedReport {
  groupBy: readonly UsageDimension[];
  filter: ScopedFilter;
  interval: UsageInterval | null;
  timeZone: string;
  pricesAsOf?: Date | null;
}

/** A report that would read too many single calls: names what makes it read them, and what to ask instead. */
export function tooManyRows(asked: AskedReport, plan: ReportPlan, rows: number): AppError {
  const { argument, why, instead } = reasonOf(asked, plan);
  return badInput(
    argument,
    `would read about ${Math.ceil(rows)} single calls, and at most ${MAX_RAW_ROWS} are read for a report: ${why}. Choose a shorter span (filter.from, filter.to)${instead}`,
  );
}

/** A report that would need rows which were removed. */
export function rowsAreGone(asked: AskedReport, plan: ReportPlan, droppedBefore: number): AppError {
  const { argument, why, instead } = reasonOf(asked, plan);
  return badInput(
    argument,
    `needs single calls from before ${new Date(droppedBefore).toISOString()}, which are no longer kept: ${why}. Begin later (filter.from)${instead}`,
  );
}

function reasonOf(
  { groupBy, filter, interval, timeZone, pricesAsOf }: AskedReport,
  plan: ReportPlan,
): { argument: string; why: string; instead: string } {
  if (plan.cube !== null && pricesAsOf && plan.raw.length > 0 && plan.raw[0]!.from >= pricesAsOf.getTime() - DAY_MS) {
    return {
      argument: 'pricesAsOf',
      why: 'a call of the hour before it may have been settled after it, which only the calls themselves tell',
      instead: ', or end it an hour before pricesAsOf (filter.to)',
    };
  }
  if (plan.cube === null) {
    const columns = columnsOf(groupBy, filter);
    const names = [
      ...new Set([
        ...groupBy,
        ...FILTER_FIELDS.filter((field) => filter[field] != null && FILTER_COLUMNS[field] !== 'organization_id').map(
          (field) => DIMENSION_OF[FILTER_COLUMNS[field]] ?? field,
        ),
      ]),
    ];
    return {
      argument: culprit(groupBy, filter, columns),
      why: `there is no summary by ${names.join(' and ')}`,
      instead: `, or leave ${names.length > 1 ? 'one of these' : 'it'} out. ${SUMMARIES}`,
    };
  }
  const limits =
    'of parts of days only MODEL (and ORGANIZATION) is summed up, by quarter of an hour and for the last 59 days';
  if (interval !== null || timeZone !== 'UTC') {
    return {
      argument: interval === 'HOUR' ? 'interval' : 'timeZone',
      why: `in this time zone and interval the days are not those of UTC, and ${limits}`,
      instead: ', or days, weeks or months in UTC',
    };
  }
  return {
    argument: 'filter.from',
    why: `the span does not begin and end at midnight UTC, and ${limits}`,
    instead: ' that does',
  };
}

const DIMENSION_OF = Object.fromEntries(
  Object.entries(COLUMN_OF).map(([dimension, column]) => [column, dimension]),
) as Partial<Record<Column, UsageDimension>>;

/** The argument without which a cube would answer; the dimensions where no single one is to blame. */
function culprit(groupBy: readonly UsageDimension[], filter: ScopedFilter, columns: ReadonlySet<Column>): string {
  if (dayCubeOf(columnsOf(groupBy, { organizationIds: filter.organizationIds, userIds: null })) === null)
    return 'groupBy';
  const field = FILTER_FIELDS.find(
    (name) =>
      filter[name] != null &&
      dayCubeOf(new Set([...columns].filter((column) => column !== FILTER_COLUMNS[name]))) !== null,
  );
  return field ? `filter.${field}` : 'groupBy';
}
