import { setTimeout as sleep } from 'node:timers/promises';
import { median, percentile } from './figures';
import type { ServerProcess } from './processes';
import type { StreamRun } from './stream-clients';

/** So many streams at once, each of `tokens` tokens at `perSecond`. */
export interface Shape {
  streams: number;
  tokens: number;
  perSecond: number;
  startsPerSecond: number;
}
export interface Outcome {
  firstP50: number;
  firstP99: number;
  ageP50: number;
  ageP99: number;
  lost: number;
  reordered: number;
  unfinished: number;
  residentPerStream: number;
  /** Microseconds. */ cpuPerToken: number;
  /** Of the server's core, while all of them ran. */ busy: number;
}

export const modelOf = ({ tokens, perSecond }: Shape): string => `stream-${tokens}-${perSecond}-200`;

/** One candidate under this load. Times are those of its clients: an upstream that is asked directly has some too. */
export async function measure(
  shape: Shape,
  start: (model: string) => StreamRun,
  server: ServerProcess | null,
): Promise<Outcome> {
  const { streams, tokens, perSecond, startsPerSecond } = shape;
  const residentBefore = server?.residentBytes() ?? 0;
  const cpuBefore = server?.cpuMicros() ?? 0;
  const runs: StreamRun[] = [];
  const begin = performance.now();
  for (let index = 0; index < streams; index += 1) {
    const due = begin + (index * 1_000) / startsPerSecond;
    if (due > performance.now()) await sleep(due - performance.now());
    const run = start(modelOf(shape));
    // Told when all are awaited, below.
    run.result.catch(() => {});
    runs.push(run);
  }
  // All of them are running: the highest memory until the first could end, and the core that they take.
  let resident = 0;
  const [cpuFull, full] = [server?.cpuMicros() ?? 0, performance.now()];
  const half = full + (tokens / perSecond) * 500;
  while (performance.now() < half) {
    resident = Math.max(resident, server?.residentBytes() ?? 0);
    await sleep(100);
  }
  const busy = server ? (server.cpuMicros() - cpuFull) / 1_000 / (performance.now() - full) : 0;
  const results = await Promise.all(runs.map(({ result }) => result));
  const received = results.reduce((sum, result) => sum + result.received, 0);
  const first = results.map(({ firstTokenMs }) => firstTokenMs);
  const ages = results.flatMap(({ agesMs }) => agesMs);
  return {
    firstP50: median(first),
    firstP99: percentile(first, 0.99),
    ageP50: median(ages),
    ageP99: percentile(ages, 0.99),
    lost: streams * tokens - received,
    reordered: results.reduce((sum, result) => sum + result.reordered, 0),
    unfinished: results.filter(({ completed }) => !completed).length,
    residentPerStream: (resident - residentBefore) / streams,
    cpuPerToken: server ? (server.cpuMicros() - cpuBefore) / received : 0,
    busy,
  };
}
