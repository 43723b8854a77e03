import type { ScopedFilter } from './usage-scope';
import type { UsageDimension } from './usage.types';

/** What a figure can be grouped and filtered by, as the tables call it. */
export type Column =
  | 'organization_id'
  | 'user_id'
  | 'project_id'
  | 'model'
  | 'provider'
  | 'scenario'
  | 'agent'
  | 'upstream'
  | 'status'
  | 'conversation_id'
  | 'trace_id';
export type DayCube = 'usage_daily_overall' | 'usage_daily' | 'usage_daily_by_project' | 'usage_daily_by_user';
/** From inclusive, to exclusive: milliseconds since 1970 (UTC). */
export interface Span {
  from: number;
  to: number;
}

/** Where the figures of a report are read; the spans exclude each other, and together they are the report's. */
export interface ReportPlan {
  /** Of whole UTC days. */
  cube: DayCube | null;
  days: Span[];
  /** Of quarters of an hour. */
  quarters: Span[];
  /** Single rows. */
  raw: Span[];
}
export interface PlanInput {
  columns: ReadonlySet<Column>;
  span: Span;
  /** Where the report's intervals begin, ascending; the first may be before the span. Empty: one for all. */
  starts: readonly number[];
  /** Of the snapshot that is read: nothing in it is later. */
  now: number;
  asOf: number | null;
}

export const COLUMN_OF: Record<UsageDimension, Column> = {
  ORGANIZATION: 'organization_id',
  USER: 'user_id',
  PROJECT: 'project_id',
  MODEL: 'model',
  PROVIDER: 'provider',
  SCENARIO: 'scenario',
  AGENT: 'agent',
  UPSTREAM: 'upstream',
  STATUS: 'status',
};
export const FILTER_COLUMNS = {
  organizationIds: 'organization_id',
  userIds: 'user_id',
  projectIds: 'project_id',
  models: 'model',
  providers: 'provider',
  scenarios: 'scenario',
  agents: 'agent',
  statuses: 'status',
  conversationId: 'conversation_id',
  traceId: 'trace_id',
} as const satisfies Partial<Record<keyof ScopedFilter, Column>>;
export const FILTER_FIELDS = Object.keys(FILTER_COLUMNS) as (keyof typeof FILTER_COLUMNS)[];

/** The smallest first. */
const DAY_CUBES: readonly { cube: DayCube; columns: readonly Column[] }[] = [
  { cube: 'usage_daily_overall', columns: ['model', 'provider'] },
  { cube: 'usage_daily', columns: ['organization_id', 'model', 'provider', 'upstream', 'scenario', 'status'] },
  { cube: 'usage_daily_by_project', columns: ['organization_id', 'project_id', 'model'] },
  { cube: 'usage_daily_by_user', columns: ['organization_id', 'user_id', 'model'] },
];
const QUARTER_COLUMNS: readonly Column[] = ['organization_id', 'model'];

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const QUARTER_MS = HOUR_MS / 4;
/**
 * Days behind today that the cube of quarters of an hour has complete: it keeps one more, which may be gone in the
 * middle of a report.
 */
const QUARTER_DAYS = 59;
/** Dates that Postgres and JavaScript write alike. */
const LAST_DAY = Date.UTC(9999, 11, 31);

export const floorTo = (step: number, at: number): number => Math.floor(at / step) * step;
export const ceilTo = (step: number, at: number): number => Math.ceil(at / step) * step;

/** What a report groups or filters by. */
export function columnsOf(groupBy: readonly UsageDimension[], filter: ScopedFilter): Set<Column> {
  const filtered = FILTER_FIELDS.filter((field) => filter[field] != null).map((field) => FILTER_COLUMNS[field]);
  return new Set([...groupBy.map((dimension) => COLUMN_OF[dimension]), ...filtered]);
}

export function dayCubeOf(columns: ReadonlySet<Column>): DayCube | null {
  return DAY_CUBES.find((cube) => covers(cube.columns, columns))?.cube ?? null;
}

/**
 * Cuts a report into pieces. Its ends and the starts of its intervals are cuts; a UTC day without a cut inside is one
 * of a cube, other days are made of quarters of an hour where these know what is asked and are kept, and what is left
 * is read row by row. As of a time: calls of the hour before it may have been settled after it, which only their rows
 * tell.
 */
export function planReport({ columns, span, starts, now, asOf }: PlanInput): ReportPlan {
  // Nothing is later than now: an end there cuts nothing off. Of what was known at a time, nothing is later than that.
  const end =
    asOf !== null
      ? Math.min(span.to, asOf + 1)
      : span.to >= now
        ? Math.min(ceilTo(DAY_MS, span.to), LAST_DAY)
        : span.to;
  const plan: ReportPlan = { cube: dayCubeOf(columns), days: [], quarters: [], raw: [] };
  if (end <= span.from) return plan;
  if (plan.cube === null) return { ...plan, raw: [{ from: span.from, to: end }] };

  const settled = asOf === null ? end : Math.max(span.from, Math.min(end, floorTo(QUARTER_MS, asOf - HOUR_MS)));
  const cuts = [span.from, ...starts.filter((start) => start > span.from && start < settled && start < now), settled];
  const byQuarters = covers(QUARTER_COLUMNS, columns);
  const quartersFrom = floorTo(DAY_MS, now) - QUARTER_DAYS * DAY_MS;

  let from = span.from;
  for (const cut of cuts.slice(1)) {
    // Between two cuts: whole days, and at both ends what is left of a day.
    const firstDay = ceilTo(DAY_MS, from);
    const lastDay = floorTo(DAY_MS, cut);
    const whole = firstDay <= lastDay ? { from: firstDay, to: lastDay } : { from: cut, to: cut };
    for (const rest of [
      { from, to: whole.from },
      { from: whole.to, to: cut },
    ]) {
      const inner = { from: ceilTo(QUARTER_MS, rest.from), to: floorTo(QUARTER_MS, rest.to) };
      if (!byQuarters || rest.from < quartersFrom || inner.from >= inner.to) append(plan.raw, rest);
      else {
        append(plan.raw, { from: rest.from, to: inner.from });
        append(plan.quarters, inner);
        append(plan.raw, { from: inner.to, to: rest.to });
      }
    }
    append(plan.days, whole);
    from = cut;
  }
  append(plan.raw, { from: settled, to: end });
  return plan;
}

/** Adds a span that is not before those that are there, joined to the last one where it begins at its end. */
function append(spans: Span[], span: Span): void {
  if (span.from >= span.to) return;
  const last = spans.at(-1);
  if (last?.to === span.from) last.to = span.to;
  else spans.push({ ...span });
}

const covers = (known: readonly Column[], asked: ReadonlySet<Column>): boolean =>
  [...asked].every((column) => known.includes(column));

/** What of sorted spans lies within another one. */
export const within = (spans: readonly Span[], { from, to }: Span): Span[] =>
  spans
    .map((span) => ({ from: Math.max(span.from, from), to: Math.min(span.to, to) }))
    .filter((span) => span.from < span.to);

/** Spans in their order, joined where they touch or overlap. */
export function joined(spans: readonly Span[]): Span[] {
  const result: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const end = result.at(-1)?.to ?? -Infinity;
    append(result, { from: Math.max(span.from, end), to: span.to });
  }
  return result;
}
