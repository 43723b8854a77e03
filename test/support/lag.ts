/** Milliseconds between two looks, and how late a timer is where nothing is wrong. */
const EVERY_MS = 5;
const USUALLY_LATE_MS = 2;

/** All that watch share one timer: hundreds wait at a time. */
let watchers = 0;
let timer: NodeJS.Timeout | undefined;
let lastAt = 0;
let stolenMs = 0;

function look(): number {
  const now = performance.now();
  stolenMs += Math.max(0, now - lastAt - EVERY_MS - USUALLY_LATE_MS);
  lastAt = now;
  return stolenMs;
}

/** Time in which this process was kept from running, since it was watched. */
export interface Lag {
  /** Milliseconds so far. */
  read(): number;
  /** The same, for the last time. */
  stop(): number;
}

/**
 * Time that this process was kept from running: by a busy machine, or by long turns of its own loop. A test with a
 * promise about milliseconds adds it to its bound, so that it judges the product and not the neighbours; a wait with a
 * deadline (wait.ts) does so by itself.
 */
export function watchLag(): Lag {
  watchers += 1;
  if (watchers === 1) {
    lastAt = performance.now();
    // A test that fails may not come to stopping it.
    timer = setInterval(look, EVERY_MS).unref();
  }
  const before = look();
  let total: number | undefined;
  const read = (): number => total ?? look() - before;
  return {
    read,
    stop: () => {
      if (total !== undefined) return total;
      total = read();
      watchers -= 1;
      if (watchers === 0) clearInterval(timer);
      return total;
    },
  };
}
