import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Cores: the server under test has one to itself, everything that only measures has the last one. */
export const SERVER_CORE = 0;
export const LOAD_CORE = os.cpus().length > 1 ? os.cpus().length - 1 : 0;
const canPin = spawnSync('taskset', ['--version']).error === undefined;

export interface ServerProcess {
  pid: number;
  port: number;
  /** CPU time of all its threads since it began, in microseconds (Linux counts in steps of 10 ms). */
  cpuMicros(): number;
  /** Bytes of memory that it holds. */
  residentBytes(): number;
  stop(): Promise<void>;
}

export interface StartOptions {
  script: string;
  args?: string[];
  /** Of Node. */ flags?: string[];
  port: number;
  env?: Record<string, string>;
  core?: number;
  readyPath: string;
  logFile: string;
}

/**
 * Starts a Node program on one core and waits until it answers. Every server under test is started by this, with the
 * same flags.
 */
export async function startServer(options: StartOptions): Promise<ServerProcess> {
  const { script, args = [], flags = [], port, env = {}, core = SERVER_CORE, readyPath, logFile } = options;
  const node = [process.execPath, ...flags, script, ...args];
  const [command, ...rest] = canPin ? ['taskset', '-c', String(core), ...node] : node;
  const log = openSync(logFile, 'w');
  const child = spawn(command!, rest, {
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', ...env },
  });
  closeSync(log);
  await ready(child, `http://127.0.0.1:${port}${readyPath}`, script, logFile);
  const pid = child.pid!;
  return {
    pid,
    port,
    cpuMicros: () => {
      // The name, in brackets, may hold blanks: fields are counted from behind it.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 10_000;
    },
    residentBytes: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1_024,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await gone;
      clearTimeout(late);
    },
  };
}

async function ready(child: ChildProcess, url: string, script: string, logFile: string): Promise<void> {
  // A busy machine takes ten times as long as an idle one.
  const end = Date.now() + 120_000;
  while (Date.now() < end && child.exitCode === null) {
    try {
      await (await fetch(url)).arrayBuffer();
      return;
    } catch {
      await sleep(50);
    }
  }
  child.kill('SIGKILL');
  throw new Error(`${path.basename(script)} did not start:\n${readFileSync(logFile, 'utf8').slice(-2_000)}`);
}

/** Moves this process, the one that measures, off the server's core. */
export function pinSelf(): void {
  if (canPin) spawnSync('taskset', ['-a', '-cp', String(LOAD_CORE), String(process.pid)]);
}
