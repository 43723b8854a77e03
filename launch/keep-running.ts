import { setTimeout as wait } from 'node:timers/promises';

/** A program that was started, and can end by itself. */
export interface Kept {
  exited: Promise<unknown>;
  stop(): Promise<void>;
  kill(): void;
}
export interface KeepOptions<T extends Kept> {
  title: string;
  /** `before`: the one that ended, whose address the new one must have; null: the first start. */
  start(before: T | null): Promise<T>;
  say(text: string): void;
  /** What is refused meanwhile, and where to read why: the end of a line. */
  hint(ended: T): string;
  /** Aborted when everything is to end. */
  signal: AbortSignal;
  /** Milliseconds before the first new start, the second, …: after the last one it is given up. */
  waitsMs?: readonly number[];
  /** Milliseconds after which a program that ran so long has its new starts back. */
  soundAfterMs?: number;
}

const WAITS_MS = [1_000, 5_000, 20_000];
const SOUND_AFTER_MS = 600_000;

/** Starts a program, and starts it again at the same address when it ends by itself: a few times, and says so. */
export class KeepRunning<T extends Kept> {
  private current: T | null = null;
  private working: Promise<unknown>;
  /** The first start; rejects as it does. */
  readonly first: Promise<T>;

  constructor(private readonly options: KeepOptions<T>) {
    this.first = options.start(null);
    this.working = this.first.then((started) => this.keep(started)).catch(() => undefined);
  }

  /** To be called once the signal is aborted: ends what runs, and what is just being started. */
  async stop(): Promise<void> {
    await this.first.catch(() => undefined);
    await this.current?.stop();
    await this.working;
    await this.current?.stop();
  }

  kill(): void {
    this.current?.kill();
  }

  private async keep(first: T): Promise<void> {
    const { title, say, hint, signal, waitsMs = WAITS_MS, soundAfterMs = SOUND_AFTER_MS } = this.options;
    let running = (this.current = first);
    let startedAt = performance.now();
    for (let failures = 0; ; failures += 1) {
      await running.exited;
      if (signal.aborted) return;
      if (performance.now() - startedAt >= soundAfterMs) failures = 0;
      const delayMs = waitsMs[failures];
      if (delayMs === undefined)
        return say(
          `${title} ended by itself again, and is not started any more; ${hint(running)} until Weir is started again.`,
        );
      say(
        `${title} ended by itself, and is started again in ${delayMs / 1_000} s (${failures + 1} of ${waitsMs.length}); ${hint(running)} until then.`,
      );
      await wait(delayMs, undefined, { signal }).catch(() => undefined);
      // What it left of its group would be in the way.
      await running.stop().catch(() => undefined);
      if (signal.aborted) return;
      startedAt = performance.now();
      const ended = running;
      running = await this.options.start(ended).catch((error: unknown) => {
        if (!signal.aborted) say(`${title}: ${error instanceof Error ? error.message : String(error)}`);
        return { ...ended, exited: Promise.resolve() };
      });
      this.current = running;
      // It was just in time to be stopped, too.
      if (signal.aborted) return;
    }
  }
}
