import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { waitFor } from './wait';

export const ROOT = path.join(__dirname, '..', '..');

/** Milliseconds: on a slow machine, LiteLLM's own start included. */
const READY_MS = 480_000;
/**
 * The end of the last lines, with demonstration users and without: an empty line alone also stands between their parts.
 */
const READY = /is ready after .*\n[\s\S]*(scripts\/stream\.mjs|create-operator) .*\n\n$/;
/** Would send a start somewhere else than where the test looks. */
const NOT_PASSED_ON =
  /^(LLM_|LITELLM_|WEIR_|AUTH_|DATABASE_URL|PORT$|HOST$|NODE_ENV$|CORS_|[A-Z]+_API_KEY$|PYTHON$|npm_|JEST_|LOG_LEVEL$)/;

export interface Started {
  output(): string;
  /** Of `node scripts/start.mjs`, below npm. */
  serverPid(): number;
  /** Waits for the last lines. */
  ready(): Promise<void>;
  /** The exit code of npm. */
  exited: Promise<number | null>;
  /** As a terminal does it: to npm and everything in its group. */
  ctrlC(): void;
  /** To npm and the launcher; what the launcher started has groups of its own, and stays. */
  kill9(): void;
}

/** A real `npm start` in a folder of its own. */
export function npmStart(home: string, env: Record<string, string>): Started {
  const passedOn = Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_PASSED_ON.test(name)));
  const child: ChildProcess = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { ...passedOn, WEIR_HOME: home, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, 'close').then(([code]) => code as number | null);
  let ended = false;
  void exited.then(() => (ended = true));
  return {
    output: () => output,
    serverPid: () => (JSON.parse(fs.readFileSync(path.join(home, 'lock.json'), 'utf8')) as { pid: number }).pid,
    ready: async () => {
      try {
        await waitFor(() => ended || READY.test(output), { deadlineMs: READY_MS, what: 'npm start to be ready' });
      } catch (cause) {
        throw new Error(`${(cause as Error).message}; its output:\n${output.slice(-2_000)}`, { cause });
      }
      if (ended) throw new Error(`npm start ended:\n${output}`);
    },
    exited,
    ctrlC: () => process.kill(-child.pid!, 'SIGINT'),
    kill9: () => process.kill(-child.pid!, 'SIGKILL'),
  };
}

/** Processes whose command line names the folder. */
export function processesOf(home: string): string[] {
  const lines = execFileSync('ps', ['-eo', 'pid,stat,args'], { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 }).split(
    '\n',
  );
  return lines.filter((line) => line.includes(home) && !/^\s*\d+ Z/.test(line));
}
