import fs from 'node:fs';
import type { Db } from '../../src/database/pool';
import type { Asked } from './dashboard-ask';
import type { Built } from './dashboard-data';
import type { SettleFigures } from './dashboard-settle';
import { HOURS } from './dashboard-shape';
import { percentile } from './figures';

/**
 * Single calls are kept for so many days; cubes stay, and this is for the first year of them. Four fifths of the disk
 * may be full.
 */
const RAW_DAYS = 90;
const CUBE_DAYS = 365;
const QUARTER_HOUR_DAYS = 60;
const DISK_SHARE = 0.8;
const GB = 2 ** 30;

/**
 * How the cells of a day grow with its calls: cells = factor × calls ^ power. More calls of the same people make fewer
 * new cells each.
 */
export interface CellGrowth {
  cube: string;
  bytesPerCell: number;
  days: number;
  factor: number;
  power: number;
}

/** Fitted to the days of the installation, quiet ones and busy ones. */
export async function growthOfCells(db: Db): Promise<CellGrowth[]> {
  const found: CellGrowth[] = [];
  for (const [cube, days] of [
    ['usage_daily', CUBE_DAYS],
    ['usage_daily_by_project', CUBE_DAYS],
    ['usage_daily_by_user', CUBE_DAYS],
    ['usage_quarter_hourly', QUARTER_HOUR_DAYS],
  ] as const) {
    const day = cube === 'usage_quarter_hourly' ? `(at AT TIME ZONE 'UTC')::date` : 'day';
    const points = await db.query<{ cells: number; calls: number }>(
      `SELECT count(*)::int AS cells, sum(calls)::int AS calls FROM ${cube} GROUP BY ${day} HAVING sum(calls) > 0`,
    );
    const [size] = await db.query<{ bytes: number }>(
      `SELECT (pg_total_relation_size('${cube}') / (SELECT count(*) FROM ${cube}))::float8 AS bytes`,
    );
    found.push({
      cube,
      bytesPerCell: size!.bytes,
      days,
      ...fit(points.map(({ cells, calls }) => [Math.log(calls), Math.log(cells)])),
    });
  }
  return found;
}

/** The straight line through points, by least squares. */
function fit(points: [number, number][]): { factor: number; power: number } {
  const mean = (of: (point: [number, number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point[0]), mean((point) => point[1])];
  const power = mean((point) => (point[0] - x) * (point[1] - y)) / mean((point) => (point[0] - x) ** 2);
  return { factor: Math.exp(y - power * x), power };
}

const millions = (calls: number): string => `${(calls / 1e6).toFixed(calls < 1e7 ? 1 : 0)} million`;

/**
 * Lines that say how many calls a day this machine holds, by each of what was measured, and which of them is the first
 * to give way.
 */
export function capacityOf(
  settle: SettleFigures,
  built: Built,
  cells: readonly CellGrowth[],
  asked: readonly Asked[],
  folder: string,
): string[] {
  const busiestHour = Math.max(...HOURS.slice(1).map((share, i) => share - HOURS[i]!));
  const perDay = (perSecond: number): number => (perSecond * 3_600) / busiestHour;
  const { blocks, bsize } = fs.statfsSync(folder);
  const disk = blocks * bsize * DISK_SHARE;
  const cubeBytes = (calls: number): number =>
    cells.reduce(
      (sum, { bytesPerCell, days, factor, power }) =>
        sum + Math.min(calls, factor * calls ** power) * bytesPerCell * days,
      0,
    );
  const bytes = (calls: number): number => calls * built.rawBytesPerRow * RAW_DAYS + cubeBytes(calls);
  let [few, many] = [1, 1e10];
  while (many / few > 1.001) {
    const middle = Math.sqrt(few * many);
    if (bytes(middle) > disk) many = middle;
    else few = middle;
  }
  const bounds = [
    {
      what: `settlement, in the busiest hour (${(busiestHour * 100).toFixed(1)} % of a day's calls) at half of what one process can`,
      calls: perDay(settle.halfPerSecond),
    },
    { what: 'folding, alone, in the busiest hour', calls: perDay(settle.foldedPerSecond) },
    {
      what: `the disk, ${Math.round(disk / GB)} GB: ${Math.round(built.rawBytesPerRow)} bytes for each call for ${RAW_DAYS} days, and ${Math.round(cubeBytes(few) / GB)} GB for a year of cubes (cells of a day grow with its calls to the power of ${cells.map(({ power }) => power.toFixed(2)).join(', ')})`,
      calls: few,
    },
  ];
  const first = bounds.reduce((least, bound) => (bound.calls < least.calls ? bound : least));
  const slowest = asked
    .filter(({ asker }) => asker.label === 'biggest')
    .reduce<Asked | null>(
      (most, one) => (!most || percentile(one.product, 0.5) > percentile(most.product, 0.5) ? one : most),
      null,
    );
  return [
    'How many calls a day does a machine of this size hold?',
    ...bounds.map(({ what, calls }) => `  ${millions(calls)}: ${what}`),
    `  First to give way: ${first.what.split(/[:,]/)[0]}, at ${millions(first.calls)} calls a day.`,
    ...(slowest
      ? [
          `  Slowest question of the biggest organisation: "${slowest.text}", ${percentile(slowest.product, 0.5).toFixed(0)} ms; it grows with the cells of that organisation alone.`,
        ]
      : []),
  ];
}
