import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import { commandLine, isAlive, processIdentity, stopProcess } from './processes';
import { readObject, writePrivate } from './secrets';

export interface GroupOptions {
  file: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  /** Gets all output; the one of the start before is kept beside it as `<log>.1`. */
  log: string;
  /** Remembers the process for a start after a `kill -9`. */
  pidFile: string;
}
export interface ExitStatus {
  code: number | null;
  signal: NodeJS.Signals | null;
}
/**
 * A process of ours that leads a group of its own: Ctrl-C in the terminal does not reach it, and its children end with
 * it.
 */
export interface ChildGroup {
  pid: number;
  /** Set once it has ended, whoever ended it. */
  ended(): ExitStatus | null;
  exited: Promise<ExitStatus>;
  /** SIGTERM, after `graceMs` SIGKILL, and whatever is left of the group. Safe to repeat. */
  stop(graceMs?: number): Promise<void>;
  /** At once. */
  kill(): void;
}

/** Longer than the proxy's own time for finishing calls. */
const GRACE_MS = 8_000;
const KILL_MS = 2_000;

/** Throws when the program cannot be started at all. */
export async function startGroup({ file, args, env, cwd, log, pidFile }: GroupOptions): Promise<ChildGroup> {
  if (fs.existsSync(log)) fs.renameSync(log, `${log}.1`);
  const output = fs.openSync(log, 'w', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(file, [...args], {
      env: env as NodeJS.ProcessEnv,
      cwd,
      detached: true,
      stdio: ['ignore', output, output],
    });
  } finally {
    fs.closeSync(output);
  }
  let status: ExitStatus | null = null;
  const exited = new Promise<ExitStatus>((resolve) => {
    child.once('exit', (code, signal) => resolve((status = { code, signal })));
    child.once('error', () => resolve((status ??= { code: null, signal: null })));
  });
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const pid = child.pid!;
  writePrivate(
    pidFile,
    `${JSON.stringify({ pid, identity: processIdentity(pid), command: [file, ...args].join(' '), startedAt: new Date().toISOString() })}\n`,
  );
  const finish = (): void => {
    signalGroup(pid, 'SIGKILL');
    if (readObject(pidFile).pid === pid) fs.rmSync(pidFile, { force: true });
  };
  return {
    pid,
    ended: () => status,
    exited,
    async stop(graceMs = GRACE_MS) {
      if (!status) {
        signalProcess(pid, 'SIGTERM');
        const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs);
        await exited;
        clearTimeout(timer);
      }
      finish();
    },
    kill: finish,
  };
}

/**
 * Ends what an earlier start left behind when it was killed, if the process of the pid file is still the same one.
 * True: there was one.
 * Only the leader is asked to end by itself; the rest of its group goes with it.
 */
export async function stopStaleGroup(pidFile: string): Promise<boolean> {
  const { pid, identity, command } = readObject(pidFile);
  if (typeof pid !== 'number') return false;
  const isSame =
    isAlive(pid) && (typeof identity === 'string' ? processIdentity(pid) === identity : commandLine(pid) === command);
  if (isSame) {
    await stopProcess(pid, [['SIGTERM', GRACE_MS]]);
    signalGroup(pid, 'SIGKILL');
    await stopProcess(pid, [['SIGKILL', KILL_MS]]);
  }
  fs.rmSync(pidFile, { force: true });
  return isSame;
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}

const signalGroup = (leader: number, signal: NodeJS.Signals): void => signalProcess(-leader, signal);
