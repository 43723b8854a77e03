import os from 'node:os';
import path from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { printGoals, printTable } from './lib/figures';
import { held, slope, type Held } from './lib/probed';
import { withRig, type Rig } from './lib/rig';
import { soakStream, type Ending, type SoakResult } from './lib/soak-clients';

/**
 * 200 new streams each second for ten minutes; `--hour`: for an hour; `--seconds 60`, `--rate 50`. What is there at the
 * beginning is there at the end, and nothing else.
 */
const option = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
};
const SECONDS = process.argv.includes('--hour') ? 3_600 : option('seconds', 600);
const RATE = option('rate', 200);
/** Not counted: heap and pools grow to their size, and the events that are kept of ended streams fill their bound. */
const WARM_UP_SECONDS = Math.max(20, Math.min(90, SECONDS / 4));
const SAMPLE_MS = Math.max(2_000, (SECONDS * 1_000) / 120);
/** Some 1 KB for each ended stream: full within the warm-up. The product's default takes 64 MB, and five minutes. */
const KEPT_BYTES = RATE * WARM_UP_SECONDS * 500;
const GRACE_MS = 1_000;
const TOKENS = 20;
const MODEL = `stream-${TOKENS}-20-50`;
const ENDINGS: Ending[] = ['READ', 'READ', 'READ', 'READ', 'READ', 'STOP', 'RESUME', 'RESUME', 'CANCEL', 'GRACE'];
/** How long the end may take: grace, settlement, idle connections of pools. */
const QUIET_MS = 30_000;

const MB = 1_048_576;

/** Starts streams at the rate, whatever became of those before. */
async function streams(
  rig: Rig,
  port: number,
  seconds: number,
  onTick: () => Promise<void> = async () => {},
): Promise<SoakResult[]> {
  const running: Promise<SoakResult>[] = [];
  const begin = performance.now();
  let ticking = false;
  for (let index = 0; index < RATE * seconds; index += 1) {
    const due = begin + (index * 1_000) / RATE;
    if (due > performance.now()) await sleep(due - performance.now());
    running.push(
      soakStream(
        port,
        rig.tokens[index % rig.tokens.length]!,
        MODEL,
        ENDINGS[index % ENDINGS.length]!,
        2 + ((index * 7) % TOKENS),
      ),
    );
    if (ticking || index % 20 !== 0) continue;
    ticking = true;
    void onTick().finally(() => (ticking = false));
  }
  return Promise.all(running);
}

/** Idle connections to the upstream are given up within this time, and are no part of the base. Milliseconds. */
const IDLE_MS = 15_000;

/**
 * What is held when nothing runs: waits until idle connections are gone and it is the same three times, or as at
 * `base`.
 */
async function quiet(pid: number, file: string, base: Held | null): Promise<Held> {
  const begin = performance.now();
  const end = begin + QUIET_MS;
  for (let last: Held | null = null, same = 0; ;) {
    const now = await held(pid, file);
    if (base ? now.sockets <= base.sockets : last?.sockets === now.sockets && performance.now() - begin > IDLE_MS)
      same += 1;
    else same = 0;
    if (same >= 3 || performance.now() > end) return now;
    last = now;
    await sleep(1_000);
  }
}

