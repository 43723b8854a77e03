/**
 * Runs the work and prints one line with its time. Plain lines, since the tools that run inside print their own where
 * they have something to say.
 */
export async function step(title, work) {
  const startedAt = performance.now();
  const seconds = () => `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`;
  const signs = setInterval(() => console.log(`  … ${title} ${seconds()}`), 10_000);
  const first = setTimeout(() => console.log(`  … ${title}`), 2_000);
  let mark = '✗';
  try {
    const result = await work();
    mark = '✓';
    return result;
  } finally {
    clearInterval(signs);
    clearTimeout(first);
    console.log(`  ${mark} ${title.padEnd(44)} ${seconds().padStart(8)}`);
  }
}
