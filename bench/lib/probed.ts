import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProbeReport } from './probe';

export interface Held extends ProbeReport {
  atMs: number;
  /** Open files that are sockets. */ sockets: number;
  files: number;
}

/** What a server with the probe holds now, after a collection of its garbage. */
export async function held(pid: number, file: string): Promise<Held> {
  rmSync(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  const end = Date.now() + 30_000;
  while (!existsSync(file)) {
    if (Date.now() > end) throw new Error('the server does not answer its probe');
    await sleep(5);
  }
  const report = JSON.parse(readFileSync(file, 'utf8')) as ProbeReport;
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return ''; // Closed since it was listed.
    }
  });
  return {
    ...report,
    atMs: performance.now(),
    sockets: links.filter((link) => link.startsWith('socket:')).length,
    files: links.filter((link) => link !== '').length,
  };
}

/** The slope of the line through the points (least squares): units of y per unit of x. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const under = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return over / under;
}
