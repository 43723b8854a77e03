import { setTimeout as sleep } from 'node:timers/promises';
import { median, milliseconds, percentile, printGoals, printTable } from './lib/figures';
import type { ServerProcess } from './lib/processes';
import { withRig } from './lib/rig';
import { directStream, weirStream, type StreamRun } from './lib/stream-clients';

/** Many people read at once: 500 streams of 20 tokens a second through one core, 250 new ones each second. */
const STREAMS = 500;
const STARTS_PER_SECOND = 250;
const TOKENS = 400;
const MODEL = `stream-${TOKENS}-20-200`;

interface Outcome { ttft: number[]; age: number[]; lost: number; reordered: number; unfinished: number; residentPerStream: number; cpuPerToken: number }

async function run(start: () => StreamRun, server: ServerProcess | null): Promise<Outcome> {
  const residentBefore = server?.residentBytes() ?? 0;
  const cpuBefore = server?.cpuMicros() ?? 0;
  const runs: StreamRun[] = [];
  const begin = performance.now();
  for (let index = 0; index < STREAMS; index += 1) {
    const due = begin + (index * 1_000) / STARTS_PER_SECOND;
    if (due > performance.now()) await sleep(due - performance.now());
    runs.push(start());
  }
  // All of them are running: sample memory until the first could end, and take the highest.
  let resident = 0;
  const half = performance.now() + (TOKENS / 20) * 500;
  while (performance.now() < half) {
    resident = Math.max(resident, server?.residentBytes() ?? 0);
    await sleep(100);
  }
  const results = await Promise.all(runs.map(({ result }) => result));
  const tokens = results.reduce((sum, { received }) => sum + received, 0);
  return {
    ttft: results.map(({ firstTokenMs }) => firstTokenMs),
    age: results.flatMap(({ agesMs }) => agesMs),
    lost: STREAMS * TOKENS - tokens,
    reordered: results.reduce((sum, result) => sum + result.reordered, 0),
    unfinished: results.filter(({ completed }) => !completed).length,
    residentPerStream: (resident - residentBefore) / STREAMS,
    cpuPerToken: server ? (server.cpuMicros() - cpuBefore) / tokens : 0,
  };
}

async function warmUp(start: (model: string) => StreamRun): Promise<void> {
  for (let round = 0; round < 3; round += 1) await Promise.all(Array.from({ length: 60 }, () => start('stream-20-50-10').result));
}

void withRig(async (rig) => {
  const weir = await rig.startWeir();
  const floor = await rig.startFloor();
  const direct = (port: number) => (model: string): StreamRun => directStream(port, model);
  let reader = 0;
  const through = (model: string): StreamRun => weirStream(weir.port, rig.tokens[(reader += 1) % rig.tokens.length]!, model);
  const rows: [string, Outcome][] = [];
  for (const [name, start, server] of [['upstream, directly', direct(rig.upstreamPort), null], ['bare http proxy (floor)', direct(floor.port), floor], ['weir', through, weir]] as const) {
    await warmUp(start);
    rows.push([name, await run(() => start(MODEL), server)]);
  }
  const reference = rows[0]![1];
  printTable(`${STREAMS} streams × 20 tokens/s on one core, ${STARTS_PER_SECOND} starts/s, first token of the upstream after 200 ms`, [
    ['', 'first token added p50', 'p99', 'token age p50', 'p99', 'KB per stream', 'CPU per token', 'lost', 'reordered', 'unfinished'],
    ...rows.map(([name, outcome]) => [
      name,
      milliseconds(percentile(outcome.ttft, 0.5) - percentile(reference.ttft, 0.5)), milliseconds(percentile(outcome.ttft, 0.99) - percentile(reference.ttft, 0.99)),
      milliseconds(median(outcome.age)), milliseconds(percentile(outcome.age, 0.99)),
      outcome.residentPerStream ? (outcome.residentPerStream / 1_024).toFixed(0) : '-', outcome.cpuPerToken ? `${outcome.cpuPerToken.toFixed(1)} µs` : '-',
      String(outcome.lost), String(outcome.reordered), String(outcome.unfinished),
    ]),
  ]);
  const own = rows[2]![1];
  const counted = await rig.countCalls();
  printGoals([
    { what: 'first token added, p99', value: percentile(own.ttft, 0.99) - percentile(reference.ttft, 0.99), limit: 25, unit: 'ms' },
    { what: 'memory per stream', value: own.residentPerStream / 1_024, limit: 100, unit: 'KB' },
    { what: 'tokens lost or reordered, streams unfinished', value: own.lost + own.reordered + own.unfinished, limit: 0, unit: '' },
    { what: 'streams without exactly one usage row', value: Math.abs(counted.settled - STREAMS - 180) + counted.inFlight, limit: 0, unit: '' },
  ]);
});