void withRig(async (rig) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-soak-'));
  const file = path.join(folder, 'held.json');
  const weir = await rig.startWeir({
    flags: ['--expose-gc', '-r', path.join(__dirname, 'lib', 'probe.js')],
    env: {
      PROBE_FILE: file,
      STREAM_KEPT_BYTES: String(KEPT_BYTES),
      STREAM_GRACE_MS: String(GRACE_MS),
      LOG_LEVEL: 'warn',
    },
  });
  const warm = await streams(rig, weir.port, Math.min(10, WARM_UP_SECONDS));
  const base = await quiet(weir.pid, file, null);
  const cpuBefore = weir.cpuMicros();
  const begin = performance.now();
  const samples: Held[] = [];
  let sampledAt = 0;
  const results = await streams(rig, weir.port, SECONDS, async () => {
    if (performance.now() - sampledAt < SAMPLE_MS) return;
    sampledAt = performance.now();
    samples.push(await held(weir.pid, file));
  });
  const took = (performance.now() - begin) / 1_000;
  const cpu = (weir.cpuMicros() - cpuBefore) / 1_000_000 / took;
  const end = await quiet(weir.pid, file, base);
  const counted = await rig.countCalls();
  rmSync(folder, { recursive: true, force: true });

  const measured = samples.filter(({ atMs }) => atMs - begin > WARM_UP_SECONDS * 1_000);
  const perMinute = (of: (sample: Held) => number): number =>
    slope(measured.map((sample) => [(sample.atMs - begin) / 60_000, of(sample) / MB]));
  const slopes = {
    rss: perMinute(({ rss }) => rss),
    heap: perMinute(({ heapUsed }) => heapUsed),
    external: perMinute(({ external }) => external),
  };
  const all = [...warm, ...results];
  const begun = all.filter(({ streamId }) => streamId !== null);
  const lost = all.filter(
    ({ ending, streamId, terminal, gaps }) =>
      streamId === null ||
      gaps > 0 ||
      ((ending === 'READ' || ending === 'RESUME' || ending === 'STOP') &&
        !(terminal === 'StreamCompleted' || terminal === 'StreamStopped')),
  );
  const ends: Record<string, number> = {};
  for (const { ending, terminal } of results)
    ends[`${ending} ${terminal ?? 'left'}`] = (ends[`${ending} ${terminal ?? 'left'}`] ?? 0) + 1;

  console.log(
    `\n${results.length} streams of ${TOKENS} tokens, ${RATE} starts a second for ${SECONDS} s (took ${took.toFixed(0)} s), ${(cpu * 100).toFixed(0)} % of a core; load now ${os.loadavg()[0]!.toFixed(1)}`,
  );
  for (const [name, count] of Object.entries(ends).sort()) console.log(`  ${name.padEnd(24)} ${count}`);
  const every = Math.max(1, Math.floor(samples.length / 12));
  printTable('What the server holds, garbage collected', [
    ['', 'after', 'RSS', 'heap', 'external', 'sockets', 'files', 'timers', 'listeners'],
    ...[
      ['base', base] as const,
      ...samples.filter((_, index) => index % every === every - 1).map((sample) => ['running', sample] as const),
      ['end', end] as const,
    ].map(([name, sample]) => [
      name,
      name === 'base' ? '-' : `${((sample.atMs - begin) / 1_000).toFixed(0)} s`,
      ...[sample.rss, sample.heapUsed, sample.external].map((bytes) => `${(bytes / MB).toFixed(1)} MB`),
      ...[sample.sockets, sample.files, sample.resources.Timeout ?? 0, sample.listeners].map(String),
    ]),
  ]);
  for (const kind of new Set([...Object.keys(base.resources), ...Object.keys(end.resources)])) {
    if ((base.resources[kind] ?? 0) !== (end.resources[kind] ?? 0))
      console.log(`  not back at base: ${kind} ${base.resources[kind] ?? 0} -> ${end.resources[kind] ?? 0}`);
  }
  console.log(
    `  memory slope behind the first ${WARM_UP_SECONDS.toFixed(0)} s, ${measured.length} samples: RSS ${slopes.rss.toFixed(2)} MB/min, heap ${slopes.heap.toFixed(2)} MB/min, external ${slopes.external.toFixed(2)} MB/min`,
  );
  const kinds: Record<string, number> = {};
  for (const { ending, terminal, gaps, closed } of lost)
    kinds[`${ending}, ${terminal ?? 'no end'}, ${gaps} gaps, closed ${closed}`] =
      (kinds[`${ending}, ${terminal ?? 'no end'}, ${gaps} gaps, closed ${closed}`] ?? 0) + 1;
  for (const [kind, count] of Object.entries(kinds)) console.log(`  lost: ${count} × ${kind}`);
  printGoals([
    { what: 'heap slope', value: slopes.heap, limit: 0.5, unit: 'MB/min' },
    { what: 'RSS slope', value: slopes.rss, limit: 1, unit: 'MB/min' },
    { what: 'streams lost', value: lost.length, limit: 0, unit: '' },
    {
      what: 'streams without exactly one usage row',
      value: Math.abs(counted.settled - begun.length) + counted.inFlight,
      limit: 0,
      unit: '',
    },
    { what: 'sockets above base', value: end.sockets - base.sockets, limit: 0, unit: '' },
    {
      what: 'timers above base',
      value: (end.resources.Timeout ?? 0) - (base.resources.Timeout ?? 0),
      limit: 0,
      unit: '',
    },
    { what: 'listeners above base', value: end.listeners - base.listeners, limit: 0, unit: '' },
  ]);
});
