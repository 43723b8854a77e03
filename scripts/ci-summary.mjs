// What .ci/run says at its end: node scripts/ci-summary.mjs <exit code, 0 when each lane's was> <jest's result of each
// lane>...
// What failed, in at most 40 lines, since a log is often seen by its end; then, as the last line, "N passed, N failed".
import fs from 'node:fs';
import path from 'node:path';

const MOST_LINES = 40;
const [status, ...resultFiles] = process.argv.slice(2);

let passed = 0;
let failed = 0;
const lines = [];
for (const file of resultFiles) {
  try {
    const result = JSON.parse(fs.readFileSync(file, 'utf8'));
    passed += result.numPassedTests;
    // A file that could not be run at all, and a skipped test, are failures too.
    failed += result.numFailedTests + result.numRuntimeErrorTestSuites + result.numPendingTests + result.numTodoTests;
    // The lane of other dates has a result for each of them.
    const date = path.basename(file).match(/\d{4}-\d{2}-\d{2}/)?.[0];
    lines.push(...result.testResults.flatMap(linesOf).map((line) => (date ? `${line} (at ${date})` : line)));
  } catch (error) {
    console.log(`jest did not get to its end: ${error.message}`);
  }
}
if (lines.length > 0) console.log(['Failed:', ...shortened(lines)].join('\n'));
// Types, lint, the build or a missing package: jest was not reached.
if (status !== '0' && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/** One line for each reason: a file whose preparation failed has as many failures as tests. */
function linesOf({ name, message, assertionResults }) {
  const file = path.relative(process.cwd(), name);
  const tests = assertionResults.filter((test) => test.status !== 'passed');
  if (tests.length === 0)
    return message ? [`  ${file}: could not be run: ${cut(gist(message.replace(/^.*●.*$/m, '')), 200)}`] : [];
  const byReason = new Map();
  for (const {
    fullName,
    status: how,
    failureMessages: [said = ''],
  } of tests) {
    const at = said.match(new RegExp(`${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}:(\\d+)`))?.[1];
    const reason = how === 'failed' ? gist(said) : 'was skipped';
    const known = byReason.get(reason);
    if (known) known.more += 1;
    else byReason.set(reason, { place: at ? `${file}:${at}` : file, fullName, more: 0 });
  }
  return [...byReason].map(
    ([reason, { place, fullName, more }]) =>
      `  ${place}: ${cut(fullName, 120)}${more > 0 ? ` (and ${more} more)` : ''}: ${cut(reason, 200)}`,
  );
}

/** The first line that says something, without colours. */
function gist(text) {
  return (
    text
      .replace(/\x1b\[[0-9;]*m/g, '')
      .split('\n')
      .map((line) => line.trim())
      .find(Boolean) ?? ''
  );
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Leaves a line for the heading. */
function shortened(lines) {
  const most = MOST_LINES - 1;
  return lines.length <= most ? lines : [...lines.slice(0, most - 1), `  and ${lines.length - most + 1} more`];
}
