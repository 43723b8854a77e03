import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { openDatabase, type Db } from '../../src/database/pool';
import { migrate } from '../../src/database/migrate';
import { takeLock } from '../../launch/lock';
import { startPostgres, type RunningPostgres } from '../../launch/postgres';
import { foldPrices, foldRows, takePrices, writeDimensions, writeRows } from './dashboard-build';
import { recordPrices } from './dashboard-record';
import { END, OPERATOR, SEED, SHAPE_VERSION } from './dashboard-shape';

/** bench/dist/bench/lib → the repository. */
const ROOT = path.join(__dirname, '..', '..', '..', '..');
const FOLDER = path.resolve(process.env.BENCH_DATA ?? path.join(ROOT, '.weir', 'bench'));
const PASSWORD = 'weir';
const GB = 2 ** 30;
/** Rows that one transaction folds. */
const FOLD_STEP = 100_000;
/** Bytes on disk per row, all indexes, cubes and the log of changes included, before anything was measured here. */
const BYTES_PER_ROW = 2_500;
const LOG_BYTES = 4 * GB;
export const gigabytes = (bytes: number): string => `${Math.round(bytes / GB)} GB`;

/** What everybody sets who runs Postgres on a machine of its own; all else is as it comes. */
const SETTINGS = [
  'max_connections=100',
  `shared_buffers=${Math.max(1, Math.round(os.totalmem() / 4 / GB))}GB`,
  `effective_cache_size=${Math.max(1, Math.round((os.totalmem() * 3) / 4 / GB))}GB`,
  'max_wal_size=4GB',
  'min_wal_size=2GB',
];
/** While the data is made there is nothing to lose. */
const LOADING = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'checkpoint_timeout=15min'];

export interface Built {
  rowsPerSecond: number;
  foldedPerSecond: number;
  priceChanges: number;
  /** On disk, indexes included. */ rawBytesPerRow: number;
  cubeBytesPerRow: number;
}
export interface DashboardData {
  url: string;
  db: Db;
  rows: number;
  built: Built;
  close(): Promise<void>;
}
interface Mark {
  seed: number;
  shape: number;
  rows: number;
  migrations: string;
  built: Built;
}

const migrationsHash = (): string => {
  const src = path.join(__dirname, '..', '..', 'src');
  const hash = createHash('sha256');
  for (const folder of [
    'database/migrations',
    'database/migrations/baseline',
    'services/rollups/sql',
    'services/ledger/sql',
  ]) {
    const files = fs
      .readdirSync(path.join(src, folder))
      .filter((file) => /\.(js|sql)$/.test(file))
      .sort();
    for (const name of files) hash.update(name).update(fs.readFileSync(path.join(src, folder, name)));
  }
  return hash.digest('hex');
};

export const folderOf = (rows: number): string => path.join(FOLDER, `dashboard-${rows}`);
const markFile = (rows: number): string => path.join(folderOf(rows), 'mark.json');

function readMark(rows: number): Mark | null {
  try {
    return JSON.parse(fs.readFileSync(markFile(rows), 'utf8')) as Mark;
  } catch {
    return null;
  }
}

/** Whether the data can be used as it is. `anyMigrations`: also if the migrations have changed since. */
const isUsable = (mark: Mark | null, anyMigrations: boolean): mark is Mark =>
  mark !== null &&
  mark.seed === SEED &&
  mark.shape === SHAPE_VERSION &&
  (anyMigrations || mark.migrations === migrationsHash());

/**
 * Bytes that so many rows would need and bytes that there are, by what rows took where they were measured; null where
 * the data is there already.
 */
export function roomFor(rows: number, measured: Built | null): { need: number; free: number } | null {
  if (isUsable(readMark(rows), false)) return null;
  fs.mkdirSync(FOLDER, { recursive: true });
  const { bavail, bsize } = fs.statfsSync(FOLDER);
  const perRow = measured ? measured.rawBytesPerRow + measured.cubeBytesPerRow : BYTES_PER_ROW;
  return { need: perRow * rows * 1.1 + LOG_BYTES, free: bavail * bsize };
}

/**
 * The installation with so many rows: the one of an earlier run where it is the same, else a new one. Its clock goes on
 * from where the rows end.
 */
