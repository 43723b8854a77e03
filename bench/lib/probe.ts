import { renameSync, writeFileSync } from 'node:fs';

/**
 * Loaded into a server that is measured (`node -r`): on SIGUSR2 it writes down what it holds, into the file that
 * PROBE_FILE names. With
 * `--expose-gc` garbage is collected first, so that what is left is held.
 */
export interface ProbeReport {
  rss: number;
  heapUsed: number;
  external: number;
  arrayBuffers: number;
  /** What keeps the process alive, by kind: sockets, timers. */ resources: Record<string, number>;
  /** Of the process itself: one for each event of each subscriber. */ listeners: number;
}

const file = process.env.PROBE_FILE;

const write = (): void => {
  (globalThis as { gc?: () => void }).gc?.();
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
  // In one piece: the reader looks for the file.
  writeFileSync(
    `${file}.new`,
    JSON.stringify({ rss, heapUsed, external, arrayBuffers, resources, listeners } satisfies ProbeReport),
  );
  renameSync(`${file}.new`, file!);
};

if (file) process.on('SIGUSR2', write);
