import {
  DAY_MS,
  planReport,
  QUARTER_MS,
  type Column,
  type PlanInput,
  type ReportPlan,
  type Span,
} from '../../../src/services/usage/report-plan';

const NOW = Date.UTC(2026, 10, 20, 15, 7, 9, 123);
const HOUR_MS = 3_600_000;
const at = (text: string): number => Date.parse(text);
const plan = (columns: Column[], span: Span, more: Partial<PlanInput> = {}): ReportPlan =>
  planReport({ columns: new Set(columns), span, starts: [], now: NOW, asOf: null, ...more });
const shown = (spans: readonly Span[]): string[] =>
  spans.map(({ from, to }) =>
    `${new Date(from).toISOString()}/${new Date(to).toISOString()}`.replaceAll(':00.000Z', 'Z'),
  );
const span = (from: string, to: string): Span => ({ from: at(from), to: at(to) });
/** Midnights of a zone without summer time. */
const midnights = (from: string, to: string, offsetHours: number): number[] => {
  const starts: number[] = [];
  for (
    let day = Math.floor((at(from) + offsetHours * HOUR_MS) / DAY_MS) * DAY_MS - offsetHours * HOUR_MS;
    day < at(to);
    day += DAY_MS
  )
    starts.push(day);
  return starts;
};

describe('the smallest cube that knows what is asked', () => {
  const days = span('2026-10-01T00:00:00Z', '2026-11-01T00:00:00Z');
  it.each([
    [[], 'usage_daily_overall'],
    [['model'], 'usage_daily_overall'],
    [['model', 'provider'], 'usage_daily_overall'],
    [['organization_id'], 'usage_daily'],
    [['organization_id', 'model', 'status', 'scenario', 'upstream', 'provider'], 'usage_daily'],
    [['status'], 'usage_daily'],
    [['organization_id', 'project_id', 'model'], 'usage_daily_by_project'],
    [['project_id'], 'usage_daily_by_project'],
    [['organization_id', 'user_id'], 'usage_daily_by_user'],
    [['user_id', 'model'], 'usage_daily_by_user'],
  ] as [Column[], string][])('%j: %s, by whole days', (columns, cube) => {
    expect(plan(columns, days)).toEqual({ cube, days: [days], quarters: [], raw: [] });
  });

  it.each([
    [['user_id', 'scenario']],
    [['project_id', 'user_id']],
    [['agent']],
    [['organization_id', 'conversation_id']],
    [['trace_id', 'model']],
  ] as [Column[]][])('%j: none, and every row is read', (columns) => {
    expect(plan(columns, days)).toEqual({ cube: null, days: [], quarters: [], raw: [days] });
  });
});

describe('days that are cut', () => {
  it('are made of quarters of an hour where these are kept and know what is asked', () => {
    const found = plan(['organization_id', 'model'], span('2026-11-10T18:30:00Z', '2026-11-13T18:30:00Z'));
    expect([shown(found.quarters), shown(found.days), found.raw]).toEqual([
      ['2026-11-10T18:30Z/2026-11-11T00:00Z', '2026-11-13T00:00Z/2026-11-13T18:30Z'],
      ['2026-11-11T00:00Z/2026-11-13T00:00Z'],
      [],
    ]);
  });

  it('are read row by row where they do not', () => {
    const found = plan(['organization_id', 'provider'], span('2026-11-10T18:30:00Z', '2026-11-13T18:30:00Z'));
    expect([found.quarters, shown(found.days), shown(found.raw)]).toEqual([
      [],
      ['2026-11-11T00:00Z/2026-11-13T00:00Z'],
      ['2026-11-10T18:30Z/2026-11-11T00:00Z', '2026-11-13T00:00Z/2026-11-13T18:30Z'],
    ]);
  });

  it('are read row by row before the 59 days that are surely complete', () => {
    const found = plan([], span('2026-09-20T18:30:00Z', '2026-09-24T18:30:00Z'), {
      starts: midnights('2026-09-20T18:30:00Z', '2026-09-24T18:30:00Z', 5.5),
    });
    expect([shown(found.raw), shown(found.quarters), found.days]).toEqual([
      ['2026-09-20T18:30Z/2026-09-22T00:00Z'],
      ['2026-09-22T00:00Z/2026-09-24T18:30Z'],
      [],
    ]);
  });

  it('an end within a quarter leaves only that quarter to rows', () => {
    const found = plan([], span('2026-11-18T10:07:00.001Z', '2026-11-20T09:20:00Z'));
    expect([shown(found.raw), shown(found.quarters), shown(found.days)]).toEqual([
      ['2026-11-18T10:07:00.001Z/2026-11-18T10:15Z', '2026-11-20T09:15Z/2026-11-20T09:20Z'],
      ['2026-11-18T10:15Z/2026-11-19T00:00Z', '2026-11-20T00:00Z/2026-11-20T09:15Z'],
      ['2026-11-19T00:00Z/2026-11-20T00:00Z'],
    ]);
  });

  it('nothing is later than now: an end there, and intervals that begin later, cut nothing', () => {
    for (const to of [NOW, NOW + 1, at('2026-12-31T22:59:00Z')]) {
      const found = plan(
        ['organization_id', 'user_id'],
        { from: at('2026-11-01T00:00:00Z'), to },
        { starts: [at('2026-11-01T00:00:00Z'), at('2026-11-20T18:30:00Z'), at('2026-12-01T00:00:00Z')] },
      );
      expect([found.raw, found.quarters, found.days.length, found.days[0]!.to >= NOW]).toEqual([[], [], 1, true]);
    }
    expect(plan(['user_id'], { from: at('2026-11-01T00:00:00Z'), to: NOW - 1 }).raw).toHaveLength(1);
  });

  it('a century by days in UTC is one span', () => {
    expect(
      plan(['user_id'], span('1926-01-01T00:00:00Z', '2026-11-20T00:00:00Z'), {
        starts: midnights('1926-01-01T00:00:00Z', '2026-11-20T00:00:00Z', 0),
      }).days,
    ).toHaveLength(1);
  });
});

