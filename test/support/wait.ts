import { once, type EventEmitter } from 'node:events';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until the condition gives something truthy, and gives that. Asks again at once at first, then every 2 ms;
 * fails at the deadline (milliseconds) with the last error or value. A condition that throws is one that does not hold yet.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: { deadlineMs?: number; what?: string } = {}): Promise<NonNullable<T>> {
  const deadlineMs = options.deadlineMs ?? 5_000;
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

/** Waits for one event, with a deadline in milliseconds. */
export async function waitForEvent<T = unknown>(emitter: EventEmitter, event: string, deadlineMs = 5_000): Promise<T> {
  const [value] = (await once(emitter, event, { signal: AbortSignal.timeout(deadlineMs) })) as [T];
  return value;
}

/** The promise, or a failure that says what it was when the deadline (milliseconds) comes first. */
export function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${deadlineMs} ms`)), deadlineMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
