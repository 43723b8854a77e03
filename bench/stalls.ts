import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { Client } from 'pg';
import type { CallGroup } from '../src/services/ledger/ledger.store';
import type { AdmittedCall } from '../src/domain/call';
import { FolderStore } from '../src/services/rollups/folder.store';
import { Folder } from '../src/services/rollups/folder';
import { silentLogger } from '../src/lib/logger';
import { startPostgres } from '../test/support/postgres';
import { percentile, printTable } from './lib/figures';
import { endOf, newCall, prepare } from './lib/ledger-scene';
import { printMachine } from './lib/machine';
import { rate, waits } from './lib/pace';
import type { Sample } from './lib/stall-watch';
import { fillLog, reuseLog } from './lib/used-wal';

/**
 * Which groups take longer than 20 ms at half of full load, with folding as in production, and what the process and
 * Postgres did meanwhile.
 */
const RUNS = 5;
const WAITING = 512;
const FULL_SECONDS = 2;
const HALF_SECONDS = 6;

/** Milliseconds. */
const SLOW_MS = 20;

interface Stall extends CallGroup {
  startedAt: number;
  endedAt: number;
}
interface Busy {
  from: number;
  to: number;
}

const overlap = (spans: readonly Busy[], from: number, to: number): number =>
  spans.reduce((sum, span) => sum + Math.max(0, Math.min(span.to, to) - Math.max(span.from, from)), 0);

/** The first that explains half of the time. */
function causeOf(stall: Stall, samples: readonly Sample[], late: readonly Busy[], collected: readonly Busy[]): string {
  const { startedAt, endedAt, elapsedMs, statementMs, waitedMs } = stall;
  if (overlap(collected, startedAt, endedAt) > elapsedMs / 2) return 'our process: garbage collection';
  if (overlap(late, startedAt, endedAt) > elapsedMs / 2) return 'our process: event loop busy';
  if ((waitedMs ?? 0) > elapsedMs / 2) return 'Postgres: rows that another group holds';
  const during = samples.filter((sample) => sample.at >= startedAt && sample.at <= endedAt);
  const share = (pattern: RegExp): number =>
    during.filter((sample) => sample.busy.some((what) => pattern.test(what))).length / Math.max(during.length, 1);
  const others =
    share(/checkpointer/) > 0.5
      ? ', checkpoint meanwhile'
      : share(/weir-folder/) > 0.5
        ? ', folding meanwhile'
        : share(/autovacuum/) > 0.5
          ? ', vacuum meanwhile'
          : '';
  if (statementMs > elapsedMs / 2) {
    if (share(/weir (IO:WAL|LWLock:WAL)/) > 0.5) return `Postgres: statement waits for the log${others}`;
    if (share(/weir IO:/) > 0.3) return `Postgres: statement waits for the disk${others}`;
    return `Postgres: statement computes or waits for a processor${others}`;
  }
  if (share(/weir (IO:WAL|LWLock:WAL)/) > 0.3) return `Postgres: commit waits for the log${others}`;
  return `between us and Postgres${others}`;
}

async function main(): Promise<void> {
  printMachine();
  const late: Busy[] = [];
  let tick = Date.now();
  setInterval(() => {
    const now = Date.now();
    if (now - tick > 8) late.push({ from: tick, to: now });
    tick = now;
  }, 2).unref();
  const collected: Busy[] = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      collected.push({
        from: performance.timeOrigin + entry.startTime,
        to: performance.timeOrigin + entry.startTime + entry.duration,
      });
  }).observe({ entryTypes: ['gc'] });

  const table = new Map<string, { groups: number; worstMs: number; calls: number }>();
  const groupsOf = { admission: 0, settlement: 0 };
  const found: string[][] = [];
  for (let run = 1; run <= RUNS; run += 1) {
    const postgres = await startPostgres({ durable: true });
    const url = postgres.url('stalls');
    const admin = new Client({ connectionString: postgres.url('postgres') });
    await admin.connect();
    await admin.query('CREATE DATABASE stalls');
    await admin.end();
    const stalls: Stall[] = [];
    let counts = false;
    const scene = await prepare(url, (group) => {
      const endedAt = Date.now();
      if (!counts) return;
      groupsOf[group.what] += 1;
      if (group.elapsedMs > SLOW_MS) stalls.push({ ...group, startedAt: endedAt - group.elapsedMs, endedAt });
    });
    const { store, db } = scene;
    await fillLog(db);
    const folder = new Folder({ store: new FolderStore(url), logger: silentLogger });
    folder.start();
    const watcher = fork(path.join(__dirname, 'lib', 'stall-watch.js'), [url], { serialization: 'advanced' });
    await once(watcher, 'message');

    const admitted: AdmittedCall[] = [];
    const admitNew = async (): Promise<void> => {
      const [admission] = await store.admit([newCall(scene)]);
      if (admission?.kind === 'ADMITTED') admitted.push(admission);
    };
    const settleOne = async (): Promise<void> => {
      const call = admitted.pop();
      if (call) await store.settle([endOf(scene, call)]);
    };
    const admissions = await rate(WAITING, FULL_SECONDS, admitNew);
    await reuseLog(db);
    counts = true;
    const admitWaits = await waits(admissions / 2, HALF_SECONDS, admitNew);
    counts = false;
    const settlements = await rate(WAITING, FULL_SECONDS, settleOne);
    await reuseLog(db);
    counts = true;
    const settleWaits = await waits(settlements / 2, HALF_SECONDS, settleOne);
    counts = false;

    watcher.send('end');
    const [samples] = (await once(watcher, 'message')) as [Sample[]];
    for (const stall of stalls) {
      const cause = `${stall.what}: ${causeOf(stall, samples, late, collected)}`;
      const row = table.get(cause) ?? { groups: 0, worstMs: 0, calls: 0 };
      table.set(cause, {
        groups: row.groups + 1,
        worstMs: Math.max(row.worstMs, stall.elapsedMs),
        calls: row.calls + stall.calls,
      });
    }
    const ms = (values: number[], share: number): string => `${percentile(values, share).toFixed(1)} ms`;
    found.push([
      `${run}`,
      `${Math.round(admissions / 2)} /s`,
      ms(admitWaits, 0.5),
      ms(admitWaits, 0.99),
      `${Math.round(settlements / 2)} /s`,
      ms(settleWaits, 0.5),
      ms(settleWaits, 0.99),
      `${stalls.length}`,
    ]);
    await folder.stop();
    await db.close();
    await postgres.stop();
  }
  printTable(`Waits at half of full load, ${HALF_SECONDS} s each, folding meanwhile`, [
    ['run', 'admissions', 'p50', 'p99', 'settlements', 'p50', 'p99', 'groups over 20 ms'],
    ...found,
  ]);
  const all = [...table].sort(([, a], [, b]) => b.groups - a.groups);
  const total = all.reduce((sum, [, { groups }]) => sum + groups, 0);
  printTable(`Groups over 20 ms, of ${groupsOf.admission} admissions and ${groupsOf.settlement} settlements in all`, [
    ['cause', 'groups', 'share', 'calls in them', 'longest'],
    ...all.map(([cause, { groups, calls, worstMs }]) => [
      cause,
      `${groups}`,
      `${((100 * groups) / total).toFixed(0)} %`,
      `${calls}`,
      `${worstMs.toFixed(0)} ms`,
    ]),
  ]);
}

void main().then(
  () => process.exit(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
