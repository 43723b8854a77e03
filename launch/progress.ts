/** What progress is written to: `process.stdout`, or something that looks like it. */
export interface Terminal {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export interface Step {
  /** What it is doing right now, shown while it lasts. */
  note(text: string): void;
}

export interface Progress {
  /** Runs the work and prints one line with its time when it ends. Steps may overlap. */
  step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T>;
  /** A line of its own. */
  line(text: string): void;
}

/** Milliseconds before a step is worth a sign of life. */
const SILENT_MS = 2_000;
/** Milliseconds between signs of life where lines cannot be rewritten: a log that is read later needs few. */
const PLAIN_EVERY_MS = 10_000;
const TTY_EVERY_MS = 200;

interface Running {
  title: string;
  note: string;
  startedAt: number;
  nextSignAt: number;
}

export function createProgress(terminal: Terminal, now: () => number = () => performance.now()): Progress {
  const running = new Set<Running>();
  let timer: NodeJS.Timeout | undefined;
  let shown = false;

  const clear = (): void => {
    if (shown) terminal.write('\r\x1b[2K');
    shown = false;
  };
  const line = (text: string): void => {
    clear();
    terminal.write(`${text}\n`);
  };
  const sign = (): void => {
    const late = [...running].filter((step) => now() - step.startedAt >= SILENT_MS);
    if (terminal.isTTY) {
      clear();
      if (late.length === 0) return;
      terminal.write(
        late
          .map(describe)
          .join(' · ')
          .slice(0, (terminal.columns ?? 80) - 1),
      );
      shown = true;
      return;
    }
    for (const step of late.filter(({ nextSignAt }) => now() >= nextSignAt)) {
      step.nextSignAt = now() + PLAIN_EVERY_MS;
      line(describe(step));
    }
  };
  const describe = ({ title, note, startedAt }: Running): string =>
    `  … ${title} ${seconds(now() - startedAt)}${note ? ` (${note})` : ''}`;

  return {
    line,
    async step(title, work) {
      const step: Running = { title, note: '', startedAt: now(), nextSignAt: now() + SILENT_MS };
      running.add(step);
      timer ??= setInterval(sign, TTY_EVERY_MS).unref();
      let mark = '✗';
      try {
        const result = await work({ note: (text) => void (step.note = text.replaceAll(/\s+/g, ' ').trim()) });
        mark = '✓';
        return result;
      } finally {
        running.delete(step);
        if (running.size === 0) {
          clearInterval(timer);
          timer = undefined;
        }
        line(`  ${mark} ${title.padEnd(44)} ${seconds(now() - step.startedAt).padStart(8)}`);
      }
    },
  };
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1_000).toFixed(1)} s`;
