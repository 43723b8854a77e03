import { setTimeout as wait } from 'node:timers/promises';

/** Tries again after each of these waits (milliseconds) while `when` says that the error may pass; then throws it. */
export async function retry<T>(
  work: () => Promise<T>,
  { waitsMs, when }: { waitsMs: Iterable<number>; when(error: unknown): boolean },
): Promise<T> {
  for (const ms of waitsMs) {
    try {
      return await work();
    } catch (error) {
      if (!when(error)) throw error;
      await wait(ms);
    }
  }
  return work();
}

/** Waits that double from the first one up to the longest, until they sum up to the total. Milliseconds. */
export function* doublingWaits({
  first,
  longest,
  total,
}: {
  first: number;
  longest: number;
  total: number;
}): Generator<number> {
  let waited = 0;
  for (let ms = first; waited <= total; ms = Math.min(ms * 2, longest)) {
    yield ms;
    waited += ms;
  }
}
