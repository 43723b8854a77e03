import type { Progress } from './progress';
import { StoppedMeanwhile } from './upstream';

export interface Part {
  title: string;
  stop(): Promise<void>;
  /** At once, without a word; for a second Ctrl-C. */
  kill?(): void;
}

/** In this order everything ends: first who uses, then who is used. */
export const STOP_ORDER = ['server', 'litellm', 'demo', 'postgres', 'lock'] as const;
export type PartName = (typeof STOP_ORDER)[number];

/**
 * Milliseconds. npm passes Ctrl-C on to us although the terminal has sent it to us already: what follows this soon is
 * the same one.
 */
const SAME_SIGNAL_MS = 700;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface ShutdownOptions {
  progress: Progress;
  exit(code: number): void;
  now?: () => number;
}

/**
 * Knows everything that was started, and ends it once: on a signal, after a failure, or when a part ended by itself.
 */
export class Shutdown {
  private readonly parts = new Map<PartName, Part>();
  private readonly abort = new AbortController();
  private readonly now: () => number;
  private stopping: Promise<void> | null = null;
  private since = 0;

  constructor(private readonly options: ShutdownOptions) {
    this.now = options.now ?? (() => performance.now());
  }

  /** Aborted when the stop begins: for work that can be given up. */
  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** To be called before the part is started: a stop in the middle of its start then waits for it. */
  add(name: PartName, part: Part): void {
    this.parts.set(name, part);
  }

  /** The work's result, or StoppedMeanwhile as soon as the stop begins. */
  unlessStopped<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    return new Promise((resolve, reject) => {
      this.signal.addEventListener('abort', () => reject(new StoppedMeanwhile()), { once: true });
      if (this.signal.aborted) reject(new StoppedMeanwhile());
      work.then(resolve, reject);
    });
  }

  listen(): void {
    for (const signal of SIGNALS) process.on(signal, () => this.onSignal());
  }

  onSignal(): void {
    if (!this.stopping) {
      this.options.progress.line('\nStopping. Ctrl-C again stops at once.');
      void this.stop(0);
    } else if (this.now() - this.since >= SAME_SIGNAL_MS) {
      for (const part of this.parts.values()) part.kill?.();
      this.options.exit(130);
    }
  }

  /** Ends everything in order, then the process. Safe to repeat: the first one counts. */
  stop(code: number): Promise<void> {
    this.since = this.stopping ? this.since : this.now();
    this.stopping ??= this.stopAll(code);
    return this.stopping;
  }

  private async stopAll(code: number): Promise<void> {
    this.abort.abort();
    let result = code;
    for (const name of STOP_ORDER) {
      const part = this.parts.get(name);
      if (!part) continue;
      try {
        await (name === 'lock' ? part.stop() : this.options.progress.step(`stopping ${part.title}`, () => part.stop()));
      } catch (error) {
        this.options.progress.line(`${part.title}: ${error instanceof Error ? error.message : String(error)}`);
        result ||= 1;
      }
    }
    this.options.exit(result);
  }
}