describe('as of a time', () => {
  it('reads the hour before it, and what is after it not at all', () => {
    const found = plan(['organization_id', 'model'], span('2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'), {
      asOf: at('2026-11-10T12:10:00Z'),
    });
    expect([shown(found.days), shown(found.quarters), shown(found.raw)]).toEqual([
      ['2026-11-01T00:00Z/2026-11-10T00:00Z'],
      ['2026-11-10T00:00Z/2026-11-10T11:00Z'],
      ['2026-11-10T11:00Z/2026-11-10T12:10:00.001Z'],
    ]);
  });

  it('a month that had long ended then is read from cubes alone', () => {
    expect(
      plan(['user_id'], span('2026-10-01T00:00:00Z', '2026-11-01T00:00:00Z'), { asOf: at('2026-11-03T09:00:00Z') }),
    ).toMatchObject({ raw: [], quarters: [], days: [span('2026-10-01T00:00:00Z', '2026-11-01T00:00:00Z')] });
  });

  it('a span that had not begun then is empty', () => {
    expect(
      plan([], span('2026-11-05T00:00:00Z', '2026-11-06T00:00:00Z'), { asOf: at('2026-11-03T09:00:00Z') }),
    ).toMatchObject({ days: [], quarters: [], raw: [] });
  });
});

it('whatever is asked, the pieces lie side by side in the span, days and quarters are whole, and none has a cut inside', () => {
  let state = 5;
  const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
  const one = <T>(values: readonly T[]): T => values[random(values.length)]!;
  for (let round = 0; round < 1_000; round += 1) {
    const from = NOW - random(100) * DAY_MS - one([0, random(DAY_MS), random(96) * QUARTER_MS]);
    const to = from + 1 + one([random(DAY_MS), random(40) * DAY_MS, random(40 * 96) * QUARTER_MS, random(60 * DAY_MS)]);
    const step = one([HOUR_MS, DAY_MS, 7 * DAY_MS]);
    const offset = one([0, 5.5 * HOUR_MS, 5.75 * HOUR_MS, -5 * HOUR_MS, 44 * 60_000 + 30_000]);
    const starts: number[] = [];
    if (random(3) > 0)
      for (let start = Math.floor((from + offset) / step) * step - offset; start < to; start += step)
        starts.push(start);
    const asOf = random(3) > 0 ? null : from + random(Math.min(to, NOW) - from > 0 ? Math.min(to, NOW) - from + 1 : 1);
    const columns = one<Column[]>([
      [],
      ['organization_id', 'model'],
      ['organization_id', 'status'],
      ['user_id'],
      ['agent'],
    ]);
    const found = plan(columns, { from, to }, { starts, asOf });
    const end = asOf === null ? to : Math.min(to, asOf + 1);
    const pieces = [...found.days, ...found.quarters, ...found.raw].sort((a, b) => a.from - b.from);
    let cursor = from;
    for (const piece of pieces) {
      expect(piece.from).toBe(cursor);
      expect(piece.to).toBeGreaterThan(piece.from);
      cursor = piece.to;
    }
    // To the end; beyond it only where there is nothing.
    if (asOf === null && to >= NOW) expect(cursor).toBeGreaterThanOrEqual(Math.min(end, NOW));
    else expect(cursor).toBe(Math.max(from, end));
    for (const [spans, unit] of [
      [found.days, DAY_MS],
      [found.quarters, QUARTER_MS],
    ] as const) {
      for (const whole of spans) expect([whole.from % unit, whole.to % unit]).toEqual([0, 0]);
      expect(
        [...starts, from, end].filter(
          (cut) => cut < NOW && cut % unit !== 0 && spans.some((whole) => cut > whole.from && cut < whole.to),
        ),
      ).toEqual([]);
    }
    if (asOf !== null)
      for (const whole of [...found.days, ...found.quarters]) expect(whole.to).toBeLessThanOrEqual(asOf - HOUR_MS);
    if (columns[0] === 'agent') expect([found.days, found.quarters]).toEqual([[], []]);
  }
});