export async function openDashboard(
  rows: number,
  options: { rebuild: boolean; anyMigrations: boolean },
): Promise<DashboardData> {
  const folder = folderOf(rows);
  fs.mkdirSync(folder, { recursive: true });
  const lock = await takeLock(folder);
  let mark = readMark(rows);
  let postgres: RunningPostgres | null = null;
  const start = (more: readonly string[]): Promise<RunningPostgres> =>
    startPostgres({ folder, password: PASSWORD, settings: [...SETTINGS, ...more] });
  // The server is a process group of its own and would outlive us.
  const stopNow = (signal: NodeJS.Signals): void =>
    void Promise.resolve(postgres?.stop()).then(() => process.kill(process.pid, signal));
  process.once('SIGINT', stopNow).once('SIGTERM', stopNow);
  try {
    if (options.rebuild || !isUsable(mark, options.anyMigrations)) {
      for (const name of ['data', 'mark.json']) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
      const room = roomFor(rows, null);
      if (room && room.need > room.free)
        throw new Error(
          `${rows.toLocaleString('en')} calls need about ${gigabytes(room.need)}, and ${folder} has ${gigabytes(room.free)}; BENCH_DATA names another folder`,
        );
      const migrations = migrationsHash();
      postgres = await start(LOADING);
      const built = await build(postgres.adminUrl, rows);
      await postgres.stop();
      mark = { seed: SEED, shape: SHAPE_VERSION, rows, migrations, built };
      fs.writeFileSync(markFile(rows), JSON.stringify(mark, null, 2));
    } else {
      console.log(`\nThe data of an earlier run in ${folder}; --rebuild makes it anew.`);
    }
    const server = await start([]);
    postgres = server;
    const url = databaseUrl(server.adminUrl);
    // Without a limit: what answers are compared with takes its time.
    const db = await openDatabase({ url, poolSize: 10, statementTimeoutMs: 0 }, () => {});
    await turnClockBack(db);
    return {
      url,
      db,
      rows,
      built: mark.built,
      close: async () => {
        await db.close();
        await server.stop();
        process.off('SIGINT', stopNow).off('SIGTERM', stopNow);
        lock.release();
      },
    };
  } catch (error) {
    await postgres?.stop();
    lock.release();
    throw error;
  }
}

const databaseUrl = (adminUrl: string): string => {
  const url = new URL(adminUrl);
  url.pathname = '/weir';
  return url.toString();
};

/** The database's time becomes that at which the rows end, and goes on from there. */
export async function turnClockBack(db: Db): Promise<void> {
  await db.query(
    `CREATE OR REPLACE FUNCTION weir.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT now() - interval '${Date.now() - END.getTime()} milliseconds' $$`,
  );
}

async function build(adminUrl: string, rows: number): Promise<Built> {
  const admin = new Client({ connectionString: adminUrl });
  await admin.connect();
  await admin.query('CREATE DATABASE weir');
  await admin.end();
  const url = databaseUrl(adminUrl);
  await migrate({ url });
  const db = await openDatabase({ url, poolSize: 4, statementTimeoutMs: 0 }, () => {});
  try {
    console.log(`\nAn installation with ${rows.toLocaleString('en')} calls is made`);
    await writeDimensions(db);
    await recordPrices(db, OPERATOR);
    await takePrices(db);
    await turnClockBack(db);
    const rowsPerSecond = await writeRows(url, db, rows);
    await db.query('VACUUM ANALYZE');
    const foldedPerSecond = await foldRows(db, FOLD_STEP);
    await db.query('ANALYZE');
    const priceChanges = await foldPrices(db);
    await db.query('VACUUM ANALYZE');
    await db.query('CHECKPOINT');
    const [size] = await db.query<{ raw: string; cubes: string }>(
      `SELECT (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('llm_usage')) AS raw,
         (SELECT sum(pg_total_relation_size(c)) FROM unnest('{usage_daily,usage_daily_by_project,usage_daily_by_user,usage_daily_overall,usage_quarter_hourly}'::regclass[]) AS c) AS cubes`,
    );
    return {
      rowsPerSecond,
      foldedPerSecond,
      priceChanges,
      rawBytesPerRow: Number(size!.raw) / rows,
      cubeBytesPerRow: Number(size!.cubes) / rows,
    };
  } finally {
    await db.close();
  }
}
