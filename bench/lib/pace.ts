/** How many a second, with so many waiting at the same time. */
export async function rate(waiting: number, seconds: number, work: () => Promise<unknown>): Promise<number> {
  let done = 0;
  const end = performance.now() + seconds * 1_000;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: waiting }, async () => {
      while (performance.now() < end) {
        await work();
        done += 1;
      }
    }),
  );
  return done / ((performance.now() - startedAt) / 1_000);
}

/** Callers that come at a steady rate, whatever became of those before: how long each waits, in milliseconds. */
export async function waits(perSecond: number, seconds: number, work: () => Promise<unknown>): Promise<number[]> {
  const found: number[] = [];
  const running: Promise<void>[] = [];
  const startedAt = performance.now();
  for (let begun = 0; performance.now() - startedAt < seconds * 1_000;) {
    const due = Math.floor(((performance.now() - startedAt) / 1_000) * perSecond);
    for (; begun < due; begun += 1) {
      // From when it was due: a late beginning is part of the wait.
      const at = startedAt + (begun / perSecond) * 1_000;
      running.push(work().then(() => void found.push(performance.now() - at)));
    }
    // Whoever waits in a busy loop takes a whole core from those who are measured.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(running);
  return found;
}
