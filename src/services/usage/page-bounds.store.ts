import type { ReadTx } from '../../database/pool';
import { columnsOf, dayCubeOf } from './report-plan';
import type { ScopedFilter } from './usage-scope';
import { allOf, Parameters, whereOf, whereSettled } from './usage-where.store';

/**
 * Cells that are looked through for each call of the page: every one stands for a call at least, but for those that
 * were corrected to something else.
 */
const CELLS_PER_CALL = 4;

export interface PageBounds {
  /** Settled calls of before are not to be looked for; null: nobody can tell. */
  from: Date | null;
  /**
   * Nothing is before `from`, however few calls there are; else a page that is not full says that too many were
   * counted.
   */
  isAll: boolean;
  /** Of the calls in flight the first was made then; null: there are none. */
  inFlightFrom: Date | null;
}

/**
 * In which time a page of the newest calls lies, by what the cubes count: not told that, Postgres plans for each month
 * of two years, and looks into it.
 */
export async function pageBounds(
  tx: ReadTx,
  filter: ScopedFilter,
  count: number,
  after: readonly [occurredAt: string, id: string] | null,
): Promise<PageBounds> {
  const parameters = new Parameters();
  const inFlight = `SELECT min(occurred_at) FROM calls_in_flight WHERE ${allOf(whereOf(filter, parameters))}`;
  const maxCells = CELLS_PER_CALL * count;
  const cube = dayCubeOf(columnsOf([], filter));
  if (cube === null) {
    const [row] = await tx.query<{ in_flight: Date | null }>(`SELECT (${inFlight}) AS in_flight`, parameters.values);
    return { from: null, isAll: false, inFlightFrom: row!.in_flight };
  }
  const conditions = whereSettled({ ...filter, from: null, to: null }, parameters, false);
  // Of a day that is cut by the page before or by the end of the filter nothing is counted.
  const cut = [after?.[0], filter.to?.toISOString()]
    .filter((end) => end != null)
    .map((end) => `(${parameters.add(end)}::timestamptz AT TIME ZONE 'UTC')::date`);
  conditions.push(...cut.map((day) => `day < ${day}`));
  const unfolded = filter.organizationIds
    ? `WHERE organization_id = ANY (${parameters.add(filter.organizationIds)}::text[])`
    : '';
  const [row] = await tx.query<{ in_flight: Date | null; enough: string | null; oldest: string | null; cells: string }>(
    `WITH cells AS MATERIALIZED (SELECT day, calls FROM ${cube} WHERE ${allOf(conditions)} ORDER BY day DESC LIMIT ${maxCells}),
     days AS (SELECT day, sum(sum(calls)) OVER (ORDER BY day DESC) AS so_far FROM cells GROUP BY day)
     SELECT (${inFlight}) AS in_flight, (SELECT max(day)::text FROM days WHERE so_far >= ${parameters.add(count)}::int) AS enough, (SELECT count(*) FROM cells) AS cells,
       least((SELECT min(day) FROM cells), (SELECT (min(from_at) AT TIME ZONE 'UTC')::date FROM usage_batches ${unfolded})${cut.map((day) => `, ${day}`).join('')})::text AS oldest`,
    parameters.values,
  );
  const { in_flight: inFlightFrom, enough, oldest, cells } = row!;
  if (enough !== null) return { from: new Date(enough), isAll: false, inFlightFrom };
  const isAll = oldest !== null && Number(cells) < maxCells;
  return { from: isAll ? new Date(oldest) : null, isAll, inFlightFrom };
}
