import type { Db } from '../../src/database/pool';
import { RollupWorker } from '../../src/services/rollups/rollup-worker';
import { askOnce, type Asker } from './dashboard-ask';
import { questions } from './dashboard-questions';
import { editOf, openPrices } from './dashboard-record';
import { SILENT } from './silent';
import { END, models, OPERATOR } from './dashboard-shape';
import type { UsageService } from '../../src/services/usage/usage.service';

const WANTED_CALLS = 1_000_000;
const DAY_MS = 86_400_000;
const MOST_MS = 120_000;
/** A dashboard that is open meanwhile: this month by model. */
const WATCHED = questions.find(({ nr }) => nr === 2)!;

export interface CorrectionFigures {
  calls: number;
  /** From the request until a report shows the new price. */
  visibleSeconds: number;
  /** Until it was answered, with what it had changed. */
  answeredSeconds: number;
  /** Until the cubes have it. */
  foldedSeconds: number;
  /** Milliseconds that dashboards waited: before, until the answer came, and while it was folded. */
  before: number[];
  until: number[];
  folding: number[];
}

/**
 * Corrects the price of the most used model so far back that so many calls are touched, while dashboards go on asking.
 */
export async function measureCorrection(
  url: string,
  db: Db,
  usage: UsageService,
  askers: readonly Asker[],
): Promise<CorrectionFigures> {
  const model = models[0]!;
  const from = await startOf(db, model.id);
  const { service } = await openPrices(db);
  const edit = editOf({
    model: model.id,
    from,
    rates: {
      input: '0.0000011',
      output: '0.0000044',
      cacheRead: '0.00000011',
      cacheWrite: '0.0000013',
      cacheWriteOneHour: '0.0000022',
    },
    note: 'a measured correction',
  });
  const costNow = async (): Promise<string | null> => {
    const { rows } = await askOnce(usage, askers.at(-1)!, WATCHED);
    return rows.find((row) => row.model === model.id)?.figures.cost ?? null;
  };

  const keeping = new RollupWorker({ databaseUrl: url, db, retentionMonths: null, logger: SILENT });
  keeping.start();
  const [before, until, folding]: [number[], number[], number[]] = [[], [], []];
  let phase = before;
  let stopped = false;
  const watch = Promise.all(
    askers.map(async (asker) => {
      while (!stopped) {
        const at = performance.now();
        const list = phase;
        await askOnce(usage, asker, WATCHED);
        list.push(performance.now() - at);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }),
  );
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const costBefore = await costNow();
  phase = until;
  const startedAt = performance.now();
  const change = service.setModelPrice(OPERATOR, edit, false);
  change.catch(() => {});
  let costAfter = await costNow();
  for (; costAfter === costBefore; costAfter = await costNow())
    if (performance.now() - startedAt > MOST_MS) throw new Error('the correction is not seen');
  const visibleSeconds = (performance.now() - startedAt) / 1_000;
  const { affectedCalls } = await change;
  const answeredSeconds = (performance.now() - startedAt) / 1_000;
  phase = folding;
  await folded(db);
  const foldedSeconds = (performance.now() - startedAt) / 1_000;
  stopped = true;
  await Promise.all([watch, keeping.stop()]);
  const costFolded = await costNow();
  if (costFolded !== costAfter)
    throw new Error(`folding the correction changed a figure: ${costAfter} became ${costFolded}`);
  return { calls: affectedCalls, visibleSeconds, answeredSeconds, foldedSeconds, before, until, folding };
}

/** When every price change is in the cubes. */
async function folded(db: Db): Promise<void> {
  for (;;) {
    const [row] = await db.query<{ waiting: boolean }>(
      `SELECT EXISTS (SELECT FROM price_changes WHERE folded_before < 'infinity') AS waiting`,
    );
    if (!row!.waiting) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The latest day from whose beginning the model was called so often; the first one where it never was. */
async function startOf(db: Db, model: string): Promise<Date> {
  const days = await db.query<{ day: string; calls: number }>(
    `SELECT day::text, sum(calls)::int AS calls FROM usage_daily_overall WHERE model = $1 GROUP BY day ORDER BY usage_daily_overall.day DESC`,
    [model],
  );
  let calls = 0;
  for (const row of days) {
    calls += row.calls;
    if (calls >= WANTED_CALLS) return new Date(`${row.day}T00:00:00Z`);
  }
  return days.length > 0 ? new Date(`${days.at(-1)!.day}T00:00:00Z`) : new Date(END.getTime() - DAY_MS);
}
