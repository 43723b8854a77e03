import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** How to run a program as somebody who is not root. */
export interface RunAs {
  name: 'self' | 'user' | 'capabilities' | 'namespace';
  /** The owner that files of the program need; null: whoever we are. */
  owner: { uid: number; gid: number } | null;
  uid?: number;
  gid?: number;
  command(file: string, args: readonly string[]): [string, string[]];
}

const SELF: RunAs = { name: 'self', owner: null, command: (file, args) => [file, [...args]] };

/**
 * Postgres refuses to run as root, and a clone under /root or in a `mktemp -d` folder cannot be reached by anybody
 * else. So, as root, the first of these that can execute `program` and write to `folder`:
 * 1. another user, plainly (the folder can be reached);
 * 2. another user who keeps the one capability of reaching files (`setpriv`; works in containers as well);
 * 3. a user namespace in which root has another number (`unshare`).
 * The mode of folders above is left alone. `folder` exists; its owner is set.
 */
export function findRunAs(program: string, folder: string, isRoot: boolean = process.getuid?.() === 0): RunAs {
  if (!isRoot) return SELF;
  const user = ownerFor(folder);
  for (const way of waysAsRoot(user)) {
    if (way.owner) chownTree(folder, way.owner);
    if (reaches(way, program, folder)) return way;
  }
  throw new Error(
    `Postgres does not run as root, and no other user can reach ${path.resolve(folder)}. Start as an ordinary user, ` +
      'or put the clone and WEIR_HOME into a folder that others may enter, or set DATABASE_URL to a Postgres of yours.',
  );
}

function waysAsRoot(user: { uid: number; gid: number }): RunAs[] {
  const { uid, gid } = user;
  // Without no_setuid_fixup, access(2) of a process that is not root ignores the capability, and initdb asks by it.
  const setpriv = [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    '--securebits=+no_setuid_fixup',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
  ];
  return [
    { name: 'user', owner: user, uid, gid, command: (file, args) => [file, [...args]] },
    { name: 'capabilities', owner: user, command: (file, args) => ['setpriv', [...setpriv, file, ...args]] },
    {
      name: 'namespace',
      owner: { uid: 0, gid: 0 },
      command: (file, args) => ['unshare', ['--user', `--map-user=${uid}`, `--map-group=${gid}`, file, ...args]],
    },
  ];
}

/** Asked with access(2), as Postgres itself does; Node is the one program that is surely here. */
function reaches(way: RunAs, program: string, folder: string): boolean {
  const question =
    'const fs = require("fs"); const [p, f] = process.argv.slice(1); fs.accessSync(p, fs.constants.X_OK); fs.accessSync(f, fs.constants.W_OK)';
  const [file, args] = way.command(process.execPath, ['-e', question, program, folder]);
  const answer = spawnSync(file, args, { cwd: '/', uid: way.uid, gid: way.gid, stdio: 'ignore', timeout: 20_000 });
  return answer.status === 0;
}

/** Whoever owns the data already, else the system's user for Postgres, else nobody. */
function ownerFor(folder: string): { uid: number; gid: number } {
  const { uid, gid } = fs.statSync(folder);
  if (uid !== 0) return { uid, gid };
  const accounts = readAccounts();
  return accounts.get('postgres') ?? accounts.get('nobody') ?? { uid: 65_534, gid: 65_534 };
}

function readAccounts(): Map<string, { uid: number; gid: number }> {
  if (!fs.existsSync('/etc/passwd')) return new Map();
  const lines = fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  return new Map(
    lines
      .filter((parts) => parts.length > 3)
      .map(([name, , uid, gid]) => [name!, { uid: Number(uid), gid: Number(gid) }]),
  );
}

function chownTree(folder: string, owner: { uid: number; gid: number }): void {
  const { uid } = fs.statSync(folder);
  if (uid === owner.uid) return;
  fs.chownSync(folder, owner.uid, owner.gid);
  for (const entry of fs.readdirSync(folder, { recursive: true }) as string[])
    fs.lchownSync(path.join(folder, entry), owner.uid, owner.gid);
}
