// npm test: what a change has to pass, in this order, from a fresh clone. Arguments go to jest: npm test -- test/unit
// --lane <name>: another lane (scripts/lib/lanes.mjs). --quick: unit tests and those of the rooms that have changed.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { LANES, suitesOf } from './lib/lanes.mjs';
import { inRoot, root } from './lib/paths.mjs';
import { ensureBuilt, ensureInstalled, requireNode } from './lib/prepare.mjs';
import { CommandFailed, run } from './lib/run.mjs';
import { step } from './lib/step.mjs';

const [name, jestArguments] = readArguments(process.argv.slice(2));
const lane = LANES[name];
if (!lane) {
  console.error(`There is no lane ${name}. There are: ${Object.keys(LANES).join(', ')}.`);
  process.exit(1);
}
const resultFile = inRoot('dist', `test-result-${name}.json`);
/** As `npm run format` has it. */
const FORMATTED = ['src', 'launch', 'scripts', 'test', 'bench', 'jest.config.js'];
// What is kept and shown later is no terminal.
const plain = { ...process.env, NO_COLOR: '1' };
const tool = (...parts) => inRoot('node_modules', ...parts);

requireNode();
const startedAt = performance.now();
try {
  await ensureInstalled();
  if (name === 'main') {
    await step('types', () => run(process.execPath, [tool('typescript', 'bin', 'tsc'), '--noEmit', '-p', '.']));
    await step('lint', () => run(process.execPath, [tool('oxlint', 'bin', 'oxlint')], { env: plain }));
    await step('format', () =>
      run(process.execPath, [tool('prettier', 'bin', 'prettier.cjs'), '--check', '--log-level', 'warn', ...FORMATTED]),
    );
  }
  await ensureBuilt();
  fs.rmSync(resultFile, { force: true });
  const options = ['--selectProjects', ...lane.projects, '--json', `--outputFile=${resultFile}`];
  await run(process.execPath, [tool('jest', 'bin', 'jest.js'), ...options, ...jestArguments], { show: true });
  refuseSkipped();
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
const minutes = (performance.now() - startedAt) / 60_000;
const over = minutes > lane.minutes ? ': it is over' : '';
console.log(`${lane.command} took ${minutes.toFixed(1)} min; its budget is ${lane.minutes} min${over}.`);

/** Gives the lane and what jest is told. */
function readArguments(given) {
  if (given[0] === '--lane') return [given[1], given.slice(2)];
  return ['main', given[0] === '--quick' ? suitesOf(changedFiles()) : given];
}

/** Of the working tree; of the last commit where that is clean. */
function changedFiles() {
  const git = (...command) =>
    spawnSync('git', command, { cwd: root, encoding: 'utf8' }).stdout.split('\n').filter(Boolean);
  const changed = [...git('diff', '--name-only', 'HEAD'), ...git('ls-files', '--others', '--exclude-standard')];
  return changed.length > 0 ? changed : git('diff', '--name-only', 'HEAD~1', 'HEAD');
}

/** A skipped test guards nothing: on a developer's machine it may wait, elsewhere it may not. */
function refuseSkipped() {
  const { numPendingTests, numTodoTests } = JSON.parse(fs.readFileSync(resultFile, 'utf8'));
  const skipped = numPendingTests + numTodoTests;
  if (skipped === 0) return;
  console.error(`${skipped} tests were skipped.`);
  if (process.env.CI === 'true') process.exitCode = 1;
}
