/**
 * Bounds of the buckets of latencies, as docs/usage.md tells them: each a fourth root of two above the last, from 10
 * ms, in whole milliseconds.
 */
const BOUNDS = Array.from({ length: 63 }, (_, index) => Math.ceil(10 * 2 ** (index / 4)));

/** What a value counts as: the geometric middle of its bucket. */
export function representativeOf(ms: number): number {
  const bucket = BOUNDS.filter((bound) => bound <= ms).length;
  if (bucket === 0) return 5;
  if (bucket === BOUNDS.length) return BOUNDS.at(-1)!;
  return Math.round(Math.sqrt(BOUNDS[bucket - 1]! * (BOUNDS[bucket]! - 1)) * 10) / 10;
}

/** The percentile of values as reports give it, computed from the values; null of none. */
export function percentileOf(values: readonly number[], percent: number): number | null {
  if (values.length === 0) return null;
  return representativeOf([...values].sort((a, b) => a - b)[Math.ceil((percent * values.length) / 100) - 1]!);
}
