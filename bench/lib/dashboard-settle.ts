import type { Db } from '../../src/database/pool';
import type { AdmittedCall } from '../../src/domain/call';
import { RollupWorker } from '../../src/services/rollups/rollup-worker';
import { startTraffic, type Traffic } from './dashboard-traffic';
import { waits } from './pace';
import { SILENT } from './silent';
import { fillLog, reuseLog } from './used-wal';

/** Calls that wait at the same time, as on a busy server. */
const WAITING = 512;
const FULL_CALLS = 60_000;
const HALF_SECONDS = 15;
const LOOK_EVERY_MS = 100;
/** As the product's folder does. */
const FOLD_STEP = 10_000;

export interface SettleFigures {
  settledPerSecond: number;
  /** Of the calls that were settled just now, by nothing but the folding. */
  foldedPerSecond: number;
  halfPerSecond: number;
  /**
   * Milliseconds that each caller waited at half of the full load: with nobody folding, and while the product keeps its
   * figures.
   */
  waitsAlone: number[];
  waits: number[];
  /** Seconds: the age of the oldest batch that was not in the cubes yet, whenever it was looked at. */
  tailAges: number[];
}

/** Settlement alone, folding alone, then both together at half of what settlement alone could do. */
export async function measureSettling(url: string, db: Db): Promise<SettleFigures> {
  await fillLog(db);
  const traffic = await startTraffic(db);
  await foldEverything(db);
  await inParallel(traffic, await traffic.admit(WAITING * 4));
  await foldEverything(db);

  const calls = await traffic.admit(FULL_CALLS);
  await reuseLog(db);
  let startedAt = performance.now();
  const count = calls.length;
  await inParallel(traffic, calls);
  const settledPerSecond = count / ((performance.now() - startedAt) / 1_000);
  startedAt = performance.now();
  const folded = await foldEverything(db);
  const foldedPerSecond = folded / ((performance.now() - startedAt) / 1_000);

  const halfPerSecond = settledPerSecond / 2;
  const waitsAlone = await atHalf(db, traffic, halfPerSecond);
  await foldEverything(db);
  const keeping = new RollupWorker({ databaseUrl: url, db, retentionMonths: null, logger: SILENT });
  const tailAges: number[] = [];
  const look = setInterval(() => void ageOfTail(db).then((age) => tailAges.push(age)), LOOK_EVERY_MS);
  keeping.start();
  const found = await atHalf(db, traffic, halfPerSecond);
  clearInterval(look);
  await keeping.stop();
  return { settledPerSecond, foldedPerSecond, halfPerSecond, waitsAlone, waits: found, tailAges };
}

async function atHalf(db: Db, traffic: Traffic, perSecond: number): Promise<number[]> {
  const ready = await traffic.admit(Math.ceil(perSecond * (HALF_SECONDS + 1)));
  await reuseLog(db);
  return waits(perSecond, HALF_SECONDS, async () => {
    const call = ready.pop();
    if (call) await traffic.settle(call);
  });
}

async function inParallel(traffic: Traffic, calls: AdmittedCall[]): Promise<void> {
  await Promise.all(
    Array.from({ length: WAITING }, async () => {
      for (let call = calls.pop(); call; call = calls.pop()) await traffic.settle(call);
    }),
  );
}

async function foldEverything(db: Db): Promise<number> {
  for (let rows = 0; ;) {
    const [folded] = await db.query<{ rows: string }>('SELECT rows FROM weir.fold($1)', [FOLD_STEP]);
    if (folded!.rows === '0') return rows;
    rows += Number(folded!.rows);
  }
}

async function ageOfTail(db: Db): Promise<number> {
  const [row] = await db.query<{ age: number }>(
    'SELECT coalesce(extract(epoch FROM weir.clock() - min(settled_at)), 0)::float8 AS age FROM usage_batches',
  );
  return row!.age;
}
