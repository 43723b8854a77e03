import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { isAlive, processIdentity } from './processes';

export interface LockHolder {
  pid: number;
  /** Tells this process from a later one with the same number. */
  identity: string | null;
  /** Where it serves, once it does. */
  url: string | null;
  /** Makes the content of every lock different. */
  nonce: string;
}

export interface Lock {
  /** For the message of a second start. */
  announce(url: string): void;
  /** Safe to repeat; leaves the lock of somebody else alone. */
  release(): void;
}

/** Another start holds the folder. */
export class FolderInUse extends Error {
  constructor(
    readonly holder: LockHolder,
    home: string,
  ) {
    const where = holder.url ? `, serving ${holder.url}` : '';
    super(
      `Weir already runs on ${home} (pid ${holder.pid}${where}). ` +
        'Use that one, or stop it first (Ctrl-C there), or start a second one beside it: WEIR_HOME=.weir-2 PORT=4200 npm start',
    );
  }
}

/** One start per folder. The lock of a process that is gone is taken over. Throws FolderInUse. */
export async function takeLock(home: string): Promise<Lock> {
  fs.mkdirSync(home, { recursive: true });
  const file = path.join(home, 'lock.json');
  const own: LockHolder = {
    pid: process.pid,
    identity: processIdentity(process.pid),
    url: null,
    nonce: randomBytes(8).toString('hex'),
  };
  for (;;) {
    if (create(file, own)) return lockOf(file, own);
    const seen = await readWhole(file);
    if (seen === null) continue;
    const holder = parse(seen);
    if (holder && lives(holder)) throw new FolderInUse(holder, home);
    removeIfSame(file, seen);
  }
}

const lives = (holder: LockHolder): boolean =>
  isAlive(holder.pid) && (holder.identity === null || holder.identity === processIdentity(holder.pid));

function create(file: string, own: LockHolder): boolean {
  try {
    fs.writeFileSync(file, JSON.stringify(own), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Null when it is gone meanwhile. A lock that is being written at this moment is empty for an instant. */
async function readWhole(file: string): Promise<string | null> {
  for (let attempt = 0; ; attempt++) {
    let text: string;
    try {
      text = fs.readFileSync(file, 'utf8');
    } catch {
      return null;
    }
    if (parse(text) || attempt === 10) return text;
    await wait(50);
  }
}

function parse(text: string): LockHolder | null {
  try {
    const value = JSON.parse(text) as LockHolder;
    return typeof value.pid === 'number' ? value : null;
  } catch {
    return null;
  }
}

/**
 * Two starts may find the same dead lock. Moved away first and looked at again, so that the slower one does not remove
 * the new lock of the faster.
 */
function removeIfSame(file: string, seen: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    fs.renameSync(file, aside);
  } catch {
    return;
  }
  if (fs.readFileSync(aside, 'utf8') === seen) return fs.rmSync(aside);
  try {
    fs.linkSync(aside, file);
  } finally {
    fs.rmSync(aside);
  }
}

function lockOf(file: string, own: LockHolder): Lock {
  const ours = (): boolean => {
    try {
      return parse(fs.readFileSync(file, 'utf8'))?.nonce === own.nonce;
    } catch {
      return false;
    }
  };
  return {
    announce: (url) => {
      const next = `${file}.next`;
      fs.writeFileSync(next, JSON.stringify({ ...own, url }), { mode: 0o600 });
      fs.renameSync(next, file);
    },
    release: () => {
      if (ours()) fs.rmSync(file, { force: true });
    },
  };
}
