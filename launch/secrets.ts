import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** What a start makes up once and needs again at the next. */
export interface HomeSecrets {
  postgresPassword: string;
  weirDatabasePassword: string;
  litellmDatabasePassword: string;
  litellmMasterKey: string;
  /** Encrypts what LiteLLM keeps in its database. */
  litellmSaltKey: string;
  /** Base64 of 32 bytes: WEIR_SECRET_KEY. */
  secretKey: string;
}

const MAKE: Record<keyof HomeSecrets, () => string> = {
  postgresPassword: () => randomBytes(24).toString('hex'),
  weirDatabasePassword: () => randomBytes(24).toString('hex'),
  litellmDatabasePassword: () => randomBytes(24).toString('hex'),
  litellmMasterKey: () => `sk-${randomBytes(24).toString('hex')}`,
  litellmSaltKey: () => `sk-${randomBytes(24).toString('hex')}`,
  secretKey: () => randomBytes(32).toString('base64'),
};

/** Reads `secrets.json` of the folder and makes what is missing in it. `made` names what is new. */
export function ensureSecrets(home: string): { secrets: HomeSecrets; made: (keyof HomeSecrets)[] } {
  const file = path.join(home, 'secrets.json');
  const known = readObject(file);
  const names = Object.keys(MAKE) as (keyof HomeSecrets)[];
  const made = names.filter((name) => typeof known[name] !== 'string' || known[name] === '');
  for (const name of made) known[name] = MAKE[name]();
  if (made.length > 0) writePrivate(file, `${JSON.stringify(known, null, 2)}\n`);
  else fs.chmodSync(file, 0o600);
  return { secrets: known as unknown as HomeSecrets, made };
}

/** Whole or not at all, and readable by its owner only. */
export function writePrivate(file: string, text: string): void {
  const next = `${file}.next`;
  fs.rmSync(next, { force: true });
  const handle = fs.openSync(next, 'wx', 0o600);
  try {
    fs.writeSync(handle, text);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
  fs.renameSync(next, file);
}

/** The object in a JSON file; empty when there is none that can be read. */
export function readObject(file: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
    return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
