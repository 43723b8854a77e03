import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { copySql } from './copy-sql.mjs';
import { inRoot, root } from './paths.mjs';
import { npm, run } from './run.mjs';
import { step } from './step.mjs';

export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  console.error(`Weir needs Node 20.19 or newer; this is ${process.versions.node}. https://nodejs.org has it.`);
  process.exit(1);
}

/** Makes node_modules what package-lock.json says, where it is not so already. */
export async function ensureInstalled() {
  if (isInstalled()) return;
  await exclusively(async () => {
    if (isInstalled()) return;
    // Development packages too, also where NODE_ENV says production: the compiler is one of them.
    await step('installing packages', () => npm(['ci', '--include=dev', '--no-audit', '--no-fund']));
  });
}

/**
 * npm writes what it installed into node_modules, as the last thing: an installation that was cut off has no such file.
 */
export function isInstalled() {
  const wanted = readJson(inRoot('package-lock.json'))?.packages;
  const found = readJson(inRoot('node_modules', '.package-lock.json'))?.packages;
  if (!wanted) throw new Error('package-lock.json is missing: this is not a whole clone.');
  if (!found) return false;
  return Object.entries(wanted).every(([place, { version, integrity, optional }]) => {
    if (place === '') return true;
    // Optional ones are those of other platforms.
    if (!found[place]) return Boolean(optional);
    return found[place].version === version && found[place].integrity === integrity;
  });
}

/** Compiles where a source changed since the last time. */
export async function ensureBuilt({ force = false } = {}) {
  if (!force && isBuilt()) return;
  await exclusively(async () => {
    if (!force && isBuilt()) return;
    await step('building', build);
  });
}

const stampFile = inRoot('dist', '.sources');
const isBuilt = () => fs.existsSync(stampFile) && fs.readFileSync(stampFile, 'utf8') === hashOfSources();

async function build() {
  const stamp = hashOfSources();
  // Files whose source is gone would stay otherwise, and be started by mistake.
  for (const entry of fs.readdirSync(inRoot('dist')))
    if (entry !== path.basename(lockFile)) fs.rmSync(inRoot('dist', entry), { recursive: true });
  await run(process.execPath, [inRoot('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json']);
  copySql(inRoot('dist', 'src'));
  if (fs.existsSync(inRoot('scripts', 'build-explorer.mjs')))
    await run(process.execPath, [inRoot('scripts', 'build-explorer.mjs')]);
  fs.writeFileSync(stampFile, stamp);
}

/** By content: what git checks out has new times each time. */
function hashOfSources() {
  const hash = createHash('sha256').update(process.versions.node.split('.')[0]);
  const files = [
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    ...filesUnder('src'),
    ...filesUnder('launch'),
    ...filesUnder('scripts'),
  ];
  for (const file of files)
    if (fs.existsSync(inRoot(file))) hash.update(`\0${file}\0`).update(fs.readFileSync(inRoot(file)));
  return hash.digest('hex');
}

const filesUnder = (folder) =>
  fs
    .readdirSync(inRoot(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();

const lockFile = inRoot('dist', '.preparing');
/** Milliseconds: longer than an installation takes on a slow line; then the one that holds it is taken for hung. */
const PATIENCE_MS = 900_000;

/** One at a time: two starts of one clone would remove each other's packages. */
async function exclusively(work) {
  fs.mkdirSync(inRoot('dist'), { recursive: true });
  const giveUpAt = Date.now() + PATIENCE_MS;
  for (let told = false; !tryLock();) {
    const holder = Number(readText(lockFile) || 0);
    if (holder && isAlive(holder) && Date.now() < giveUpAt) {
      if (!told) console.log(`  … waiting: another start of this clone (pid ${holder}) is installing or building`);
      told = true;
      await wait(300);
    } else {
      // An empty one is being written right now, or its writer was killed between two system calls.
      if (!holder) await wait(200);
      if (Number(readText(lockFile) || 0) === holder) fs.rmSync(lockFile, { force: true });
    }
  }
  try {
    return await work();
  } finally {
    fs.rmSync(lockFile, { force: true });
  }
}

function tryLock() {
  try {
    fs.writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function readJson(file) {
  const text = readText(file);
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
