import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  // A process that has ended but was not yet collected by its parent does nothing any more.
  return procStat(pid)?.[0] !== 'Z';
}

/** Tells a process from a later one with the same number; null where the system does not say. */
export function processIdentity(pid: number): string | null {
  const fields = procStat(pid);
  if (fields) {
    const boot = readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
    return `${boot}:${fields[19]}`;
  }
  return process.platform === 'win32' ? null : ps(pid, 'lstart');
}

/** The command line of a process, null if there is none. */
export function commandLine(pid: number): string | null {
  const raw = readText(`/proc/${pid}/cmdline`);
  if (raw !== null) return raw.replaceAll('\0', ' ').trim();
  return process.platform === 'linux' || process.platform === 'win32' ? null : ps(pid, 'command');
}

/** Signals in order until the process is gone; each has its time in milliseconds. True when it is gone. */
export async function stopProcess(
  pid: number,
  steps: readonly (readonly [NodeJS.Signals, number])[],
): Promise<boolean> {
  for (const [signal, patienceMs] of steps) {
    try {
      process.kill(pid, signal);
    } catch {
      return !isAlive(pid);
    }
    const giveUpAt = Date.now() + patienceMs;
    while (Date.now() < giveUpAt) {
      if (!isAlive(pid)) return true;
      await wait(25);
    }
  }
  return !isAlive(pid);
}

/** The fields of /proc/<pid>/stat behind the name, which may itself contain spaces and brackets. */
function procStat(pid: number): string[] | null {
  const text = readText(`/proc/${pid}/stat`);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function readText(file: string): string | null {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

const ps = (pid: number, column: string): string | null =>
  spawnSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' }).stdout?.trim() || null;
