/** What `inTime` gives when the time is over. */
export const LATE = Symbol('late');

/**
 * The result of the work, or LATE when the time (milliseconds) is over first; what becomes of the work then is of no
 * interest.
 */
export async function inTime<T>(work: Promise<T>, ms: number): Promise<T | typeof LATE> {
  work.catch(() => {});
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(() => resolve(LATE), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
