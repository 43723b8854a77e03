import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startGroup, stopStaleGroup } from './child-group';

export interface StartDemoOptions {
  home: string;
  repositoryRoot: string;
  /** 0, the default: any free one. */
  port?: number;
  /** Milliseconds. */
  tokenDelayMs?: number;
  env: Readonly<Record<string, string | undefined>>;
  signal?: AbortSignal;
}
export interface RunningDemo {
  /** Without `/v1`. */
  url: string;
  pid: number;
  log: string;
  exited: Promise<unknown>;
  stop(): Promise<void>;
  kill(): void;
}

const STARTED_WITHIN_MS = 20_000;
const CHECK_MS = 25;
const STOP_MS = 2_000;

/**
 * Starts litellm/demo-provider.mjs as a process of its own, so that its work does not slow down ours. Throws with its
 * last words.
 */
export async function startDemo({
  home,
  repositoryRoot,
  port = 0,
  tokenDelayMs,
  env,
  signal,
}: StartDemoOptions): Promise<RunningDemo> {
  const folder = path.resolve(home, 'litellm');
  fs.mkdirSync(folder, { recursive: true });
  const log = path.join(folder, 'demo.log');
  const pidFile = path.join(folder, 'demo.pid');
  await stopStaleGroup(pidFile);
  const speed = tokenDelayMs === undefined ? [] : ['--token-delay', String(tokenDelayMs)];
  const script = path.resolve(repositoryRoot, 'litellm', 'demo-provider.mjs');
  const { PATH, HOME, DEMO_TOKEN_DELAY_MS, DEMO_FIRST_TOKEN_DELAY_MS } = env;
  const group = await startGroup({
    file: process.execPath,
    args: [script, '--port', String(port), '--stop-with-parent', ...speed],
    // Nothing else: it needs no keys.
    env: { PATH, HOME, DEMO_TOKEN_DELAY_MS, DEMO_FIRST_TOKEN_DELAY_MS },
    cwd: folder,
    log,
    pidFile,
  });
  const giveUpAt = Date.now() + STARTED_WITHIN_MS;
  try {
    for (;;) {
      const output = fs.readFileSync(log, 'utf8');
      const url = /demonstration provider: (http:\/\/\S+)\/v1\n/.exec(output)?.[1];
      if (url)
        return {
          url,
          pid: group.pid,
          log,
          exited: group.exited,
          stop: () => group.stop(STOP_MS),
          kill: () => group.kill(),
        };
      if (group.ended() || Date.now() > giveUpAt)
        throw new Error(`the demonstration provider did not start: ${output.trim().split('\n').at(-1)}`);
      await wait(CHECK_MS, undefined, { signal });
    }
  } catch (error) {
    await group.stop(STOP_MS);
    throw error;
  }
}
