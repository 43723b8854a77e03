import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { watchLag } from './lag';

/**
 * Milliseconds of a wait that promises nothing: it ends so that a test that hangs says what did not come. Far above
 * what it takes, and below jest's own deadline (jest.config.js), which says less.
 */
export const DEFAULT_DEADLINE_MS = 30_000;

/** The same for what is slow by nature: programs that start, thousands of calls, records written now and then. */
export const SLOW_DEADLINE_MS = 120_000;

/** What tests call “at once”. Far above what it takes on a slow machine, and no time to wait for anything else in. */
export const AT_ONCE_MS = 2_000;

/** The most of the time without running that does not count: a loop that stands still for longer is broken. */
const MOST_LAG_MS = 60_000;

const LATE = Symbol('late');

/** The promise, or this failure if the deadline comes first. Time in which this process did not run does not count. */
async function keep<T>(promise: Promise<T>, deadlineMs: number, failure: () => Error): Promise<T> {
  const since = performance.now();
  const lag = watchLag();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    const look = (): void => {
      const leftMs = deadlineMs + Math.min(lag.read(), MOST_LAG_MS) - (performance.now() - since);
      if (leftMs > 0) timer = setTimeout(look, Math.ceil(leftMs));
      else resolve(LATE);
    };
    look();
  });
  try {
    const first = await Promise.race([promise, late]);
    // Made here and not in the timer: its stack leads to the test.
    if (first === LATE) throw failure();
    return first;
  } finally {
    clearTimeout(timer);
    lag.stop();
  }
}

/**
 * Waits until the condition gives something truthy, and gives that. Asks again at once at first, then every 2 ms. A
 * condition that throws is one that does not hold yet; at the deadline the wait fails with what it saw last.
 * `deadlineMs` is for a test that promises a time, and for what is slow; none is given where it does not matter when.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { deadlineMs = DEFAULT_DEADLINE_MS, what }: { deadlineMs?: number; what?: string } = {},
): Promise<NonNullable<T>> {
  let over = false;
  let last: unknown;
  const ask = async (): Promise<NonNullable<T>> => {
    for (let round = 0; ; round += 1) {
      try {
        const value = await condition();
        if (value) return value;
        last = value;
      } catch (error) {
        last = error;
      }
      // Nobody hears of it any more.
      if (over) return last as NonNullable<T>;
      await (round < 20 ? nextTurn() : sleep(2));
    }
  };
  try {
    return await keep(ask(), deadlineMs, () => {
      const seen = last instanceof Error ? last.message : JSON.stringify(last);
      return new Error(`waited ${deadlineMs} ms for ${what ?? condition}; last seen: ${seen}`, { cause: last });
    });
  } finally {
    over = true;
  }
}

/** What a test promises: the promise within so many milliseconds, or a failure that says what it was. */
export function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  return keep(promise, deadlineMs, () => new Error(`${what} took more than ${deadlineMs} ms`));
}

/** What comes, it does not matter when; a failure that says what it was where it does not come at all. */
export function eventually<T>(promise: Promise<T>, what: string): Promise<T> {
  return within(promise, DEFAULT_DEADLINE_MS, what);
}
