import { UsageService } from '../src/services/usage/usage.service';
import { askAll, askerOf, rowsOf, type Asked, type Asker } from './lib/dashboard-ask';
import { capacityOf, growthOfCells } from './lib/dashboard-capacity';
import { measureCorrection, type CorrectionFigures } from './lib/dashboard-correction';
import { folderOf, gigabytes, openDashboard, roomFor, type Built, type DashboardData } from './lib/dashboard-data';
import { clean, layTail } from './lib/dashboard-extra';
import { measureSettling, type SettleFigures } from './lib/dashboard-settle';
import { median, percentile, printGoals, printTable } from './lib/figures';
import { printMachine } from './lib/machine';

const ROWS = 10_000_000;
const MOST_ROWS = 100_000_000;

const args = process.argv.slice(2);
const rebuilt = new Set<number>();
const open = (rows: number): Promise<DashboardData> => {
  // Once.
  const rebuild = args.includes('--rebuild') && !rebuilt.has(rows);
  rebuilt.add(rows);
  return openDashboard(rows, { rebuild, anyMigrations: args.includes('--any-migrations') });
};
const named = args.find((arg) => /^\d+$/.test(arg));
const wanted = named === undefined ? ROWS : Number(named);

/** Organisations of 1,000 that have a share like the one at these percentiles of size. */
const askers = (): Asker[] => [
  askerOf(500, 'median', 10),
  askerOf(10, '99th percentile', 10),
  askerOf(1, 'biggest', 50),
];

async function askThem({ db, rows }: DashboardData): Promise<Asked[]> {
  await clean(db);
  await layTail(db, rows);
  const usage = new UsageService({ db });
  const asked: Asked[] = [];
  for (const asker of askers()) asked.push(...(await askAll(db, usage, asker)));
  printTable(
    `Twelve questions, ${rows.toLocaleString('en')} calls; GROUP BY over the raw table beside them`,
    rowsOf(asked),
  );
  await clean(db);
  return asked;
}

const perSecond = (n: number): string => `${Math.round(n).toLocaleString('en')} /s`;
const ms = (samples: readonly number[], share: number): string =>
  samples.length > 0 ? `${percentile(samples, share).toFixed(1)} ms` : 'none';

function printSettling(built: Built, settle: SettleFigures, correction: CorrectionFigures): void {
  printTable('Folding and correcting', [
    ['', 'figure'],
    ['rows written with all indexes, by two connections', perSecond(built.rowsPerSecond)],
    ['folded, when the installation was made', perSecond(built.foldedPerSecond)],
    ['settled by one process at full load, four budgets each', perSecond(settle.settledPerSecond)],
    ['the same calls folded, alone', perSecond(settle.foldedPerSecond)],
    [
      `a caller's wait at ${perSecond(settle.halfPerSecond)}, nobody folding, median and p99`,
      `${ms(settle.waitsAlone, 0.5)}, ${ms(settle.waitsAlone, 0.99)}`,
    ],
    ['the same, folding meanwhile', `${ms(settle.waits, 0.5)}, ${ms(settle.waits, 0.99)}`],
    ['a dashboard (this month by model) before the correction, median', ms(correction.before, 0.5)],
    [
      'until the answer to the correction came, median and p95',
      `${ms(correction.until, 0.5)}, ${ms(correction.until, 0.95)}`,
    ],
    ['while it was folded, median and p95', `${ms(correction.folding, 0.5)}, ${ms(correction.folding, 0.95)}`],
    [`until the correction was answered, with what it had changed`, `${correction.answeredSeconds.toFixed(1)} s`],
    [
      `until ${correction.calls.toLocaleString('en')} corrected calls were in the cubes`,
      `${correction.foldedSeconds.toFixed(1)} s`,
    ],
  ]);
  printGoals([
    {
      what: 'folding, of what one process settles at full load',
      value: settle.foldedPerSecond / settle.settledPerSecond,
      limit: 1,
      unit: '×',
      atLeast: true,
    },
    {
      what: "a caller's wait at half of full load, folding meanwhile, p99",
      value: percentile(settle.waits, 0.99),
      limit: 15,
      unit: 'ms',
    },
    { what: 'the tail, at its oldest', value: Math.max(...settle.tailAges), limit: 2, unit: 's' },
    {
      what: `a correction of ${correction.calls.toLocaleString('en')} calls, until visible`,
      value: correction.visibleSeconds,
      limit: 5,
      unit: 's',
    },
  ]);
}

