// npm run bench [chat-latency] [chat-cpu] [streams] [ledger] [faults/…]: builds what is measured and what measures, then runs one after another.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const ALL = ['chat-latency', 'chat-cpu', 'streams', 'ledger'];
// These take long and measure nothing: they count what faults have lost. Only when asked for.
const FAULTS = ['faults/ledger-schedules', 'faults/kill-rounds', 'faults/postgres-restart'];
const wanted = process.argv.length > 2 ? process.argv.slice(2) : ALL;
const unknown = wanted.filter((name) => ![...ALL, ...FAULTS].includes(name));
if (unknown.length) {
  console.error(`There is no ${unknown.join(', ')}: ${[...ALL, ...FAULTS].join(', ')}.`);
  process.exit(1);
}

function run(file, args) {
  const { status } = spawnSync(file, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, ['scripts/build.mjs']);
run(process.execPath, [path.join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'bench/tsconfig.json']);
for (const name of wanted) run(process.execPath, [`bench/dist/bench/${name}.js`]);
