import fs from 'node:fs';
import path from 'node:path';
import { createLogger, type RootLogger } from '../src/lib/logger';
import { createRedactor } from '../src/lib/redact';

export interface LaunchLogOptions {
  home: string;
  level: string;
  /** All lines to the terminal too: the person asked for a level. */
  toTerminal: boolean;
  secrets: string[];
  line(text: string): void;
}

/** Bytes: a log that is bigger at the start becomes `weir.log.1`. */
const MAX_BYTES = 10 * 1024 * 1024;

/**
 * The server's log goes to `weir.log`, so that what to open stays on the screen; warnings and errors are shown as well,
 * in short.
 */
export function launchLogger({ home, level, toTerminal, secrets, line }: LaunchLogOptions): RootLogger {
  const file = path.join(home, 'weir.log');
  if ((fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) > MAX_BYTES) fs.renameSync(file, `${file}.1`);
  const handle = fs.openSync(file, 'a', 0o600);
  return createLogger({
    level,
    redactor: createRedactor(secrets),
    write: (entry) => {
      fs.writeSync(handle, entry);
      if (toTerminal) line(entry.trimEnd());
      else if (/^\{"level":"(warn|error)"/.test(entry)) line(shortOf(entry));
    },
  });
}

function shortOf(entry: string): string {
  const { level, msg, err } = JSON.parse(entry) as { level: string; msg: string; err?: { message?: string } };
  return `  ${level}: ${msg}${err?.message ? ` (${err.message})` : ''}`;
}