/**
 * Ranks of organisations that have as many calls as each other, where one installation has ten times the calls of the
 * other.
 */
const SAME_SIZE = [
  { label: 'p99 of the smaller', big: 100, small: 10, reachMs: 10 },
  { label: 'biggest of the smaller', big: 10, small: 1, reachMs: 50 },
];

async function askAmong(rows: number, rank: (pair: (typeof SAME_SIZE)[number]) => number): Promise<Asked[]> {
  const data = await open(rows);
  try {
    await clean(data.db);
    await layTail(data.db, data.rows);
    const usage = new UsageService({ db: data.db });
    const asked: Asked[] = [];
    for (const pair of SAME_SIZE)
      asked.push(...(await askAll(data.db, usage, askerOf(rank(pair), pair.label, pair.reachMs))));
    await clean(data.db);
    return asked;
  } finally {
    await data.close();
  }
}

/**
 * The same questions for organisations of the same size among ten times as many calls: 100 million where there is room,
 * else as many as were measured.
 */
async function compareSizes(built: Built): Promise<Asked[]> {
  const room = roomFor(MOST_ROWS, built);
  const fits = !room || room.need <= room.free;
  if (!fits)
    console.log(
      `\n${MOST_ROWS.toLocaleString('en')} calls are left out: they need ${gigabytes(room.need)} on this disk, and ${gigabytes(room.free)} are free. What ten times the calls change is shown one step lower.`,
    );
  const bigRows = fits ? MOST_ROWS : ROWS;
  const big = await askAmong(bigRows, (pair) => pair.big);
  const small = await askAmong(bigRows / 10, (pair) => pair.small);
  printTable(
    `Organisations of the same size: among ${(bigRows / 10).toLocaleString('en')} calls, and among ten times as many`,
    [
      ['', 'question', 'organisation', 'median ms', 'among ten times', 'ratio', 'reach'],
      ...big.map(({ nr, text, asker, product }, i) => {
        const [before, after] = [median(small[i]!.product), median(product)];
        // Of everybody: ten times as much to say.
        const reach = nr === 12 ? '' : after <= before * 1.5 ? 'met (1.5 ×)' : 'MISSED (1.5 ×)';
        return [
          String(nr),
          text,
          asker.label,
          before.toFixed(1),
          after.toFixed(1),
          `${(after / before).toFixed(2)} ×`,
          reach,
        ];
      }),
    ],
  );
  return [...big, ...small];
}

async function main(): Promise<void> {
  printMachine();
  const data = await open(wanted);
  let asked: Asked[];
  try {
    asked = await askThem(data);
    const usage = new UsageService({ db: data.db });
    const settle = await measureSettling(data.url, data.db);
    const correction = await measureCorrection(data.url, data.db, usage, askers());
    printSettling(data.built, settle, correction);
    await clean(data.db);
    console.log(
      `\n${capacityOf(settle, data.built, await growthOfCells(data.db), asked, folderOf(wanted)).join('\n')}`,
    );
  } finally {
    await data.close();
  }
  if (named === undefined) asked.push(...(await compareSizes(data.built)));
  const different = asked.filter(({ difference }) => difference !== null);
  for (const { nr, asker, difference } of different) console.error(`(${nr}) ${asker.label}: ${difference}`);
  if (different.length > 0) throw new Error(`${different.length} answers are not what the rows say`);
}

void main().then(
  () => process.exit(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
