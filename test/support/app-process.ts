import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { SLOW_DEADLINE_MS, within } from './wait';

const ROOT = path.join(__dirname, '..', '..');
/** The product in a process of its own, so that it can be killed. */
export interface AppProcess {
  /** The GraphQL endpoint. */
  url: string;
  pid: number;
  /** SIGKILL; resolves when it is dead. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code when it has ended, null where a signal ended it. */
  terminate(): Promise<number | null>;
}

/**
 * Starts `src/main.ts` with this environment, and nothing of the test's own but the path. `compiled` is the same
 * program as JavaScript, for who starts it often.
 */
export async function startAppProcess(env: Record<string, string>, compiled?: string): Promise<AppProcess> {
  const program = compiled
    ? [compiled]
    : ['-r', path.join(__dirname, 'register-ts.js'), path.join(ROOT, 'src', 'main.ts')];
  const child = spawn(process.execPath, program, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, NODE_ENV: 'test', PORT: '0', ...env },
  });
  const killIt = (): void => void child.kill('SIGKILL');
  process.once('exit', killIt);
  const exited = once(child, 'exit').then(() => void process.off('exit', killIt));
  let output = '';
  const url = new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const serving = output.split('\n').find((line) => line.includes('"msg":"serving"') && line.endsWith('}'));
      if (serving) resolve((JSON.parse(serving) as { url: string }).url);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    void exited.then(() => reject(new Error(`the product ended:\n${output}`)));
  });
  const kill = async (): Promise<void> => {
    killIt();
    await exited;
  };
  const terminate = async (): Promise<number | null> => {
    child.kill('SIGTERM');
    await exited;
    return child.exitCode;
  };
  try {
    return { url: await within(url, SLOW_DEADLINE_MS, 'the start of the product'), pid: child.pid!, kill, terminate };
  } catch (cause) {
    await kill();
    throw new Error(`${(cause as Error).message}\n${output}`, { cause });
  }
}
