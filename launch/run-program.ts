import { spawn } from 'node:child_process';
import fs from 'node:fs';
import readline from 'node:readline';
import { processIdentity } from './processes';
import { writePrivate } from './secrets';

export interface ProgramResult {
  /** Null: could not be started, or was ended by a signal. */
  code: number | null;
  output: string;
}
export interface ProgramOptions {
  env: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  signal?: AbortSignal;
  onLine?: (line: string) => void;
  /** Remembers the process while it runs, for a start after a `kill -9`: `stopStaleGroup` ends it. */
  pidFile?: string;
}

/** Characters of output that are kept for a message. */
const MAX_OUTPUT = 200_000;

/**
 * Runs a program to its end. Never throws for what the program does; when `signal` is aborted, the program is killed
 * and this throws.
 */
export async function runProgram(
  file: string,
  args: readonly string[],
  { env, cwd, signal, onLine, pidFile }: ProgramOptions,
): Promise<ProgramResult> {
  signal?.throwIfAborted();
  let output = '';
  const child = spawn(file, args, { env: env as NodeJS.ProcessEnv, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  if (pidFile && child.pid)
    writePrivate(
      pidFile,
      `${JSON.stringify({ pid: child.pid, identity: processIdentity(child.pid), command: [file, ...args].join(' ') })}\n`,
    );
  const kill = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  for (const stream of [child.stdout, child.stderr]) {
    readline.createInterface({ input: stream }).on('line', (line) => {
      output = `${output}${line}\n`.slice(-MAX_OUTPUT);
      onLine?.(line);
    });
  }
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      output += `${error.message}\n`;
      resolve(null);
    });
    child.once('close', (exitCode) => resolve(exitCode));
  });
  if (pidFile) fs.rmSync(pidFile, { force: true });
  signal?.removeEventListener('abort', kill);
  signal?.throwIfAborted();
  return { code, output };
}
