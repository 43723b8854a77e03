// npm run test:dates needs the Debian package faketime, and installs it where it is missing and it may.
// It runs the suites of test/dates.json once for each date below. Arguments choose dates by their beginning: npm run
// test:dates -- 2028-02-29
// --ci: the two dates that .ci/run takes. Other options go to jest.
import fs from 'node:fs';
import { inRoot } from './lib/paths.mjs';
import { ensureBuilt, ensureInstalled, requireNode } from './lib/prepare.mjs';
import { CommandFailed, run } from './lib/run.mjs';
import { step } from './lib/step.mjs';

const DATES = [
  { at: '2026-12-01T00:00:30Z', zone: 'Asia/Kolkata', why: 'the first day of a month', ci: true },
  { at: '2027-01-31T23:57:00Z', zone: 'Pacific/Auckland', why: 'the last minutes of a month' },
  { at: '2028-02-29T12:00:00Z', zone: 'UTC', why: '29 February' },
  { at: '2027-03-14T06:58:30Z', zone: 'America/New_York', why: 'New York puts the clocks forward' },
  { at: '2027-11-07T05:58:30Z', zone: 'America/New_York', why: 'New York puts the clocks back' },
  { at: '2027-03-28T00:58:30Z', zone: 'Europe/Berlin', why: 'Berlin puts the clocks forward' },
  { at: '2027-10-31T00:58:30Z', zone: 'Europe/Berlin', why: 'Berlin puts the clocks back' },
  { at: '2027-12-31T23:50:00Z', zone: 'America/New_York', why: 'the last minutes of a year', ci: true },
];
/** For two dates, on two quiet cores. */
const BUDGET_MINUTES = 4;
const LIBRARY = 'libfaketimeMT.so.1';

console.log('test:dates runs under other dates and needs the Debian package faketime.');
const isCi = process.argv.includes('--ci');
const jestOptions = process.argv.slice(2).filter((argument) => argument.startsWith('--') && argument !== '--ci');
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const isWanted = ({ at, ci }) =>
  isCi ? ci : wanted.length === 0 || wanted.some((beginning) => at.startsWith(beginning));
const dates = DATES.filter(isWanted);
const { run: suites } = JSON.parse(fs.readFileSync(inRoot('test', 'dates.json'), 'utf8'));

requireNode();
const startedAt = performance.now();
let failed = dates.length === 0;
try {
  if (failed) console.error(`There is no such date. There are: ${DATES.map(({ at }) => at).join(', ')}`);
  const library = await findLibrary();
  await ensureInstalled();
  await ensureBuilt();
  for (const date of dates) if (!(await runAt(date, library))) failed = true;
} catch (error) {
  if (!(error instanceof CommandFailed)) throw error;
  console.error(error.message);
  failed = true;
}
const minutes = (performance.now() - startedAt) / 60_000;
const budget = (BUDGET_MINUTES / 2) * dates.length;
console.log(
  `test:dates took ${minutes.toFixed(1)} min for ${dates.length} dates; its budget is ${budget} min${minutes > budget ? ': it is over' : ''}.`,
);
process.exit(failed ? 1 : 0);

async function runAt({ at, zone, why }, library) {
  const seconds = Math.round((Date.parse(at) - Date.now()) / 1_000);
  const env = {
    ...process.env,
    NO_COLOR: '1',
    TZ: zone,
    LD_PRELOAD: library,
    // Not of Postgres, whose timeouts come as signals: libfaketime gives the real time to a signal handler that
    // interrupts it, and timeouts would pass years too early or too late. All SQL asks weir.now(), which tests set.
    WEIR_TEST_CLOCK_SECONDS: String(seconds),
    // A distance from the real time: time goes on, and every process that is started later has the same.
    FAKETIME: `${seconds < 0 ? '' : '+'}${seconds}s`,
    // Timers and durations are real.
    DONT_FAKE_MONOTONIC: '1',
    // jest compares times of files with what it has stored.
    NO_FAKE_STAT: '1',
  };
  const resultFile = inRoot('dist', `test-dates-${at.slice(0, 10)}.json`);
  fs.rmSync(resultFile, { force: true });
  const jest = [
    '--json',
    `--outputFile=${resultFile}`,
    '--silent',
    ...jestOptions,
    ...suites.map((suite) => `test/${suite}`),
  ];
  try {
    await step(`${at} in ${zone}: ${why}`, () =>
      run(process.execPath, [inRoot('node_modules', 'jest', 'bin', 'jest.js'), ...jest], { env }),
    );
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    console.error(error.message);
    return false;
  } finally {
    count(resultFile);
  }
  return true;
}

function count(resultFile) {
  try {
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(
      fs.readFileSync(resultFile, 'utf8'),
    );
    console.log(`    ${numPassedTests} passed, ${numFailedTests + numRuntimeErrorTestSuites} failed`);
  } catch (error) {
    console.log(`    jest did not get to its end: ${error.message}`);
  }
}

/** The library's path, which depends on the processor. */
async function findLibrary() {
  const found = inFolders;
  if (found()) return found();
  const command = 'apt-get update && apt-get install -y --no-install-recommends faketime';
  if (process.getuid?.() !== 0 || !fs.existsSync('/usr/bin/apt-get')) {
    console.error(`faketime is missing. Run: sudo sh -c '${command}'`);
    process.exit(1);
  }
  await step('installing faketime', () =>
    run('/bin/sh', ['-c', command], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }),
  );
  return (
    found() ?? (console.error(`faketime is installed, but ${LIBRARY} is in no /usr/lib/*/faketime.`), process.exit(1))
  );
}

function inFolders() {
  const folders = fs.readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/faketime/${LIBRARY}`);
  return folders.find((file) => fs.existsSync(file));
}
