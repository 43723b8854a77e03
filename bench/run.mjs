// npm run bench [chat-latency] [chat-cpu] [streams] [ledger] [stalls] [soak [--hour | --seconds 60] [--rate 50]] [dashboard [rows] [--rebuild]] [faults/…]: builds what is measured and what measures, then runs one after another.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { copySql } from '../scripts/lib/copy-sql.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const ALL = ['chat-latency', 'chat-cpu', 'streams', 'ledger'];
// These take long and measure nothing: they count what faults have lost. Only when asked for.
const FAULTS = ['faults/ledger-schedules', 'faults/kill-rounds', 'faults/postgres-restart'];
// The first makes gigabytes of data, the second takes ten minutes: only when asked for.
const BIG = ['dashboard', 'soak', 'stalls'];
// Numbers and flags are for the program that they follow.
const runs = [];
for (const arg of process.argv.length > 2 ? process.argv.slice(2) : ALL) {
  if (runs.length && /^(\d+$|--)/.test(arg)) runs.at(-1).args.push(arg);
  else runs.push({ name: arg, args: [] });
}
const unknown = runs.map(({ name }) => name).filter((name) => ![...ALL, ...BIG, ...FAULTS].includes(name));
if (unknown.length) {
  console.error(`There is no ${unknown.join(', ')}: ${[...ALL, ...BIG, ...FAULTS].join(', ')}.`);
  process.exit(1);
}

function run(file, args) {
  const { status } = spawnSync(file, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, ['scripts/build.mjs']);
run(process.execPath, [path.join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'bench/tsconfig.json']);
copySql(path.join(root, 'bench', 'dist', 'src'));
for (const { name, args } of runs) run(process.execPath, [`bench/dist/bench/${name}.js`, ...args]);
