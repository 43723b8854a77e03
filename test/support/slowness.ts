/** Milliseconds of the work below on the machine that the bounds of the tests were measured on, idle. */
const USUAL_MS = 12;

/**
 * How many times slower than an idle developer's machine this one is just now, for one thread, and never less than 1.
 * Where a test has to tell work in proportion to the input from work that explodes, it multiplies its bound by this: it
 * judges the algorithm and not the machine. To be asked directly before or behind what is measured.
 */
export function slowness(): number {
  let bestMs = Infinity;
  for (let round = 0; round < 3; round += 1) {
    const since = performance.now();
    work();
    bestMs = Math.min(bestMs, performance.now() - since);
  }
  return Math.max(1, bestMs / USUAL_MS);
}

/** Something of everything: objects, maps, texts and sorting. */
function work(): number {
  const known = new Map<string, number>();
  for (let i = 0; i < 20_000; i += 1) known.set(`key ${(i * 7_919) % 10_007}`, i);
  const sorted = [...known.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(JSON.parse(JSON.stringify(sorted))).length;
}
