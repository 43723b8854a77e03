// npm test: what a change has to pass, in this order, from a fresh clone. Arguments go to jest: npm test -- test/unit
import fs from 'node:fs';
import { inRoot } from './lib/paths.mjs';
import { ensureBuilt, ensureInstalled, requireNode } from './lib/prepare.mjs';
import { CommandFailed, run } from './lib/run.mjs';
import { step } from './lib/step.mjs';

const resultFile = inRoot('dist', 'test-result.json');
// What is kept and shown later is no terminal.
const plain = { ...process.env, NO_COLOR: '1' };
const tool = (...parts) => inRoot('node_modules', ...parts);

requireNode();
try {
  await ensureInstalled();
  await step('types', () => run(process.execPath, [tool('typescript', 'bin', 'tsc'), '--noEmit', '-p', '.']));
  await step('lint', () => run(process.execPath, [tool('oxlint', 'bin', 'oxlint')], { env: plain }));
  await ensureBuilt();
  fs.rmSync(resultFile, { force: true });
  await run(process.execPath, [tool('jest', 'bin', 'jest.js'), '--json', `--outputFile=${resultFile}`, ...process.argv.slice(2)], { show: true });
  refuseSkipped();
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  console.error(error.message);
  process.exit(1);
}

/** A skipped test guards nothing: on a developer's machine it may wait, elsewhere it may not. */
function refuseSkipped() {
  const { numPendingTests, numTodoTests } = JSON.parse(fs.readFileSync(resultFile, 'utf8'));
  const skipped = numPendingTests + numTodoTests;
  if (skipped === 0) return;
  console.error(`${skipped} tests were skipped.`);
  if (process.env.CI === 'true') process.exit(1);
}
