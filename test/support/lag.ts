/**
 * Time that this process was kept from running: by a busy machine, or by long turns of its own loop. A test with a promise about
 * milliseconds adds it to its bound, so that it judges the product and not the neighbours.
 */
export function watchLag(): { stop(): number } {
  const everyMs = 5;
  let last = performance.now();
  let stolenMs = 0;
  const look = (): void => {
    const now = performance.now();
    // Timers are late by a millisecond anyway.
    stolenMs += Math.max(0, now - last - everyMs - 2);
    last = now;
  };
  const timer = setInterval(look, everyMs);
  return {
    stop: () => {
      look();
      clearInterval(timer);
      return stolenMs;
    },
  };
}
