import { once, type EventEmitter } from 'node:events';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/**
 * Deadlines are written as an idle machine needs them; what runs the tests may be slow, shared, or have a second worker beside this one. A wait
 * that ends early is none the later for it: only a failure takes its time. Below jest's own deadline, which says less.
 */
const patient = (ms: number): number => Math.max(ms, Math.min(Math.max(4 * ms, 30_000), 120_000));

/**
 * Waits until the condition gives something truthy, and gives that. Asks again at once at first, then every 2 ms;
 * fails at the deadline (milliseconds on an idle machine) with the last error or value. A condition that throws is one that does not hold yet.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: { deadlineMs?: number; what?: string } = {}): Promise<NonNullable<T>> {
  const deadlineMs = patient(options.deadlineMs ?? 5_000);
  const end = performance.now() + deadlineMs;
  for (let round = 0; ; round += 1) {
    let last: unknown;
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const why = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`waited ${deadlineMs} ms for ${options.what ?? condition.toString()}; last seen: ${why}`, { cause: last });
    }
    await (round < 20 ? nextTurn() : sleep(2));
  }
}

/** Waits for one event, with a deadline in milliseconds on an idle machine. */
export async function waitForEvent<T = unknown>(emitter: EventEmitter, event: string, deadlineMs = 5_000): Promise<T> {
  const [value] = (await once(emitter, event, { signal: AbortSignal.timeout(patient(deadlineMs)) })) as [T];
  return value;
}

/** The promise, or a failure that says what it was when the deadline (milliseconds on an idle machine) comes first. */
export function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  const mostMs = patient(deadlineMs);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${mostMs} ms`)), mostMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
