import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { milliseconds, percentile } from './figures';

/**
 * What the figures depend on, printed above them: how busy the machine is already, and what a durable write costs on
 * its disk.
 */
export function printMachine(): void {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-disk-'));
  const file = openSync(path.join(folder, 'probe'), 'w');
  const block = Buffer.alloc(512, 1);
  const samples: number[] = [];
  for (let write = 0; write < 200; write += 1) {
    writeSync(file, block);
    const before = performance.now();
    fdatasyncSync(file);
    samples.push(performance.now() - before);
  }
  closeSync(file);
  rmSync(folder, { recursive: true });
  const load = os.loadavg()[0]!;
  const { model } = os.cpus()[0] ?? { model: 'unknown processor' };
  console.log(
    `\n${os.cpus().length} × ${model}, Node ${process.versions.node}; one durable write p50 ${milliseconds(percentile(samples, 0.5))}, p99 ${milliseconds(percentile(samples, 0.99))}; load before: ${load.toFixed(1)}`,
  );
  if (load > 1) console.log('  The machine is busy with something else: the times below say little, the ratios more.');
}
